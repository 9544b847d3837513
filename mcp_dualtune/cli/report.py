"""`dualtune report`: how well your own servers are served, on requests made for their tools, as one HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_dualtune.cli.evaluate import positive

if TYPE_CHECKING:
    from mcp_dualtune.catalog.catalog import Catalog
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.config import Config
    from mcp_dualtune.evaluation.cases import Case
    from mcp_dualtune.evaluation.harness import Decider, Prediction
    from mcp_dualtune.evaluation.standing import Standing
    from mcp_dualtune.evaluation.ways import Way
    from mcp_dualtune.training.measuring import Asked, Measure

COUNT, COMPARED, MINUTES = 200, 60, 5.0
LEAST = 20
"""Requests that what is in use decides in any case: fewer would say nothing."""
SHARES = {"in_use": 0.6, "shipped": 0.7, "one_prompt": 0.8, "base": 0.95}
"""By way, the share of the whole time after which it has to stop."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    parser.add_argument("--catalog", type=Path, metavar="FILE", help="report on this catalog; no server is started")
    parser.add_argument("--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page to write")
    about = f"requests to make for all tools together, a few for each at least (default: {COUNT})"
    parser.add_argument("--count", type=positive, default=COUNT, metavar="N", help=about)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other requests for another number")
    parser.add_argument(
        "--examples", type=Path, metavar="FILE", help="requests of your own (examples.jsonl), all of them asked as well"
    )
    about = f"requests that the slower ways to compare with decide (default: {COMPARED}; 0 leaves them out)"
    parser.add_argument("--compare", type=_count, default=COMPARED, metavar="N", help=about)
    about = f"time for everything; what is undecided by then is left out, and the page says so (default: {MINUTES:g})"
    parser.add_argument("--minutes", type=_minutes, default=MINUTES, metavar="M", help=about)


def run(args: argparse.Namespace) -> int:
    """Ask, score and write the page; how good the answers are does not change the exit code."""
    from datetime import UTC, datetime
    from time import monotonic

    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.config import load_config
    from mcp_dualtune.errors import RequestError
    from mcp_dualtune.evaluation.harness import Decider
    from mcp_dualtune.evaluation.page import page
    from mcp_dualtune.evaluation.standing import Standing, count_tokens
    from mcp_dualtune.mcp_server.exposure import own_tools
    from mcp_dualtune.models import writer_of

    began = monotonic()
    screen = Screen(error=True)
    _check_writable(args.output)
    config = load_config(args.config)
    catalog, skipped, unavailable = _offered(args, config, screen)
    with screen.status("Making requests"):
        asked = _asked(args, catalog)
    cases = tuple(_case(one, place) for place, one in enumerate(asked.asked))
    with screen.status("Loading the model"):
        decider = Decider.load(config)
    ways, peak = _decided(args, config, catalog, cases, decider, began, screen)
    engine: Any = decider.pipeline.filling.engine
    model = writer_of(config.settings.model)
    words = f"{Path(model).name} ({len(engine.tokenizer):,} words)"
    standing = Standing(
        source=str(args.catalog or config.path),
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seed=args.seed,
        servers={server.name: len(server.tools) for server in catalog.servers},
        kinds=asked.kinds,
        ways=ways,
        tokens=count_tokens(engine.tokenizer, words, catalog, own_tools()),
        model=model,
        model_digest=engine.digest,
        load_seconds=decider.load_seconds,
        peak_megabytes=peak,
        seconds=monotonic() - began,
        unasked=_merged(asked.unasked, skipped),
        unavailable=unavailable,
    )
    try:
        args.output.write_text(page(standing), encoding="utf-8")
    except OSError as error:
        problem = f"Cannot write the report to {args.output}: {error.strerror}."
        raise RequestError(problem, hint="Give another file with --output.") from error
    if args.json:
        exits.print_json({"output": str(args.output), **standing.to_json()})
    else:
        _show(Screen(), standing, args.output)
    return exits.DONE


def _offered(
    args: argparse.Namespace, config: Config, screen: Screen
) -> tuple[Catalog, dict[str, dict[str, str]], dict[str, str]]:
    """The tools to ask for, those that cannot be used with reasons, and the servers that gave none with reasons."""
    import anyio

    from mcp_dualtune.catalog.catalog import load_catalog_file
    from mcp_dualtune.cli import session
    from mcp_dualtune.errors import ServerUnavailable
    from mcp_dualtune.evaluation.harness import configured

    if args.catalog is not None:
        return configured(load_catalog_file(args.catalog), config), {}, {}

    async def look() -> tuple[Catalog, dict[str, dict[str, str]], dict[str, str]]:
        async with session.open_gateway(args, model=False) as gateway:
            await gateway.wait_ready()
            skipped = {name: {one.name: one.reason for one in tools} for name, tools in gateway.skipped_tools.items()}
            served = {server.name for server in gateway.catalog.servers if server.tools}
            states = [state for state in gateway.server_states() if state.name not in served]
            return gateway.catalog, skipped, {state.name: _why(state.error, state.status) for state in states}

    with screen.status("Starting the servers"):
        catalog, skipped, unavailable = anyio.run(look)
    for name, why in unavailable.items():
        screen.line(f"{name} is left out: {why}", "yellow")
    if not catalog.tools:
        whole = "; ".join(f"{name}: {why}" for name, why in unavailable.items())
        raise ServerUnavailable(f"No server gave any tools ({whole}).", hint="See `dualtune servers`.", retryable=False)
    return catalog, skipped, unavailable


def _why(error: Any, status: str) -> str:
    return f"{error.message} {error.hint}".strip() if error is not None else f"it is {status}, without tools"


def _asked(args: argparse.Namespace, catalog: Catalog) -> Measure:
    from mcp_dualtune.errors import CatalogError
    from mcp_dualtune.training.measuring import measure
    from mcp_dualtune.training.synthesis.own_examples import read_examples

    own = read_examples(args.examples, catalog.servers) if args.examples is not None else []
    asked = measure([server for server in catalog.servers if server.tools], args.seed, args.count, own)
    if not asked.asked:
        reasons = "; ".join(f"{tool}: {why}" for tools in asked.unasked.values() for tool, why in tools.items())
        hint = "Write requests yourself and give them with --examples FILE."
        raise CatalogError(f"No request can be made for any of the tools ({reasons}).", hint=hint)
    return asked


def _case(asked: Asked, place: int) -> Case:
    """A request with its answer as the evaluation judges it."""
    from mcp_dualtune.evaluation.cases import Answer, Case
    from mcp_dualtune.types import FINISH, NONE

    case = asked.case
    server, tool = case.server.name, case.tool
    if tool == NONE:
        answer = Answer("none")
    elif tool == FINISH:
        answer = Answer("finish")
    elif case.missing:
        answer = Answer("ask", server, tool, missing=frozenset(case.missing))
    else:
        answer = Answer("call", server, tool, case.arguments)
    return Case(f"{place + 1}", case.query, asked.kind, (answer,), {}, case.history)


def _decided(
    args: argparse.Namespace,
    config: Config,
    catalog: Catalog,
    cases: tuple[Case, ...],
    decider: Decider,
    began: float,
    screen: Screen,
) -> tuple[tuple[Way, ...], float | None]:
    """Every way with its decisions, and the peak memory when what is in use had decided."""
    from mcp_dualtune.evaluation.harness import Decider, run_cases
    from mcp_dualtune.evaluation.one_prompt import OnePrompt
    from mcp_dualtune.evaluation.report import peak_megabytes
    from mcp_dualtune.evaluation.ways import Way, as_shipped, by_words, tried, without_adapters

    settings, few = config.settings, cases[: args.compare]
    in_use = Way("in_use", "in use", "the gateway as it serves requests now, with every adapter that belongs here")
    base = Way("base", "without adapters", "the same models in the same stages, none of them tuned")
    words = Way(
        "words", "shared words (BM25)", "the tool whose texts share most with the request; fills in no arguments"
    )
    one = Way("one_prompt", "one prompt", "every tool with its schema in one prompt; the model writes the whole call")

    with _progress(screen) as bar:

        def decide(way: Way, some: Sequence[Case], run: Callable[[Sequence[Case]], Iterable[Prediction]]) -> Way:
            until = began + args.minutes * 60 * SHARES.get(way.key, 1.0)
            least = LEAST if way is in_use else 1
            return tried(way, some, run, until, bar(way.name, len(some)), least)

        def staged(pipeline: Any) -> Callable[[Sequence[Case]], Iterator[Prediction]]:
            return lambda some: run_cases(Decider(pipeline), some, catalog, config)

        ways = [decide(in_use, cases, staged(decider.pipeline))]
        peak = peak_megabytes()
        if few and (shipped := as_shipped(decider.pipeline, settings)):
            about = "the same models with the adapters that come with them, without those of your own"
            ways.append(decide(Way("shipped", "without your adapters", about), few, staged(shipped)))
        if few:
            ways.append(decide(base, few, staged(without_adapters(decider.pipeline, settings))))
        ways.append(decide(words, cases, lambda some: by_words(some, catalog)))
        if few:
            prompt = OnePrompt(decider.pipeline.filling.engine, catalog)
            cut = f" Of its {prompt.tokens:,} tokens of tools, it reads {prompt.shown:,}." if prompt.is_cut else ""
            found = decide(one, few, lambda some: prompt.run(some, config))
            ways.append(_noted(found, cut))
    return tuple(ways), peak


def _noted(way: Way, more: str) -> Way:
    from dataclasses import replace

    return replace(way, note=f"{way.note}{more}".strip())


def _merged(*parts: Any) -> dict[str, dict[str, str]]:
    whole: dict[str, dict[str, str]] = {}
    for part in parts:
        for server, tools in part.items():
            whole.setdefault(server, {}).update(tools)
    return {server: tools for server, tools in whole.items() if tools}


@contextmanager
def _progress(screen: Screen) -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """A bar with the time left for every way on a terminal, nothing in a pipe; gives what to call after each case."""
    if not screen.rich:
        yield lambda name, total: lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.console, transient=True) as bar:

        def start(name: str, total: int) -> Callable[[], None]:
            task = bar.add_task(f"Asking, {name}", total=total)
            return lambda: bar.advance(task)

        yield start


def _show(screen: Screen, standing: Standing, output: Path) -> None:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    titles = ("way to decide", "server", "tool", "full call", "requests", "median")
    rows = []
    for way in standing.ways:
        if (found := way.score) is not None:
            rates = (found.rates.server, found.rates.tool, found.rates.full_call)
            shares = [percent(rate.value) for rate in rates[: 3 if way.fills else 2]] + ["-"] * (not way.fills)
            rows.append((way.name, *shares, str(len(way.cases)), f"{found.p50_ms:.0f} ms"))
    screen.table(titles, rows if screen.rich else [titles, *rows])
    screen.line()
    screen.line(f"{standing.tokens.saved:,} tokens saved in every request ({standing.tokens.tokenizer}).")
    silent = sum(map(len, standing.unasked.values()))
    if silent:
        screen.line(f"{silent} tools could not be asked for; the page says why.")
    screen.line(f"{output} written in {standing.seconds:.0f} s.", "bold")


def _check_writable(path: Path) -> None:
    from mcp_dualtune.errors import RequestError

    if path.is_dir() or not path.absolute().parent.is_dir():
        raise RequestError(
            f"Cannot write the report to {path}: it is a folder, or in a folder that does not exist.",
            hint="Give another file with --output.",
        )


def _count(text: str) -> int:
    return 0 if text == "0" else positive(text)


def _minutes(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 24 * 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return number
