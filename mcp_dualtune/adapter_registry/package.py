"""One adapter as one file that can be handed on, and the record by which its content is known again.

Owns the package's form, its limits, and what is refused of a package or folder that comes from elsewhere. Refuses to
own: where adapters are installed (`user`) and whether one fits the models in use (`store`).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from safetensors import SafetensorError, safe_open

from mcp_dualtune.adapter_registry.manifest import CONFIG, PARTS, WEIGHTS, Manifest, file_digest, load_manifest
from mcp_dualtune.errors import AdapterError
from mcp_dualtune.types import canonical

RECORD = "package.json"
FORMAT, VERSION = "mcp-dualtune adapter", 1
TEXT_LIMIT, WEIGHTS_LIMIT = 2**20, 2 * 2**30
"""Bytes of one text file and of the weights: several times what rank 64 on all layers of a 7B model needs."""
CHUNK = 2**20
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can say: equal adapters make equal packages, whenever they are packed."""


@dataclass(frozen=True)
class Record:
    """What a package says of its content."""

    name: str
    base_digest: str
    files: Mapping[str, str]
    """sha256 hex by file name."""

    @property
    def digest(self) -> str:
        """sha256 hex of the whole content: equal only for equal adapters."""
        return hashlib.sha256(canonical(dict(self.files)).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `package.json`."""
        record = {
            "format": FORMAT, "version": VERSION, "name": self.name, "base_digest": self.base_digest,
            "digest": self.digest, "files": dict(sorted(self.files.items())),
        }  # fmt: skip
        return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Staged:
    """An adapter from elsewhere whose files have been checked, in a folder that nobody looks into yet."""

    folder: Path
    manifest: Manifest
    record: Record


def pack(folder: Path, output: Path) -> Record:
    """Write the adapter in `folder` as a package; the same adapter gives the same bytes, whenever and wherever.

    Raises:
        AdapterError: it is no usable adapter, or `output` cannot be written.
    """
    with _staging(folder, output.absolute().parent, ".packing-") as staged:
        partial = staged.folder / "package.zip"
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_entry(RECORD), staged.record.to_json())
            for name in PARTS:
                with (staged.folder / name).open("rb") as source, archive.open(_entry(name), "w") as target:
                    _copy(source, target, name)
        try:
            partial.replace(output)
        except OSError as error:
            raise _unwritable(output, error) from error
    return staged.record


@contextmanager
def staged(source: Path, place: Path) -> Iterator[Staged]:
    """Check a package or an adapter folder and hold its files in a hidden folder of `place` until the block ends.

    Raises:
        AdapterError: it is not one, holds what does not belong there, or is not what its record says.
    """
    with _staging(source, place, ".incoming-") as found:
        yield found


def recorded(folder: Path) -> Record | None:
    """What an installed adapter was when it was packed or installed; None where nobody wrote it down.

    Raises:
        AdapterError: the record cannot be read.
    """
    path = folder / RECORD
    return _read_record(_text(path), path) if path.is_file() else None


def check(folder: Path, manifest: Manifest) -> tuple[str, ...] | None:
    """Hash an adapter's files anew: what differs from its record and manifest, or None where neither recorded any.

    Raises:
        AdapterError: a file cannot be read.
    """
    record = recorded(folder)
    wanted = dict(record.files) if record else {}
    if manifest.weights_digest is not None:
        wanted.setdefault(WEIGHTS, manifest.weights_digest)
    return (
        tuple(name for name in PARTS if name in wanted and file_digest(folder / name) != wanted[name])
        if wanted
        else None
    )


@contextmanager
def _staging(source: Path, place: Path, prefix: str) -> Iterator[Staged]:
    try:
        place.mkdir(parents=True, exist_ok=True)
        holder = tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise _unwritable(place, error) from error
    with holder as name:
        # One level down: the inner folder is what is moved into place, so that the outer one can still be removed.
        folder = Path(name) / "adapter"
        folder.mkdir()
        record = _from_folder(source, folder) if source.is_dir() else _from_package(source, folder)
        manifest = load_manifest(folder)
        _check_content(folder)
        found = Record(manifest.name, manifest.base_digest, {part: file_digest(folder / part) for part in PARTS})
        changed = [part for part in PARTS if record is not None and record.files.get(part) != found.files[part]]
        if changed:
            raise AdapterError(
                f"{source} is damaged or was changed: {', '.join(changed)} is not what its record says.",
                hint="Get it again from where it came.",
            )
        (folder / RECORD).write_text(found.to_json(), encoding="utf-8")
        yield Staged(folder, manifest, found)


def _from_folder(source: Path, target: Path) -> Record | None:
    """Copy an adapter's files, and only those."""
    for name in PARTS:
        path = source / name
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            raise _refused(source, f"it has no {name}") from error
        if not stat.S_ISREG(mode):
            raise _refused(source, f"{name} is not a plain file")
        try:
            with path.open("rb") as file, (target / name).open("wb") as copy:
                _copy(file, copy, name)
        except OSError as error:
            raise _refused(source, f"{name} cannot be copied ({error.strerror})") from error
    return recorded(source)


def _from_package(source: Path, target: Path) -> Record:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            _check_entries(source, entries)
            by_name = {entry.filename: entry for entry in entries}
            with archive.open(by_name[RECORD]) as file:
                text = file.read(TEXT_LIMIT + 1)
            record = _read_record(text.decode("utf-8"), source)
            for name in PARTS:
                with archive.open(by_name[name]) as file, (target / name).open("wb") as copy:
                    _copy(file, copy, name)
    except FileNotFoundError as error:
        raise AdapterError(f"There is no {source}.", hint="Name a package file or an adapter folder.") from error
    # Whatever a hostile or broken archive does to the reader means the same to the user.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise _refused(source, f"it is not a readable package ({error})") from error
    except OSError as error:
        raise _refused(source, f"it cannot be read ({error.strerror})") from error
    return record


def _check_entries(source: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse by name whatever an adapter does not consist of: that covers paths out of the folder, too."""
    names = [entry.filename for entry in entries]
    strange = [name for name in names if name not in (RECORD, *PARTS)]
    missing = [name for name in (RECORD, *PARTS) if name not in names]
    if strange or missing or len(set(names)) != len(names):
        problem = (
            f"it holds {strange[0]!r}" if strange else f"it has no {missing[0]}" if missing else "a file is there twice"
        )
        raise _refused(source, f"{problem}; a package consists of {', '.join((RECORD, *PARTS))}")
    for entry in entries:
        mode = entry.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _refused(source, f"{entry.filename} is not a plain file")
        if entry.file_size > _limit(entry.filename):
            raise _too_large(entry.filename)


def _check_content(folder: Path) -> None:
    """Refuse what is not PEFT's LoRA in safetensors, before anything is put where it will be loaded."""
    try:
        config = json.loads(_text(folder / CONFIG))
    except ValueError as error:
        raise AdapterError(f"{CONFIG} is not JSON ({error}).", hint="Save the adapter again.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterError(f"{CONFIG} does not say `peft_type: LORA`.", hint="Only LoRA adapters are used.")
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as weights:
            names = list(weights.keys())
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{WEIGHTS} is not a safetensors file ({error}).", hint="Save the adapter again.") from error
    if not names:
        raise AdapterError(f"{WEIGHTS} holds no weights.", hint="Save the adapter again.")


def _read_record(text: str, path: Path) -> Record:
    try:
        value = json.loads(text)
        found = (value["format"], value["version"])
        record = Record(
            str(value["name"]), str(value["base_digest"]), {str(k): str(v) for k, v in value["files"].items()}
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(path, f"its {RECORD} is not a record") from error
    if found != (FORMAT, VERSION):
        raise _refused(
            path, f"it is {found[0]!r} of version {found[1]!r}, and {FORMAT!r} of version {VERSION} is read here"
        )
    return record


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system = 3  # Unix: otherwise the bytes would name the system that packed
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def _copy(source: IO[bytes], target: IO[bytes], name: str) -> None:
    """Copy at most what is allowed for a file of this name: what an archive says of its sizes proves nothing."""
    left = _limit(name)
    while chunk := source.read(min(CHUNK, left + 1)):
        left -= len(chunk)
        if left < 0:
            raise _too_large(name)
        target.write(chunk)


def _limit(name: str) -> int:
    return WEIGHTS_LIMIT if name == WEIGHTS else TEXT_LIMIT


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise _refused(path, "it cannot be read as text") from error


def _refused(source: Path, problem: str) -> AdapterError:
    return AdapterError(f"{source} is refused: {problem}.", hint="Make packages with `dualtune adapters pack`.")


def _too_large(name: str) -> AdapterError:
    return AdapterError(f"{name} is larger than {_limit(name):,} bytes.", hint="No adapter of this kind is that large.")


def _unwritable(place: Path, error: OSError) -> AdapterError:
    return AdapterError(
        f"Cannot write to {place}: {error.strerror or os.strerror(error.errno or 0)}.", hint="Choose another place."
    )
