"""A plain request in, one checked tool call on your own MCP servers out.

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_dualtune.config import Config, load_config
    from mcp_dualtune.errors import DualTuneError
    from mcp_dualtune.gateway import Gateway
    from mcp_dualtune.types import Request

__version__ = "0.1.0"
__all__ = ["Config", "DualTuneError", "Gateway", "Request", "load_config"]

_HOMES = {
    "Config": "mcp_dualtune.config",
    "DualTuneError": "mcp_dualtune.errors",
    "Gateway": "mcp_dualtune.gateway",
    "Request": "mcp_dualtune.types",
    "load_config": "mcp_dualtune.config",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that owns it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    return getattr(importlib.import_module(_HOMES[name]), name)
