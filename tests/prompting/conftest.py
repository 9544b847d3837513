"""One vocabulary of each kind for all tests of prompting."""

from __future__ import annotations

from typing import Any

import pytest

from tests.prompting.vocabularies import compact_tokenizer, hermes_tokenizer


@pytest.fixture(scope="session")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compact_tokenizer(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="session")
def hermes() -> Any:
    return hermes_tokenizer()
