"""What the commands that use a gateway have in common: reading the request, opening the gateway.

Imported inside `run` functions only, as it loads the gateway and all that is behind it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.config import default_path, load_config
from mcp_dualtune.downstream.pool import ServerState
from mcp_dualtune.errors import ConfigError
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import Request


def read_request(args: argparse.Namespace) -> Request:
    """The request of the command line, or of stdin when it is `-`."""
    text = sys.stdin.read().strip() if args.request == "-" else args.request
    return Request(text=text, servers=tuple(args.server) if args.server else None)


def open_gateway(args: argparse.Namespace, *, model: bool = True) -> Gateway:
    """The gateway for `--config`, or over `--catalog` with no server behind it; to be entered by the caller.

    Without `model` none is loaded, and nothing can be decided.

    Raises:
        ConfigError: the config is wrong, or there is no server at all.
        CatalogError: the catalog file is wrong.
    """
    config = load_config(args.config)
    pipeline = None if model else cast(Callable[[], Pipeline], _NoModel)
    if getattr(args, "catalog", None) is not None:
        catalog = load_catalog_file(args.catalog)
        return Gateway(replace(config, servers=()), pipeline=pipeline, catalog=catalog, verbose=args.verbose)
    if not config.servers:
        where = f"{config.path} lists none" if config.path else f"there is no config file at {default_path()}"
        hint = "Give a client's own config file with --config, for example one with an `mcpServers` block."
        raise ConfigError(f"No server to choose from: {where}.", hint=hint)
    return Gateway(config, pipeline=pipeline, verbose=args.verbose)


class _NoModel:
    """Stands where commands that only look need no model, so that none is loaded."""


def describe(state: ServerState, gateway: Gateway) -> dict[str, Any]:
    """One server's state for a program."""
    error = state.error
    return {
        "name": state.name,
        "status": state.status,
        "transport": state.transport,
        "protocol": state.protocol,
        "pid": state.pid,
        "tools": state.tools,
        "skipped": [{"name": one.name, "reason": one.reason} for one in gateway.skipped_tools.get(state.name, ())],
        "restarts": state.restarts,
        "circuit": state.circuit,
        "retry_seconds": None if state.retry_seconds is None else round(state.retry_seconds, 1),
        "handshake_ms": None if state.handshake_ms is None else round(state.handshake_ms),
        "error": None if error is None else f"{error.message} {error.hint}".strip(),
    }
