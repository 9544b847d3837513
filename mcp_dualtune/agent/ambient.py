"""Ambient facts: what a person takes for granted and the model may copy (today, the time zone, the folder at hand).

Owns which facts are given. Their values are data for arguments, never rules for choosing.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mcp_dualtune.config import ServerConfig


def request_facts() -> dict[str, str]:
    """Facts of every request: the date and the time zone here."""
    now = datetime.now().astimezone()
    return {"today": now.date().isoformat(), "timezone": zone_name(now)}


def zone_name(now: datetime) -> str:
    """The zone of `now` as an IANA name where the system tells it, else as its abbreviation or offset."""
    parts = Path("/etc/localtime").resolve().parts
    if "zoneinfo" in parts:
        name = "/".join(parts[parts.index("zoneinfo") + 1 :])
        # The TZ variable overrides the system's zone: then the link names another one than `now` is in.
        with suppress(ZoneInfoNotFoundError, ValueError):
            if now.astimezone(ZoneInfo(name)).tzname() == now.tzname():
                return name
    return now.tzname() or now.strftime("%z")


def server_facts(server: ServerConfig) -> dict[str, str]:
    """Facts of one server: the folders it was started with, else the folder it runs in.

    A remote server gets none: it does not see this machine's folders.
    """
    if server.transport != "stdio":
        return {}
    roots = [str(Path(arg).expanduser()) for arg in server.args if _is_folder(arg)]
    if len(roots) == 1:
        return {"root": roots[0]}
    if roots:
        return {"roots": ", ".join(roots)}
    here = (server.cwd or Path.cwd()).resolve()
    # Desktop clients start their servers in / or in the home folder, which nobody means by "here".
    return {} if here in (Path(here.anchor), Path.home()) else {"cwd": str(here)}


def _is_folder(argument: str) -> bool:
    """Whether a command's argument names an existing folder in full."""
    try:
        path = Path(argument).expanduser()
        return path.is_absolute() and path.is_dir()
    except (OSError, ValueError, RuntimeError):
        return False
