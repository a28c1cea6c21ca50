"""`seg-perception benchmark`: speed and memory of engine, nodes and grid on this machine, beside a plain node."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import DataError
from seg_perception.core.writable import make_folder, write_whole
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.evaluation import benchmark_compare
from seg_perception.evaluation.benchmark_baseline import write_logits_model
from seg_perception.evaluation.benchmark_grid import time_grid
from seg_perception.evaluation.benchmark_nodes import Scenario, run_scenario
from seg_perception.evaluation.benchmark_table import table
from seg_perception.evaluation.latency import percentiles_ms
from seg_perception.evaluation.machine import machine
from seg_perception.evaluation.processes import require_ros

_SIZE = (1280, 720)
_WARM_UP = 10
_FASTEST_HZ = 1000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "--out", type=Path, default=Path("out/benchmark"), metavar="FOLDER", help="default: %(default)s"
    )
    parser.add_argument("--model", help="bundle, by name or folder (default: road_lite)")
    parser.add_argument("--device", help="cpu | cuda | cuda:N (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the engine (default: %(default)s)")
    parser.add_argument(
        "--compare",
        nargs="+",
        metavar="BUNDLE",
        help="instead: every variant of bundles against torch; the first with a variant for it (export --torch), "
        "the others e.g. pruned from the same model",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples: for a first impression")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write benchmark.json, or compare.json."""
    if args.compare:
        if args.model or args.device:
            raise DataError("--compare runs the bundles that it names, on the CPU; leave out --model and --device")
        return _compare(args)
    args.model, args.device = args.model or "road_lite", args.device or "cpu"
    require_ros()
    make_folder(args.out, DataError)
    bundle = Bundle.load(args.model)
    picture = args.out / "picture.png"
    image, _ = bundle.read_golden(next(iter(bundle.variants.values())))
    image = np.asarray(cv2.resize(image, _SIZE), np.uint8)
    cv2.imwrite(str(picture), image)
    result: dict[str, Any] = {"machine": machine(), "input": f"{_SIZE[0]}x{_SIZE[1]} bgr8", "threads": args.threads}
    result["engine"] = _time_engine(bundle, args, image)
    result["grid"] = time_grid(bundle.table, 20 if args.quick else 200)
    scenarios = _scenarios(result["engine"]["infer_ms"]["p50"], picture, quick=args.quick)
    segmenter = {
        "model": str(bundle.root.resolve()),
        "device": args.device,
        "threads": args.threads,
        "autostart": True,
    }
    result["ours"] = [_ours(scenario, segmenter, args.out) for scenario in scenarios]
    scenarios.append(_overload(scenarios[-1], result["ours"][-1]["masks_hz"]))
    result["ours"].append(_ours(scenarios[-1], segmenter, args.out))
    result["baseline"] = _baseline(scenarios, bundle, args)
    write_whole(args.out / "benchmark.json", json.dumps(result, indent=2) + "\n", DataError)
    print(table(result))
    print(f"\n{args.out / 'benchmark.json'}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    make_folder(args.out, DataError)
    rounds = 20 if args.quick else 200
    about = machine()
    rows = benchmark_compare.measure([Bundle.load(bundle) for bundle in args.compare], args.threads, rounds)
    document = benchmark_compare.document(rows, about, args.threads, rounds)
    write_whole(args.out / "compare.json", json.dumps(document, indent=2) + "\n", DataError)
    print(benchmark_compare.report(rows, about, args.threads, rounds))
    print(f"\n{args.out / 'compare.json'}")
    return 0


def _time_engine(bundle: Bundle, args: argparse.Namespace, image: NDArray[np.uint8]) -> dict[str, Any]:
    print("engine …", flush=True)
    engine = load_engine(bundle, args.device, threads=args.threads)
    times = []
    for _ in range(_WARM_UP + (30 if args.quick else 300)):
        start = time.perf_counter_ns()
        engine.infer(image)
        times.append(time.perf_counter_ns() - start)
    return {"description": engine.description, "infer_ms": percentiles_ms(times[_WARM_UP:])}


def _scenarios(infer_ms: float, picture: Path, *, quick: bool) -> list[Scenario]:
    """The last one asks for more than any node can do, since none is faster than its engine: its throughput."""
    seconds = 3.0 if quick else 20.0
    flood = min(2000.0 / infer_ms, _FASTEST_HZ)
    return [
        Scenario("10 Hz", 10.0, 1.5 * seconds, picture),
        Scenario("30 Hz", 30.0, seconds, picture),
        Scenario("flood", flood, seconds, picture),
    ]


def _overload(flood: Scenario, capacity_hz: float | None) -> Scenario:
    """Twice what the segmenter did when it was asked for as much as it can: how old are its masks then?"""
    return replace(flood, name="overload", rate_hz=min(2 * capacity_hz, _FASTEST_HZ) if capacity_hz else flood.rate_hz)


def _ours(scenario: Scenario, segmenter: dict[str, Any], out: Path) -> dict[str, Any]:
    """At 10 Hz together with the grid_mapper, as on a robot; else the segmenter alone, as the baseline is."""
    print(f"segmenter, {scenario.name} …", flush=True)
    nodes: dict[str, dict[str, Any]] = {"segmenter": segmenter}
    if scenario.rate_hz <= 10.0:
        nodes["grid_mapper"] = {"autostart": True, "pose_source": "odometry", "publish_rate": 30.0, "mount.z": 1.45}
    return run_scenario(scenario, nodes, out / f"segmenter_{scenario.name.replace(' ', '')}")


def _baseline(scenarios: list[Scenario], bundle: Bundle, args: argparse.Namespace) -> list[dict[str, Any]] | str:
    """The same scenarios with the plain node, or why they could not be run."""
    model = args.out / "baseline.onnx"
    try:
        write_logits_model(bundle, model)
    except DataError as error:
        return str(error)
    parameters = {"model": str(model.resolve()), "threads": args.threads}
    results = []
    for scenario in scenarios:
        print(f"baseline, {scenario.name} …", flush=True)
        out = args.out / f"baseline_{scenario.name.replace(' ', '')}"
        results.append(run_scenario(scenario, {"baseline": parameters}, out))
    return results
