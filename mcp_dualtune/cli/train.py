"""`dualtune train`: make the embedded model anew, or (later) adapters for your own servers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mcp_dualtune.cli import exits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    parser.add_argument("what", choices=["nano"], help="nano: the embedded model and its adapters, from the data sets")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="data sets listed in the model card")
    parser.add_argument("--runs", type=Path, default=Path("runs/nano"), metavar="DIR", help="checkpoints and logs")
    parser.add_argument("--output", type=Path, default=Path("adapters/nano"), metavar="DIR", help="the finished model")
    parser.add_argument("--minutes", type=float, metavar="N", help="wall-clock budget of the decoder")


def run(args: argparse.Namespace) -> int:
    """Train; interrupting is safe, the same command goes on where it stopped."""
    from mcp_dualtune.training.nano import train_nano

    def say(line: str) -> None:
        print(json.dumps({"message": line}) if args.json else line, flush=True)

    train_nano(args.data, args.runs, args.output, minutes=args.minutes, say=say)
    return exits.DONE
