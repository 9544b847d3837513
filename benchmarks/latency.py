"""How long a decision takes: one prompt with every tool against three stages, with the same weights in the same run.

    python -m benchmarks.latency --rounds 5

Compared on requests of the `seven` suite that ask for a call, in interleaved rounds:

- naive: all tools of all servers with their full schemas in one prompt, and transformers' own `generate` writes the
  call: as many tokens as the right call has, so that a model that rambles is not held against this way.
- cold: our three stages with nothing in the prefix cache.
- warm: the same after another request to the same tool, as in a session.

Only decisions that ran all three stages count for cold and warm: a quick `none` would flatter them. `start` is the time
from starting a `dualtune plan` process to its decision: of the first one, and of later ones, which find embedded tools.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mcp_dualtune.catalog.catalog import Catalog, load_catalog_file
from mcp_dualtune.config import STATE_VARIABLE, Config, ModelSettings, Settings
from mcp_dualtune.evaluation.cases import Case, built_in, load_suite
from mcp_dualtune.evaluation.harness import Decider, as_request
from mcp_dualtune.evaluation.report import peak_megabytes
from mcp_dualtune.evaluation.score import percentile
from mcp_dualtune.models import embedded_model, load_pipeline

ROOT = Path(__file__).resolve().parents[1]
START_LIMIT = 300.0
"""Seconds that a fresh process may take to decide, on a busy machine."""
STAGES = 3
WAYS = ("naive", "cold", "warm")


@dataclass
class Timings:
    """What was measured."""

    ms: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    decisions: int = 0
    """Of our own stages, cold and warm together."""
    complete: int = 0
    """Those of them that ran all three stages."""
    naive_tokens: list[int] = field(default_factory=list)
    """Length of the whole naive prompt, before it was cut."""


def pairs(cases: Sequence[Case], count: int) -> list[tuple[Case, Case]]:
    """Up to `count` pairs of requests that ask for a call of the same tool, spread over the tools."""
    by_tool: dict[tuple[str | None, str | None], list[Case]] = {}
    for case in cases:
        if case.expected.outcome == "call" and case.expected.arguments and not case.history:
            by_tool.setdefault((case.expected.server, case.expected.tool), []).append(replace(case, servers=None))
    found = [(group[0], group[1]) for group in by_tool.values() if len(group) > 1]
    step = max(len(found) / count, 1.0)
    return [found[int(place * step)] for place in range(min(count, len(found)))]


def naive_prompt(tokenizer: Any, catalog: Catalog, text: str, room: int) -> tuple[list[int], int]:
    """One prompt with every tool, cut in the middle of the tools to `room` tokens; also its length before."""
    tools = [
        {"name": f"{tool.server}.{tool.name}", "description": tool.description, "parameters": tool.input_schema}
        for tool in catalog.tools
    ]
    head = tokenizer.encode(json.dumps(tools, ensure_ascii=False), add_special_tokens=False)
    tail = tokenizer.encode(f"\nRequest: {text}\nCall: ", add_special_tokens=False)
    return [*head[: max(room - len(tail), 0)], *tail], len(head) + len(tail)


def run_naive(decider: Decider, model: Any, catalog: Catalog, case: Case, timings: Timings) -> float:
    """Milliseconds of plain `generate` for one request, tokenizing included."""
    import torch  # noqa: PLC0415

    from mcp_dualtune.engine.threads import Threads  # noqa: PLC0415

    engine: Any = decider.pipeline.filling.engine
    answer = {"tool": f"{case.expected.server}.{case.expected.tool}", "arguments": case.expected.arguments}
    length = len(engine.tokenizer.encode(json.dumps(answer, ensure_ascii=False), add_special_tokens=False))
    engine.adapters.use(None)
    # As many threads as our own stages use for a long prompt.
    Threads(model, None).set(engine.context_length)
    started = time.perf_counter()
    room = engine.context_length - length
    prompt, whole = naive_prompt(engine.tokenizer, catalog, case.query, room)
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=length,
            max_new_tokens=length,
            do_sample=False,
            pad_token_id=engine.tokenizer.pad_token_id,
        )
    timings.naive_tokens.append(whole)
    return (time.perf_counter() - started) * 1000


def measure(
    decider: Decider, model: Any, catalog: Catalog, chosen: Sequence[tuple[Case, Case]], rounds: int
) -> Timings:
    """Run every pair `rounds` times, the three ways in turn and each round in another order."""
    filling: Any = decider.pipeline.filling.engine
    choosing: Any = decider.pipeline.choosing.engine
    timings = Timings()

    def decide(case: Case, way: str | None) -> None:
        decision = decider.decide(as_request(case, Config()), catalog)
        if way is None:
            return
        timings.decisions += 1
        # A third stage that needed no model (`-`) took no time.
        if len({stage.stage for stage in decision.stages if stage.adapter != "-"}) == STAGES:
            timings.complete += 1
            timings.ms[way].append(decision.ms)

    # One run of each way first, so that no way pays for lazy initialisation.
    run_naive(decider, model, catalog, chosen[0][1], Timings())
    decide(chosen[0][1], None)
    for turn in range(rounds):
        for first, second in chosen:
            for way in (*WAYS[turn % 3 :], *WAYS[: turn % 3]):
                if way == "naive":
                    timings.ms[way].append(run_naive(decider, model, catalog, second, timings))
                    continue
                filling.prefixes.clear()
                if choosing is not filling:
                    choosing.vectors.clear()
                if way == "warm":
                    decide(first, None)
                decide(second, way)
    return timings


def start_times(folder: Path, catalog_file: Path, text: str, count: int) -> tuple[list[float], float]:
    """Seconds from starting a fresh process to its decision on stdout, and the children's peak memory in megabytes.

    The first finds nothing that an earlier one has kept.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="dualtune-latency-") as scratch:
        own = {} if folder == embedded_model() else {"path": str(folder)}
        config = Path(scratch) / "config.json"
        config.write_text(json.dumps({"mcpServers": {}, "dualtune": {"model": own}}), "utf-8")
        command = [sys.executable, "-m", "mcp_dualtune", "plan", text, "--json"]
        command += ["--catalog", str(catalog_file), "--config", str(config)]
        for _ in range(count):
            started = time.perf_counter()
            done = subprocess.run(
                command, cwd=ROOT, env={**os.environ, STATE_VARIABLE: scratch}, capture_output=True, text=True,
                timeout=START_LIMIT,
            )  # fmt: skip
            found.append(time.perf_counter() - started)
            if "outcome" not in done.stdout:
                raise RuntimeError(f"the fresh process did not decide: {done.stdout}{done.stderr[-2000:]}")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return found, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / scale


def summary(timings: Timings, context_length: int) -> dict[str, Any]:
    """Medians, 95th percentiles and ratios; None where nothing was measured."""
    found: dict[str, Any] = {}
    for way, values in timings.ms.items():
        median = statistics.median(values) if values else None
        found[way] = {
            "median_ms": None if median is None else round(median, 2),
            "p95_ms": round(percentile(values, 95), 2) if values else None,
            "runs": len(values),
        }
    naive = statistics.median(timings.ms["naive"])
    for way in ("cold", "warm"):
        own = timings.ms[way]
        found[f"naive_over_{way}"] = round(naive / statistics.median(own), 2) if own else None
    longest = max(timings.naive_tokens)
    found["naive_prompt_tokens"] = longest
    found["naive_prompt_cut_to"] = context_length if longest > context_length else None
    found["three_stage_share"] = round(timings.complete / timings.decisions, 3)
    return found


def tell(found: dict[str, Any]) -> None:
    """Print the result for people."""
    print(f"model {found['model']} ({found['model_digest'][:12]}), adapters: {', '.join(found['adapters']) or 'none'}")
    before, after = found["load_average"]
    print(
        f"{found['cores']} cores, load average {before} before and {after} after; busy cores make every number larger"
    )
    for way in WAYS:
        one = found[way]
        times = "nothing measured"
        if one["median_ms"] is not None:
            times = f"{one['median_ms']:9.1f} ms   p95 {one['p95_ms']:9.1f} ms"
        print(f"{way:<6} {times}   {one['runs']} runs")
    if found["naive_over_cold"] and found["naive_over_warm"]:
        print(f"naive takes {found['naive_over_cold']} times as long as cold, {found['naive_over_warm']} times as warm")
    if found["naive_prompt_cut_to"]:
        print(
            f"the naive prompt has {found['naive_prompt_tokens']} tokens and was CUT to the model's "
            f"{found['naive_prompt_cut_to']}: whole, it would take longer, and this model could not read it"
        )
    share = found["three_stage_share"]
    print(f"{share:.0%} of our decisions ran all three stages; only those are counted")
    if found["start_s"] is not None:
        print(f"first process, start to decision: {found['first_start_s']:.2f} s", end="")
        print(f"; later ones: {found['start_s']:.2f} s; peak memory {found['start_peak_mb']:.0f} MB")
    print(f"peak memory of this process, naive runs included: {found['peak_memory_mb']:.0f} MB")


def benchmark(folder: Path, *, requests: int, rounds: int, starts: int) -> dict[str, Any]:
    """Measure everything with the model in `folder`."""
    files = built_in("seven")
    assert files is not None
    cases, catalog = load_suite(files[0]), load_catalog_file(files[1])
    before = os.getloadavg()[0]
    settings = ModelSettings(path=None if folder == embedded_model() else folder)
    decider = Decider(load_pipeline(Settings(model=settings)))
    engine: Any = decider.pipeline.filling.engine
    names = decider.adapters
    chosen = pairs(cases, requests)
    found = summary(measure(decider, engine.model, catalog, chosen, rounds), engine.context_length)
    taken, peak = start_times(folder, files[1], chosen[0][1].query, starts) if starts else ([], 0.0)
    return {
        "model": str(folder),
        "model_digest": engine.digest,
        "adapters": list(names),
        "precision": settings.precision,
        "requests": len(chosen),
        "rounds": rounds,
        "cores": os.cpu_count(),
        "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
        **found,
        "first_start_s": round(taken[0], 3) if taken else None,
        "start_s": round(statistics.median(taken[1:] or taken), 3) if taken else None,
        "start_peak_mb": round(peak, 1) if taken else None,
        "peak_memory_mb": round(peak_megabytes() or 0.0, 1),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time one prompt with every tool against three stages.")
    parser.add_argument("--model", type=Path, default=embedded_model(), help="model folder (default: the embedded one)")
    parser.add_argument("--requests", type=int, default=12, help="different requests (default: 12)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run in each way (default: 5)")
    parser.add_argument("--starts", type=int, default=3, help="processes to time (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args()
    found = benchmark(args.model, requests=args.requests, rounds=args.rounds, starts=args.starts)
    if args.json:
        print(json.dumps(found))
    else:
        tell(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
