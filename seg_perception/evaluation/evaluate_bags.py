"""Many recordings, each evaluated in a process of its own, and one result of all of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from seg_perception.core.errors import DataError, SegPerceptionError, one_line
from seg_perception.engines.bundle import Bundle
from seg_perception.evaluation.evaluate_metrics import Totals
from seg_perception.evaluation.evaluate_pictures import worst_of
from seg_perception.evaluation.evaluate_resume import REQUEST_FILE
from seg_perception.evaluation.evaluate_run import Progress, Request, evaluate
from seg_perception.evaluation.evaluate_worker import COUNT, request_from
from seg_perception.evaluation.result_files import (
    BAGS_FOLDER,
    FRAMES_FILE,
    METRICS_FILE,
    PICTURES_FILE,
    PICTURES_FOLDER,
    read_frames,
    read_object,
    write_json,
)

Runner = Callable[[Request], str]
"""Evaluates; returns why it failed, or an empty string."""


def requests_for(bags: Sequence[Path], common: Request) -> list[Request]:
    """One request per bag, each with a folder of its own below the common one, the same whatever other bags there are.

    Raises DataError where there are results of a bag that is not among these: they would be lost to the common ones.
    """
    for bag in bags:
        if whole := {path.resolve() for path in bags} & set(bag.resolve().parents):
            raise DataError(f"--bags names {bag} and {whole.pop()}, which it is a part of; name one of them")
    folders = {Path(common.out) / BAGS_FOLDER / _name(bag): bag for bag in bags}
    for known in sorted(Path(common.out).glob(f"{BAGS_FOLDER}/*/{REQUEST_FILE}")):
        if known.parent not in folders:
            raise DataError(f"{known.parent}: --bags does not name its recording; name it, too, or remove the folder")
    return [replace(common, bag=str(bag), out=str(folder)) for folder, bag in folders.items()]


def _name(bag: Path) -> str:
    """Of its results; two that are called the same lie in different places."""
    return f"{bag.stem}-{sha256(str(bag.resolve()).encode()).hexdigest()[:8]}"


def evaluate_all(requests: Sequence[Request], workers: int, run: Runner) -> list[tuple[Request, str]]:
    """Evaluate, `workers` at a time; with each request why it failed, or an empty string."""
    pool = ThreadPoolExecutor(workers)
    try:
        return list(zip(requests, pool.map(run, requests), strict=True))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_process(on_count: Progress, on_frames: Progress) -> Runner:
    """Runs an evaluation in a process of its own: whatever ends it, the others go on."""

    def run(request: Request) -> str:
        worker = [sys.executable, "-m", "seg_perception.evaluation.evaluate_worker"]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
            with subprocess.Popen(
                worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process:
                assert process.stdin and process.stdout
                process.stdin.write(json.dumps(asdict(request)))
                process.stdin.close()
                for line in process.stdout:
                    kind, _, number = line.partition(" ")
                    (on_count if kind == COUNT else on_frames)(int(number))
            errors.seek(0)
            words = errors.read().strip().splitlines()
        if process.returncode == 0:
            return ""
        return words[-1] if words else f"its process ended with {process.returncode}"

    return run


def on_ray(address: str, on_count: Progress, on_frames: Progress) -> Runner:
    """Runs evaluations on a Ray cluster, which must see the same paths. Raises DataError where Ray is not installed.

    An evaluation takes a CPU of the cluster per thread, and a GPU if it needs one; it counts as progress once done.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise DataError("--ray needs the Python package ray; install it with: pip install ray") from error
    try:
        ray.init(address=address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).partition(". ")[0]
        raise DataError(f"--ray {address}: {reason}; give the address of a running cluster, or `auto` on it") from error
    remote = ray.remote(_evaluate_quietly)
    cpus = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)

    def run(request: Request) -> str:
        if request.threads > cpus:
            return f"--threads {request.threads}: the largest machine of the cluster has {cpus:g} CPUs"
        here = {name: str(Path(value).resolve()) for name, value in asdict(request).items() if _is_path(name, value)}
        task = remote.options(num_cpus=request.threads, num_gpus=int(request.device != "cpu"))
        try:
            count, reason = ray.get(task.remote(asdict(replace(request, **here))))
        except ray.exceptions.RayError as error:
            return one_line(error)
        on_count(count)
        on_frames(count)
        return str(reason)

    return run


def _is_path(name: str, value: Any) -> bool:
    """Whether another machine, in another folder, would find something else under this value."""
    return (
        name in ("out", "bag", "labels", "model", "robot") and bool(value) and (name == "out" or Path(value).exists())
    )


def merge(out: Path, results: Sequence[tuple[Request, str]]) -> dict[str, Any]:
    """Write the files of one evaluation for all that succeeded; returns its metrics. Raises DataError if none did."""
    good = [Path(request.out) for request, reason in results if not reason]
    failed = [{"bag": request.bag, "reason": reason} for request, reason in results if reason]
    if not good:
        raise DataError("no bag could be evaluated: " + "; ".join(f"{f['bag']}: {f['reason']}" for f in failed))
    table = Bundle.load(results[0][0].model).table
    totals, index, pictures = Totals(table), 0, []
    with (out / FRAMES_FILE).open("w", encoding="utf-8") as lines:
        for folder in good:
            pictures += _pictures(folder, index)
            for line in read_frames(folder / FRAMES_FILE):
                lines.write(json.dumps({**line, "index": index}) + "\n")
                totals.add(line)
                index += 1
    parts = [read_object(folder / METRICS_FILE) for folder in good]
    reason = "none of its images could be used"
    failed += [{"bag": part["inputs"][0], "reason": reason} for part in parts if not part["frames"]["masks"]]
    truths = {part["grid_truth"] for part in parts} - {None}
    metrics = {
        **parts[0],
        **totals.metrics(next(iter(truths), None)),
        "poses": ", or ".join(sorted({part["poses"] for part in parts} - {None})) or None,
        "inputs": [name for part in parts for name in part["inputs"]],
        "damage": [line for part in parts for line in part["damage"]],
        "failed": failed,
    }
    write_json(out / PICTURES_FILE, _kept_pictures(out, pictures))
    write_json(out / METRICS_FILE, metrics)
    return metrics


def _pictures(folder: Path, first: int) -> Iterator[dict[str, Any]]:
    """Entries of one bag; first: the index of its first frame among all."""
    for entry in json.loads((folder / PICTURES_FILE).read_text(encoding="utf-8")):
        yield {**entry, "index": first + entry["index"], "file": str(folder / entry["file"])}


def _kept_pictures(out: Path, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Copies the worst of all; returns their entries."""
    shutil.rmtree(out / PICTURES_FOLDER, ignore_errors=True)
    (out / PICTURES_FOLDER).mkdir()
    kept = []
    for entry in worst_of(entries):
        name = f"{PICTURES_FOLDER}/{entry['kind']}_{entry['index']:06d}_{entry['view']}.png"
        shutil.copyfile(entry["file"], out / name)
        kept.append({**entry, "file": name})
    return kept


def _evaluate_quietly(document: dict[str, Any]) -> tuple[int, str]:
    """Number of frames, and why it failed."""
    try:
        metrics = evaluate(request_from(document), lambda count: None, lambda frames: None)
    except SegPerceptionError as error:
        return 0, str(error)
    return metrics["frames"]["read"], ""
