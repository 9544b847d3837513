"""The built-in suites are sound, and nothing that was trained on is in them."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.evaluation.cases import BUILT_IN, Case, built_in, check_against, load_suite
from mcp_dualtune.training.records import Entry, RequestTemplate, parse_entry, said
from mcp_dualtune.training.sources import written

PHRASES = Path(str(resources.files("mcp_dualtune.training"))) / "phrases"
DATA = os.environ.get("DUALTUNE_DATA")
NEAR = 0.85
"""Share of common words (Jaccard) from which on two requests count as the same."""
FEWEST_WORDS = 4
"""Shorter requests are compared exactly only: any two ways to say `git status` are near."""
KINDS = {"direct", "fuzzy", "terse", "paraphrase", "missing", "none", "second_step"}


@cache
def suite(name: str) -> tuple[Case, ...]:
    files = built_in(name)
    assert files is not None
    return load_suite(files[0])


def queries() -> dict[str, str]:
    """Case id -> request, of all suites."""
    return {case.id: case.query for name in BUILT_IN for case in suite(name)}


@pytest.mark.parametrize(("name", "count"), [("seven", 239), ("unseen", 60)])
def test_every_case_can_be_answered_from_its_catalog(name: str, count: int) -> None:
    files = built_in(name)
    assert files is not None
    catalog = load_catalog_file(files[1])
    cases = suite(name)
    assert len(cases) == count
    check_against(cases, catalog)
    for case in cases:
        assert case.kind in KINDS
        assert (case.kind == "second_step") == bool(case.history), case.id
        for item in case.history:
            assert not validate_arguments(
                catalog.tool(item.call.server, item.call.tool).input_schema, item.call.arguments
            ), case.id


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_right_answer_fits_its_tools_schema(name: str) -> None:
    files = built_in(name)
    assert files is not None
    catalog = load_catalog_file(files[1])
    for case in suite(name):
        for answer in case.answers:
            if answer.server is None or answer.tool is None:
                continue
            schema = catalog.tool(answer.server, answer.tool).input_schema
            if answer.outcome == "call":
                assert validate_arguments(schema, answer.arguments or {}) == (), case.id
            else:
                assert answer.missing <= set(schema.get("required") or ()), case.id


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_rule_is_about_a_value_it_can_judge(name: str) -> None:
    kinds: dict[str, tuple[type, ...]] = {"ci": (str,), "path": (str,), "number": (int, float), "unordered": (list,)}
    for case in suite(name):
        for argument, rule in case.rules.items():
            values = [(a.arguments or {})[argument] for a in case.answers if argument in (a.arguments or {})]
            assert values, f"{case.id}: no right answer has {argument}"
            assert all(isinstance(value, kinds.get(rule, (object,))) for value in values), case.id


def test_ids_and_requests_are_unique_over_all_suites() -> None:
    cases = [case for name in BUILT_IN for case in suite(name)]
    assert len({case.id for case in cases}) == len(cases)
    seen = [(plain(case.query), len(case.history), case.servers) for case in cases]
    assert len(set(seen)) == len(seen)


def plain(text: str) -> str:
    """Lower case, words only, one space between them."""
    return " ".join(words(text))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower().replace("_", " "))


def templates() -> Iterator[tuple[str, RequestTemplate]]:
    """Every request that was written for training or calibration, chains and missing values included."""
    for path in sorted(PHRASES.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            row = json.loads(line)
            place = f"{path.name}:{number}"
            if path.stem == "none":
                yield from ((place, RequestTemplate(text, {}, {})) for text in row["requests"])
                continue
            if "steps" in row:
                yield place, RequestTemplate(row["text"], {}, row.get("values") or {})
                continue
            entry = parse_entry(path.stem, row["tool"], row)
            yield from ((place, template) for template in templates_of(entry))
    for name in ("calibration", "calibration_unseen"):
        yield from ((name, RequestTemplate(row["query"], {}, {})) for row in written(name))
    for row in written("catalogue"):
        yield from (
            (row["server"], template) for template in templates_of(parse_entry(row["server"], row["tool"], row))
        )
    for row in written("invented"):
        for tool in row["tools"]:
            yield from ((row["server"], t) for t in templates_of(parse_entry(row["server"], tool["name"], tool)))


def templates_of(entry: Entry) -> tuple[RequestTemplate, ...]:
    return (*entry.requests, *(template for template, _ in entry.missing))


def expansions(template: RequestTemplate) -> re.Pattern[str]:
    """Matches the plain text of the template under any of its values."""
    found = ""
    text = template.text
    names = template.places
    for part in re.split(r"(\{[^{}]+\})", text):
        if part[1:-1] in names and part[:1] == "{":
            values = {plain(said(value)[0]) for value in template.values[part[1:-1]]}
            found += "(?:" + "|".join(re.escape(f" {value}") if value else "" for value in sorted(values)) + ")"
        else:
            found += "".join(re.escape(f" {word}") for word in words(part))
    return re.compile(found)


def fixed_words(template: RequestTemplate) -> set[str]:
    """The words of a template without its places."""
    text = template.text
    for name in template.places:
        text = text.replace("{" + name + "}", " ")
    return set(words(text))


def by_word(forms: Iterable[tuple[str, set[str]]]) -> dict[str, set[str]]:
    """Word -> the requests that have it in any of their forms."""
    found: dict[str, set[str]] = {}
    for case, form in forms:
        for word in form:
            found.setdefault(word, set()).add(case)
    return found


Placed = tuple[str, RequestTemplate]


def expansions_among_requests(phrases: Iterable[Placed]) -> list[tuple[str, str, str]]:
    """Requests that a phrase can become, with the place and the text of the phrase."""
    asked = {case: " " + plain(query) for case, query in queries().items()}
    having = by_word((case, set(words(query))) for case, query in queries().items())
    found = []
    for place, template in phrases:
        # An expansion has every word of the phrase: for most phrases no request does, and no pattern is needed.
        cases = set(asked).intersection(*(having.get(word, set()) for word in fixed_words(template)))
        if cases:
            pattern = expansions(template)
            found += [(case, place, template.text) for case in sorted(cases) if pattern.fullmatch(asked[case])]
    return found


def requests_near(phrases: Iterable[Placed]) -> list[tuple[str, str, str]]:
    """Requests whose words are nearly those of a phrase without its places."""
    asked = {case.id: (set(words(case.query)), wording(case)) for name in BUILT_IN for case in suite(name)}
    having = by_word((case, form) for case, forms in asked.items() for form in forms)
    found = []
    for place, template in phrases:
        kept = fixed_words(template)
        if len(kept) >= FEWEST_WORDS:
            # So many may be missing in what is near; of one more, at least one is there. The rarest tell most.
            missing = len(kept) - math.ceil(NEAR * len(kept) - 1e-9)
            rarest = sorted(kept, key=lambda word: len(having.get(word, ())))[: missing + 1]
            cases = set().union(*(having.get(word, set()) for word in rarest))
            found += [
                (case, place, template.text) for case in sorted(cases) if any(near(kept, form) for form in asked[case])
            ]
    return found


def test_no_request_is_an_expansion_of_a_training_phrase() -> None:
    assert expansions_among_requests(templates()) == []


def test_no_request_is_nearly_a_training_phrase() -> None:
    """Only the wording is compared: a phrase without its places, a request with and without its values."""
    assert requests_near(templates()) == []


def test_a_request_among_the_phrases_would_be_found() -> None:
    cases = [case for name in BUILT_IN for case in suite(name)]
    phrases = [(case.id, RequestTemplate(case.query.replace("{", "("), {}, {})) for case in cases]
    assert {case.id for case in cases} <= {case for case, _, _ in expansions_among_requests(phrases)}
    long = {case.id for case in cases if len(set(words(case.query))) >= FEWEST_WORDS}
    assert long <= {case for case, _, _ in requests_near(phrases)}
    # Also where a place has become a value, and where one word of many is another.
    (case, text) = max(queries().items(), key=lambda item: len(set(words(item[1]))))
    first, *rest = words(text)
    open_place = RequestTemplate("{it} " + " ".join(rest), {}, {"it": ("something", first)})
    assert (case, "x", open_place.text) in expansions_among_requests([("x", open_place)])
    other = RequestTemplate("unheard " + " ".join(word for word in rest if word != first), {}, {})
    assert (case, "x", other.text) in requests_near([("x", other)])


def wording(case: Case) -> set[str]:
    """The words of a request without the values that its right answers take from it."""
    text = case.query
    for answer in case.answers:
        for value in sorted(leaves(answer.arguments or {}), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", " ", text, flags=re.IGNORECASE) if value else text
    return set(words(text))


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)]
    return [str(value)]


def near(one: set[str], other: set[str]) -> bool:
    return bool(one) and len(one & other) / len(one | other) >= NEAR


@pytest.mark.skipif(not DATA, reason="DUALTUNE_DATA does not name the folder of third-party training data")
@pytest.mark.timeout(900)
def test_no_request_is_in_the_third_party_data() -> None:
    assert DATA is not None
    asked = queries()
    exact: dict[str, list[str]] = {}
    for case, query in asked.items():
        exact.setdefault(plain(query), []).append(case)
    tokens = {case: set(words(query)) for case, query in asked.items()}
    found = set()
    compared = 0
    for path in sorted(Path(DATA).glob("*.jsonl.gz")):
        if path.name.startswith("text-"):
            continue
        for text in requests_in(path):
            compared += 1
            found |= {(case, path.name, text) for case in exact.get(plain(text), ())}
            own = set(words(text))
            if len(own) >= FEWEST_WORDS:
                found |= {
                    (case, path.name, text)
                    for case, other in tokens.items()
                    if NEAR * len(own) <= len(other) <= len(own) / NEAR and near(own, other)
                }
    assert sorted(found) == []
    assert compared > 10_000


def requests_in(path: Path) -> Iterator[str]:
    """Distinct requests of a data file, whichever of the known forms its rows have."""
    seen: set[str] = set()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            for text in texts_of(json.loads(line)):
                if text not in seen:
                    seen.add(text)
                    yield text


def texts_of(row: dict[str, Any]) -> Iterator[str]:
    if isinstance(row.get("query"), str):
        yield row["query"]
    for item in row.get("requests") or ():
        yield item if isinstance(item, str) else item["text"]
    for item in row.get("missing") or ():
        yield item["text"]
