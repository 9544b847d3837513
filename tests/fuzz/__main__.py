"""Throw malformed and hostile inputs at the gateway: `python -m tests.fuzz --count 10000 [--seed N] [--only FAMILY]`.

Prints what became of every family, and every failure with the number that makes it again; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import anyio

from tests.fuzz import answers, doors, parts

Family = Callable[[int, int, list[str]], Counter[str]]
SHARES = {
    "config": 0.15,
    "definition": 0.2,
    "answers-legacy": 0.1,
    "answers-modern": 0.1,
    "stdio-legacy": 0.15,
    "stdio-modern": 0.1,
    "http": 0.1,
    "sse": 0.1,
}


def family(name: str, seed: int, count: int, failures: list[str]) -> Counter[str]:
    """Run one family."""
    if name == "config":
        return parts.run(parts.config, name, seed, count, failures)
    if name == "definition":
        with tempfile.TemporaryDirectory() as folder:
            work = partial(parts.definition, folder=Path(folder))
            return parts.run(work, name, seed, count, failures)
    if name.startswith("answers"):
        mode = "auto" if name.endswith("modern") else "legacy"
        return anyio.run(answers.answers, mode, seed, count, failures)
    if name.startswith("stdio"):
        return doors.stdio(seed, count, failures, modern=name.endswith("modern"))
    return anyio.run(doors.web, name, seed, count, failures)


def main() -> int:
    """Run all families."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="inputs in all (default: 1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(SHARES), help="all inputs to one family")
    args = parser.parse_args()
    # What the parts say of hostile servers is as long as the list of inputs.
    logging.disable(logging.CRITICAL)
    failures: list[str] = []
    shares = {args.only: 1.0} if args.only else SHARES
    total = 0
    for name, share in shares.items():
        began = perf_counter()
        count = round(args.count * share)
        outcomes = family(name, args.seed, count, failures)
        total += count
        listed = ", ".join(f"{number} {what}" for what, number in outcomes.most_common() if number)
        print(f"{name:<15} {count:>6} inputs  {perf_counter() - began:6.0f} s  {listed}", flush=True)
    for failure in failures[:50]:
        print(f"FAILED {failure}")
    print(f"{total} inputs, {len(failures)} failures, seed {args.seed}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
