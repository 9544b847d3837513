"""The requests written for other servers: invented servers are sound, nothing held out or tuned is among them."""

from __future__ import annotations

import pytest

from mcp_dualtune.catalog.schema import clean_schema, validate_arguments
from mcp_dualtune.training.records import bucket, parse_entry
from mcp_dualtune.training.sources import (
    DEV_SHARE,
    TUNED,
    Corpus,
    calibration_cases,
    held_out,
    load_invented,
    tuned_corpus,
    unseen_cases,
    written,
)
from tests.training.test_phrases import misfits

INVENTED = {row["server"]: row for row in written("invented")}


@pytest.mark.parametrize("server", INVENTED)
def test_every_value_of_an_invented_servers_request_fits_its_schema(server: str) -> None:
    problems = []
    for tool in INVENTED[server]["tools"]:
        schema = clean_schema(tool["inputSchema"])
        entry = parse_entry(server, tool["name"], tool)
        problems += misfits(entry, schema)
    assert problems == []


def test_no_server_is_tuned_or_held_out_or_there_twice() -> None:
    assert len(INVENTED) == len(list(written("invented")))
    names = {row["server"] for row in (*written("invented"), *written("catalogue"))}
    assert names.isdisjoint({*TUNED, *held_out()})


def test_invented_servers_are_for_training_but_for_a_few_that_measure_it() -> None:
    corpus = Corpus()
    load_invented(corpus)
    assert corpus.servers.keys() == INVENTED.keys()
    assert set(corpus.dev) == {name for name in INVENTED if bucket(name, DEV_SHARE) == 0}
    assert 0 < len(corpus.dev) < len(corpus.general) / 5


def test_calibration_requests_fit_their_tools_and_stand_in_no_phrase() -> None:
    corpus = tuned_corpus()
    load_invented(corpus)
    tuned, unseen = calibration_cases(corpus), unseen_cases(corpus)
    assert {case.server.name for case in unseen} <= {*corpus.dev, ""}
    assert min(len(tuned), len(unseen)) > 200
    cases = (*tuned, *unseen)
    texts = {
        template.text
        for entries in corpus.entries.values()
        for entry in entries
        for template in (*entry.requests, *(template for template, _ in entry.missing))
    }
    refused = {text for texts in corpus.refused.values() for text in texts}
    for case in cases:
        assert case.query not in texts | refused
        if case.server.name:
            (tool,) = (tool for tool in case.server.tools if tool.name == case.tool)
            asked = {**tool.input_schema, "required": []}
            assert validate_arguments(asked, case.arguments or {}) == (), case.query
            required = set(tool.input_schema.get("required") or ())
            assert required >= set(case.missing), case.query
            assert case.missing or required <= set(case.arguments or {}), case.query
