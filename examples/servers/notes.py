"""A small real MCP server: notes as text files in one folder.

Run it as `python notes.py FOLDER` (stdio), or with `--transport http|sse --port 8000`.
"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import mcp.types as types
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field

Title = Annotated[str, Field(description="Title of the note")]
READS = types.ToolAnnotations(read_only_hint=True)


class Note(BaseModel):
    """A note as it is listed."""

    title: str
    tags: list[str]
    changed: str


def make_server(folder: Path) -> MCPServer:
    """Build the server over `folder`, which is made when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    server = MCPServer("notes", instructions="Keeps short notes as text files, with tags.", log_level="CRITICAL")

    def file_of(title: str) -> Path:
        name = re.sub(r"[^\w -]", "_", title).strip()
        if not name:
            raise ToolError("A note needs a title.")
        return folder / f"{name}.txt"

    def existing(title: str) -> Path:
        file = file_of(title)
        if not file.exists():
            raise ToolError(f"There is no note {title!r}.")
        return file

    def all_files() -> list[Path]:
        return sorted(folder.glob("*.txt"))

    def describe(file: Path) -> Note:
        tags = re.findall(r"#(\w+)", file.read_text(encoding="utf-8"))
        changed = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
        return Note(title=file.stem, tags=tags, changed=changed)

    @server.tool()
    def add_note(
        title: Title,
        text: Annotated[str, Field(description="What to write")],
        tags: Annotated[list[str] | None, Field(description="Words to find it by")] = None,
    ) -> str:
        """Write a new note."""
        file = file_of(title)
        if file.exists():
            raise ToolError(f"There is a note {title!r} already; append to it instead.")
        file.write_text("\n".join([text, *(f"#{tag}" for tag in tags or [])]), encoding="utf-8")
        return f"Wrote {title!r}."

    @server.tool()
    def append_to_note(title: Title, text: Annotated[str, Field(description="What to add at the end")]) -> str:
        """Add text at the end of a note."""
        file = existing(title)
        file.write_text(file.read_text(encoding="utf-8") + "\n" + text, encoding="utf-8")
        return f"Added to {title!r}."

    @server.tool(annotations=READS)
    def read_note(title: Title) -> str:
        """Show the whole text of one note."""
        return existing(title).read_text(encoding="utf-8")

    @server.tool(annotations=READS)
    def list_notes() -> list[Note]:
        """List all notes with their tags."""
        return [describe(file) for file in all_files()]

    @server.tool(annotations=READS)
    async def search_notes(
        query: Annotated[str, Field(description="Words to look for")],
        context: Context,
        limit: Annotated[int, Field(ge=1, le=100, description="At most this many")] = 10,
    ) -> list[str]:
        """Find notes that contain some words."""
        files = all_files()
        found = []
        for place, file in enumerate(files):
            await context.report_progress(place + 1, len(files))
            if query.lower() in f"{file.stem}\n{file.read_text(encoding='utf-8')}".lower():
                found.append(file.stem)
        return found[:limit]

    @server.tool(annotations=types.ToolAnnotations(destructive_hint=True))
    def delete_note(title: Title) -> str:
        """Delete a note for good."""
        existing(title).unlink()
        return f"Deleted {title!r}."

    return server


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("notes"))
    parser.add_argument("--transport", choices=["stdio", "http", "sse"], default="stdio")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    server = make_server(options.folder)
    if options.transport == "stdio":
        server.run("stdio")
    elif options.transport == "http":
        server.run("streamable-http", port=options.port)
    else:
        server.run("sse", port=options.port)


if __name__ == "__main__":
    main()
