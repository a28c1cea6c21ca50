"""The benchmark's result as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OVERHEAD_STAGES = ("wait", "convert", "publish")


def table(result: Mapping[str, Any]) -> str:
    """What is in benchmark.json, for people."""
    machine, engine, grid = result["machine"], result["engine"], result["grid"]
    baseline = result["baseline"]
    plain = baseline if isinstance(baseline, list) else [None] * len(result["ours"])
    rows = [
        ("bare engine, ms", _triple(engine["infer_ms"]), ""),
        ("segmenter on top of it (wait + convert + publish), ms", _overhead(result["ours"][0]), ""),
    ]
    for ours, theirs in zip(result["ours"], plain, strict=True):
        name = _in(ours)
        rows.append((f"{name}: masks per second", _number(ours["masks_hz"]), _number(theirs and theirs["masks_hz"])))
        latencies = _triple(ours["image_to_mask_ms"]), _triple(theirs and theirs["image_to_mask_ms"])
        rows.append((f"{name}: image to mask, ms", *latencies))
        if ours["image_to_grid_ms"]:
            rows.append((f"{name}: image to grid, ms", _triple(ours["image_to_grid_ms"]), ""))
    for name, update in grid["update_ms"].items():
        rows.append((f"grid update, {grid['mask']} mask, {name}, one core, ms", _triple(update), ""))
    rows += [
        ("grid: first update, with its lookup, ms", _triple(grid["first_update_with_lookup_ms"]), ""),
        ("grid: values of its message, ms", _triple(grid["occupancy_ms"]), ""),
    ]
    for name in result["ours"][0]["peak_rss_mib"]:
        rows.append((f"peak memory of {name}, MiB", f"{_peak(result['ours'], name):.0f}", ""))
    if isinstance(baseline, list):
        rows.append(("peak memory of the plain node, MiB", "", f"{_peak(baseline, 'baseline'):.0f}"))
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['versions']['python']}; "
        f"input {result['input']}; {engine['description']}; p50 / p95 / p99",
        "",
        "| | seg_perception | plain node |",
        "|---|---|---|",
        *(f"| {what} | {ours} | {theirs} |" for what, ours, theirs in rows),
    ]
    if isinstance(baseline, str):
        lines.append(f"\nplain node: not measured: {baseline}")
    return "\n".join(lines)


def _in(result: Mapping[str, Any]) -> str:
    sent = f"{result['sent_hz']:.0f} Hz in"
    known = {"flood": f"{sent} (as many as arrive)", "overload": f"{sent} (twice its capacity)"}
    return known.get(result["scenario"], f"{result['scenario']} in")


def _overhead(scenario: Mapping[str, Any]) -> str:
    """Sum of the percentiles of the stages: an upper estimate for p95 and p99."""
    stages = scenario["stages_ms"]
    if not stages or not all(stage in stages for stage in _OVERHEAD_STAGES):
        return "–"
    return _triple({name: sum(stages[stage][name] for stage in _OVERHEAD_STAGES) for name in ("p50", "p95", "p99")})


def _peak(scenarios: list[Mapping[str, Any]], name: str) -> float:
    return max(float(scenario["peak_rss_mib"].get(name, 0.0)) for scenario in scenarios)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _triple(percentiles: Mapping[str, float] | None) -> str:
    if not percentiles:
        return "–"
    return " / ".join(f"{percentiles[name]:.1f}" for name in ("p50", "p95", "p99"))
