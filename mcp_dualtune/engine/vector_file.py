"""Embedded passages kept in a file between runs, so that a new process need not embed a catalog again.

Only what is offered (tools, servers, earlier requests that the user vouched for) is kept, never a request that is
being decided. A file that cannot be read or written costs time and nothing else.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mcp_dualtune.engine.base import Tokens
from mcp_dualtune.state import write_private

logger = logging.getLogger(__name__)

LARGEST = 64 * 2**20
"""Bytes of vectors: some 700 tools under two adapters."""
WORTH = 0.2
"""Seconds of embedding that are not in the file yet from which on it is written again."""

Key = tuple[str, Tokens]
"""(adapter identity, passage)."""


class VectorFile:
    """The vectors of one encoder at one precision."""

    def __init__(self, path: Path, model: str) -> None:
        """`model` says what computed the vectors: those of another one are not read."""
        self._path, self._model = path, model
        self._kept = OrderedDict(self._read())
        """Least recently used first."""
        self._size = sum(vectors.nbytes for vectors in self._kept.values())
        self._unsaved = 0.0

    @property
    def kept(self) -> Mapping[Key, torch.Tensor]:
        """What is kept, as `EncoderEngine.vectors`."""
        return self._kept

    def add(self, vectors: Mapping[Key, torch.Tensor], seconds: float) -> None:
        """Keep `vectors`, which took `seconds`; the file is written when that is worth it."""
        for key, value in vectors.items():
            self._size += value.nbytes if key not in self._kept else 0
            self._kept[key] = value.cpu()
            self._kept.move_to_end(key)
        while self._size > LARGEST:
            self._size -= self._kept.popitem(last=False)[1].nbytes
        self._unsaved += seconds
        if self._unsaved >= WORTH:
            self._unsaved = 0.0
            self._write()

    def _read(self) -> dict[Key, torch.Tensor]:
        try:
            with safe_open(self._path, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("model") != self._model:
                    return {}
                vectors, tokens = file.get_tensor("vectors"), file.get_tensor("tokens").tolist()
            found, at, row = dict[Key, torch.Tensor](), 0, 0
            for identity, length, rows in json.loads(about["passages"]):
                found[identity, tuple(tokens[at : at + length])] = vectors[row : row + rows]
                at, row = at + length, row + rows
            return found
        except FileNotFoundError:
            return {}
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            logger.warning("What was kept in %s is not used: %s", self._path, error)
            return {}

    def _write(self) -> None:
        passages = [(identity, len(passage), len(rows)) for (identity, passage), rows in self._kept.items()]
        tokens = [token for _, passage in self._kept for token in passage]
        content = {"vectors": torch.cat(list(self._kept.values())), "tokens": torch.tensor(tokens, dtype=torch.int32)}
        try:
            write_private(self._path, save(content, {"model": self._model, "passages": json.dumps(passages)}))
        except OSError as error:
            logger.warning("Vectors cannot be kept in %s: %s", self._path, error)
