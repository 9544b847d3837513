"""`dualtune evaluate`: measure the choices on a suite of cases; no server is started."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.config import Config
    from mcp_dualtune.evaluation.report import Setting
    from mcp_dualtune.evaluation.score import Score


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    parser.add_argument("suite", metavar="SUITE", help="file of cases (JSON Lines), or a built-in suite: seven, unseen")
    parser.add_argument("--catalog", metavar="FILE", help="file of servers and tools (a built-in suite brings its own)")
    parser.add_argument("--predictions", type=Path, metavar="OUT", help="write one JSON line per case to this file")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model folder, instead of the configured one")
    parser.add_argument(
        "--adapters", type=Path, metavar="DIR", action="append", help="adapter folder to search first (repeatable)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N cases")


def run(args: argparse.Namespace) -> int:
    """Run the cases and print the report; how good the answers are does not change the exit code."""
    from mcp_dualtune.catalog.catalog import load_catalog_file
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.errors import RequestError
    from mcp_dualtune.evaluation.cases import check_against, load_suite
    from mcp_dualtune.evaluation.harness import Decider, configured, run_cases, write_predictions
    from mcp_dualtune.evaluation.report import Setting, peak_megabytes, to_json
    from mcp_dualtune.evaluation.score import score
    from mcp_dualtune.models import writer_of

    # All that can be wrong with the files is said before the model is loaded.
    suite, catalog_file = _files(args)
    config = _config(args)
    cases = load_suite(suite)
    catalog = configured(load_catalog_file(catalog_file), config)
    check_against(cases, catalog)
    cases = cases[: args.limit]
    _check_writable(args.predictions)
    messages = Screen(error=True)
    with messages.status("Loading the model"):
        decider = Decider.load(config)
    with _progress(messages, len(cases)) as seen:
        running = run_cases(decider, cases, catalog, config)
        try:
            predictions = write_predictions(running, args.predictions, lambda prediction: seen())
        except OSError as error:
            problem = f"Cannot write the predictions to {args.predictions}: {error.strerror}."
            raise RequestError(problem, hint="Give another file with --predictions.") from error
    found = score(cases, predictions)
    setting = Setting(
        suite=args.suite,
        catalog=catalog_file,
        cases=len(cases),
        model=writer_of(config.settings.model),
        model_digest=decider.pipeline.filling.engine.digest,
        adapters=decider.adapters,
        config=config.path,
        load_seconds=decider.load_seconds,
        peak_megabytes=peak_megabytes(),
    )
    if args.json:
        exits.print_json(to_json(found, setting))
    else:
        _show(Screen(), found, setting)
    return exits.DONE


def _files(args: argparse.Namespace) -> tuple[Path, Path]:
    """Suite file and catalog file; names of built-in suites stand for their files."""
    from mcp_dualtune.errors import RequestError
    from mcp_dualtune.evaluation.cases import BUILT_IN, built_in

    known = built_in(args.suite)
    if args.catalog is not None:
        other = built_in(args.catalog)
        return known[0] if known else Path(args.suite), other[1] if other else Path(args.catalog)
    if known is None:
        names = ", ".join(BUILT_IN)
        hint = f"Give its catalog with --catalog FILE, or use a built-in suite: {names}."
        raise RequestError(f"The suite {args.suite} needs a catalog.", hint=hint)
    return known


def _config(args: argparse.Namespace) -> Config:
    """The config under the options of the command line."""
    from dataclasses import replace

    from mcp_dualtune.config import load_config

    config = load_config(args.config)
    model = config.settings.model
    if args.model is not None:
        # Adapters of the configured model do not fit another one, and a server has only its own.
        model = replace(model, path=args.model, adapters=(), remote=())
    if args.adapters:
        model = replace(model, adapters=(*args.adapters, *model.adapters))
    return replace(config, settings=replace(config.settings, model=model))


def _check_writable(path: Path | None) -> None:
    from mcp_dualtune.errors import RequestError

    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise RequestError(
            f"Cannot write the predictions to {path}: it is a folder, or in a folder that does not exist.",
            hint="Give another file with --predictions.",
        )


@contextmanager
def _progress(screen: Screen, total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing in a pipe; gives what to call after each case."""
    if not screen.rich:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.console, transient=True) as bar:
        task = bar.add_task("cases", total=total)
        yield lambda: bar.advance(task)


def _show(screen: Screen, score: Score, setting: Setting) -> None:
    from mcp_dualtune.evaluation import report

    head, *rest = report.lines(score, setting)
    screen.line(head, "bold")
    tables = (
        report.accuracy_rows(score.rates),
        report.group_rows("kind", score.by_kind),
        report.group_rows("server", score.by_server),
        report.refusal_rows(score),
        report.reliability_rows(score),
        report.outcome_rows(score),
    )
    for titles, rows in tables:
        screen.line()
        if not screen.rich:
            # A pipe gets no titles from `table`, but here the columns would be a riddle without them.
            rows = [titles, *rows]
        screen.table(titles, rows)
    screen.line()
    for line in rest:
        screen.line(line)


def positive(text: str) -> int:
    """A whole number above 0, as an option's type."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number
