"""What a command's end means to the shell, and how an error is told.

Owns exit codes and the one place where errors become text or JSON.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

from mcp_dualtune.config.masking import mask, mask_error, mask_json
from mcp_dualtune.errors import (
    CatalogError,
    ConfigError,
    DownstreamError,
    DualTuneError,
    RequestError,
    leaf_error,
)
from mcp_dualtune.types import Decision, Trajectory

DONE = 0
FAILED = 1
USAGE = 2
ASK = 3
NONE_FITS = 4
DOWNSTREAM = 5
INTERRUPTED = 130

MEANINGS = """exit codes:
  0    done
  1    failed, or stopped by a limit or a rule
  2    wrong usage, config, catalog or request
  3    a value is missing from the request
  4    none of the tools fits the request
  5    a downstream server or tool failed
  130  interrupted"""


def of_decision(decision: Decision) -> int:
    """The exit code of a single decision."""
    return {"ask": ASK, "none": NONE_FITS}.get(decision.outcome, DONE)


def of_trajectory(trajectory: Trajectory, *, steps_wanted: int | None = None) -> int:
    """The exit code of a run; stopping after exactly the steps that the user allowed is not a failure.

    Neither is going round in a circle after a call that worked: the work is done, and only the model did not say so.
    """
    steps = trajectory.steps
    stopped = trajectory.stopped_by
    if stopped == "steps" and steps_wanted is not None and len(steps) == steps_wanted:
        stopped = None
    if stopped == "repeat" and any(not step.result.is_error for step in steps):
        stopped = None
    if stopped is not None:
        return FAILED
    if trajectory.final.outcome == "ask":
        return ASK
    if steps and steps[-1].result.is_error:
        return DOWNSTREAM
    return NONE_FITS if trajectory.final.outcome == "none" and not steps else DONE


def of_error(error: DualTuneError) -> int:
    """The exit code of an error."""
    if isinstance(error, ConfigError | CatalogError | RequestError):
        return USAGE
    return DOWNSTREAM if isinstance(error, DownstreamError) else FAILED


def print_json(value: Any) -> None:
    """One JSON document on stdout, without the secrets that were looked up."""
    print(json.dumps(mask_json(value), ensure_ascii=False))


def tell(error: BaseException, *, as_json: bool, verbose: bool) -> int:
    """Say what went wrong, to a person on stderr or to a program on stdout, and give the exit code."""
    leaf = leaf_error(error)
    if not isinstance(leaf, DualTuneError):
        hint = "Run the command again with --verbose and report what it prints."
        leaf = DualTuneError(f"Unexpected {type(leaf).__name__}: {leaf}.", hint=hint)
    if verbose:
        print(mask("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    mask_error(leaf)
    if as_json:
        # Imported here, so that a wrong option is answered at once.
        from mcp_dualtune.records import error_json

        print_json(error_json(leaf))
    else:
        print(f"dualtune: {leaf.message}", file=sys.stderr)
        if leaf.hint:
            print(f"  {leaf.hint}", file=sys.stderr)
    return of_error(leaf)
