"""The user's own adapters: one folder that is searched before the embedded ones.

Owns putting adapters there, taking them away, and the one that an installation replaced. Refuses to own: what may be
installed (`package`, `store`) and which adapter speaks.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from mcp_dualtune.adapter_registry.manifest import FILE_NAME, Manifest, adapters_in, load_manifest
from mcp_dualtune.adapter_registry.package import Staged
from mcp_dualtune.errors import AdapterError

REPLACED = ".replaced"
"""Hidden folder with the adapters that were replaced or removed last, one for each name and base model."""


class UserAdapters:
    """A folder of installed adapters; a running server takes notice of every change at its next request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, staged: Staged) -> bool:
        """Install a checked adapter; says whether it replaced one, which is kept for `undo`.

        Raises:
            AdapterError: the folder cannot be changed.
        """
        target = self._place(staged.manifest)
        try:
            replaced = target.exists() and self._set_aside(target, staged.manifest)
            try:
                staged.folder.rename(target)
            except OSError:
                if replaced:
                    self._backup(staged.manifest).rename(target)
                raise
        except OSError as error:
            raise self._stuck(error) from error
        return replaced

    def remove(self, path: Path) -> None:
        """Take an installed adapter out of use; `undo` brings it back.

        Raises:
            AdapterError: it is not one of the user's own, or the folder cannot be changed.
        """
        if self.folder not in path.parents:
            raise AdapterError(
                f"The adapter in {path} is not one of yours.",
                hint=f"Only adapters in {self.folder} are removed; take others out of the config's adapters.",
            )
        try:
            self._set_aside(path, load_manifest(path))
        except OSError as error:
            raise self._stuck(error) from error

    def undo(self, name: str, base: str = "") -> Manifest:
        """Bring back the adapter `name` that was replaced or removed last; what is there now takes its place.

        Raises:
            AdapterError: there is none, there are several and `base` (the start of a digest) fits not exactly one.
        """
        kept = []
        for path in sorted((self.folder / REPLACED).glob(f"*/{FILE_NAME}")):
            manifest = load_manifest(path.parent)
            if manifest.name == name and manifest.base_digest.startswith(base):
                kept.append(manifest)
        if len(kept) != 1:
            problem = "Nothing was kept of" if not kept else "Adapters of several base models were kept of"
            hint = "Undo works once after an install or a remove." if not kept else "Say which with --base DIGEST."
            raise AdapterError(f"{problem} an adapter {name!r}.", hint=hint)
        manifest, backup = kept[0], self._backup(kept[0])
        target, aside = self._place(manifest), backup.with_name(f"{backup.name}.now")
        try:
            if target.exists():
                target.rename(aside)
            backup.rename(target)
            if aside.exists():
                aside.rename(backup)
        except OSError as error:
            raise self._stuck(error) from error
        return manifest

    def _place(self, manifest: Manifest) -> Path:
        """Where an adapter of this name and base lies, or will lie."""
        same = (path for path in adapters_in(self.folder) if _is(manifest, path))
        return next(same, self.folder / _label(manifest))

    def _backup(self, manifest: Manifest) -> Path:
        return self.folder / REPLACED / _label(manifest)

    def _set_aside(self, path: Path, manifest: Manifest) -> bool:
        if any(inner.is_dir() for inner in path.iterdir()):
            raise AdapterError(
                f"The folder {path} holds more than one adapter.", hint="Move its inner folders out of it first."
            )
        backup = self._backup(manifest)
        backup.parent.mkdir(exist_ok=True)
        shutil.rmtree(backup, ignore_errors=True)
        path.rename(backup)
        return True

    def _stuck(self, error: OSError) -> AdapterError:
        return AdapterError(
            f"The adapters in {self.folder} cannot be changed: {error.strerror}.",
            hint="Check the folder's permissions, and that nothing else is changing it.",
        )


def _is(manifest: Manifest, folder: Path) -> bool:
    try:
        other = load_manifest(folder)
    except AdapterError:
        return False
    return (other.name, other.base_digest) == (manifest.name, manifest.base_digest)


def _label(manifest: Manifest) -> str:
    """A folder name that is safe on every system and different for different names: servers are called anything."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", manifest.name).strip("-")[:60]
    exact = hashlib.sha256(f"{manifest.name}\0{manifest.base_digest}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{words}-{exact[:12]}"
