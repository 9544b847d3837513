"""Trains a kept adapter once more, on everything: what was held out has done its work, and can be learnt from now.

Owns where that adapter lies and what it says of itself. Refuses to own: which adapters are trained again, and when.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

from mcp_dualtune.adapter_registry.manifest import adapters_in, load_manifest, save_manifest
from mcp_dualtune.training.loop import Watch
from mcp_dualtune.training.own_servers.bench import Bench
from mcp_dualtune.training.own_servers.budget import Task
from mcp_dualtune.training.own_servers.material import Material
from mcp_dualtune.training.own_servers.outcome import Made, megabytes
from mcp_dualtune.training.own_servers.run_state import RunState

CHECKPOINTS = "checkpoints/refit"


def refit(task: Task, first: Made, bench: Bench, complete: Material, seed: int, state: RunState, watch: Watch) -> Made:
    """Train `first` again from its start, by the plan of `task`; `first` is left as it is, until the caller puts what
    is returned in its place.

    Scores and temperature are the first one's: nothing is left to measure the second one on.
    """
    assert first.folder is not None
    place = task.job.folder
    output = state.refitted / place
    shutil.rmtree(output, ignore_errors=True)  # an interruption may have left a part
    bench.train(task, complete, seed, state.folder / CHECKPOINTS / place, output, watch)
    measured = load_manifest(first.adapters[0])
    for adapter in adapters_in(output):
        told = replace(load_manifest(adapter), scores=measured.scores, temperature=measured.temperature)
        save_manifest(told, adapter)
    return replace(first, folder=output, refitted=True, megabytes=megabytes(output))
