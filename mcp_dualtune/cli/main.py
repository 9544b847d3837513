"""The `dualtune` command: its parser, and the lazy dispatch to one module per subcommand.

Each subcommand module has `add_arguments(parser)` and `run(args) -> int` and loads what is heavy inside `run` only.
"""

from __future__ import annotations

import argparse
import importlib
import keyword
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from mcp_dualtune import __version__
from mcp_dualtune.cli import exits
from mcp_dualtune.config.masking import mask
from mcp_dualtune.errors import RequestError
from mcp_dualtune.tracing.caller import Caller, called_by

COMMANDS = {
    "serve": "run as an MCP server for a client",
    "do": "carry out a plain request",
    "plan": "say what would be called for a request, and call nothing",
    "tools": "list the tools of your servers, or find some",
    "servers": "list your servers and how they are",
    "install": "put this gateway into a client's config, or take it out again",
    "import": "take the servers of your clients into this gateway's config",
    "auth": "log in at remote servers, or out",
    "secrets": "keep secrets in the system's keyring",
    "pins": "see and approve what your servers offer, when it has changed",
    "correct": "say what would have been right for a past request",
    "evaluate": "measure the choices on a suite of cases",
    "report": "measure how well your own servers are served, as a page",
    "adapters": "list, show, pack, install, remove and verify adapters",
    "train": "train adapters for your servers",
    "doctor": "check the installation, the config and every server",
}


class UsageError(RequestError):
    """The command line is wrong."""


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of leaving, so that --json covers wrong options too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", hint=f"See `{self.prog} --help`.")


class _MaskingFormatter(logging.Formatter):
    """Keeps every secret that was looked up out of the log, also where a library or a traceback wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`, masked."""
        return mask(super().format(record))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; never raises and never prints a traceback unasked."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json, verbose = "--json" in words, "--verbose" in words or "-v" in words
    try:
        args = _parser(words).parse_args(words)
        if args.command is None:
            _parser(words).print_help()
            return exits.USAGE
        _quiet(verbose)
        with called_by(Caller("cli", f"dualtune {args.command}")):
            return _module(args.command).run(args)  # type: ignore[no-any-return]
    except KeyboardInterrupt:
        print("dualtune: interrupted", file=sys.stderr)
        return exits.INTERRUPTED
    except BrokenPipeError:
        # The reader (such as `head`) has enough; nothing more can be written, not even while Python shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILED
    except Exception as error:
        return exits.tell(error, as_json=as_json, verbose=verbose)


def program() -> NoReturn:
    """The `dualtune` command: `main`, then out at once; taking the model framework apart at exit takes a second."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _module(command: str):  # type: ignore[no-untyped-def]
    # `import` cannot be the name of a module that other code imports.
    return importlib.import_module(f"mcp_dualtune.cli.{command}{'_' * keyword.iskeyword(command)}")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the subcommands that stand in `words` are filled in, the others are just named."""
    parser = _Parser(
        prog="dualtune",
        description="A plain request in, one checked tool call on your own MCP servers out, decided on this machine.",
        epilog=exits.MEANINGS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mcp-dualtune {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[:1].upper()}{summary[1:]}.",
            epilog=exits.MEANINGS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in words:
            _module(name).add_arguments(command)
            common(command)
    return parser


def common(command: argparse.ArgumentParser, **default: str) -> None:
    """Add the options that every command has; a command's actions give `default=SUPPRESS`, for theirs come second."""
    taken = command._option_string_actions
    if "--config" not in taken:
        about = "config file (a client's own file will do)"
        command.add_argument("--config", type=Path, metavar="FILE", help=about, **default)  # type: ignore[arg-type]
    if "--json" not in taken:
        about = "print one JSON document on stdout"
        command.add_argument("--json", action="store_true", help=about, **default)  # type: ignore[arg-type]
    if "--verbose" not in taken:
        about = "say more on stderr"
        command.add_argument("--verbose", "-v", action="store_true", help=about, **default)  # type: ignore[arg-type]


def _quiet(verbose: bool) -> None:
    """Logs go to stderr: warnings always, and with `verbose` everything of ours.

    The filter sits on the handler because some libraries set levels of their own on import.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_MaskingFormatter("%(name)s: %(message)s"))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.startswith("mcp_dualtune"))
    if not verbose:
        handler.addFilter(_without_traceback)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("mcp_dualtune").setLevel(logging.DEBUG if verbose else logging.WARNING)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Libraries log what a server did wrong with the whole stack; the message is enough for a person."""
    record.exc_info = record.exc_text = None
    return True


if __name__ == "__main__":
    program()
