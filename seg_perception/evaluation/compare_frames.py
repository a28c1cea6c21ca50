"""The frames that two evaluations have in common, as arrays to be resampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import DataError
from seg_perception.evaluation.result_files import FRAMES_FILE, read_frames

_Key = tuple[str, str, str | int, int]
_MADE_UP_NS = 100_000_000
"""Between the stamps that images of folders get; once these were all that told them apart."""


@dataclass(frozen=True)
class Run:
    """The paired frames of one evaluation, N of them; what a frame lacks is NaN.

    confusion: (N, k, k) pixel counts; None without labels. grid: band → what is counted → (N,) cells. flicker: of what
    → (N,). latency: stage → (N,) ms of the frames that got a mask.
    """

    confusion: NDArray[np.float32] | None
    grid: Mapping[str, Mapping[str, NDArray[np.float64]]]
    flicker: Mapping[str, NDArray[np.float64]]
    latency: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Pairs:
    """Two runs with the same frames in the same order; only_a, only_b: numbers of frames without a partner."""

    a: Run
    b: Run
    count: int
    only_a: int
    only_b: int


def pair(a: Path, b: Path) -> Pairs:
    """The frames of two evaluations' folders that have the same recording, camera and stamp, in the order of `a`.

    Images of folders have a name instead of a stamp. Where no recording has the same path in both, the same name will
    do. Raises DataError: a frames.jsonl that cannot be read or does not tell its images apart, or no frame in common.
    """
    frames_a, frames_b = (_frames(folder) for folder in (a, b))
    for name in (_path, _short_names):
        keyed_a, keyed_b = (_keyed(frames, name(frames)) for frames in (frames_a, frames_b))
        common = [key for key in keyed_a if key in keyed_b]
        if common:
            runs = (_run([keyed[key] for key in common]) for keyed in (keyed_a, keyed_b))
            return Pairs(*runs, len(common), len(keyed_a) - len(common), len(keyed_b) - len(common))
    raise DataError(
        f"{a} and {b}: no frame of the same recording, camera and stamp, nor image of the same folder and name; "
        "evaluate both on the same input"
    )


def otherwise_labelled(pairs: Pairs) -> tuple[int, int]:
    """In how many frames the runs count other pixels of a class as the truth, and how many have labels in both."""
    a, b = pairs.a.confusion, pairs.b.confusion
    if a is None or b is None or a.shape != b.shape:
        return 0, 0
    labelled = np.isfinite(a[:, 0, 0]) & np.isfinite(b[:, 0, 0])
    other = (a[labelled].sum(2, np.float64) != b[labelled].sum(2, np.float64)).any(1)
    return int(other.sum()), int(labelled.sum())


def _frames(folder: Path) -> list[dict[str, Any]]:
    frames = [_slim(frame) for frame in read_frames(folder / FRAMES_FILE)]
    made_up = (f.get("stamp_ns") == number * _MADE_UP_NS and "name" not in f for number, f in enumerate(frames, 1))
    if frames and all(made_up):  # one image more or less, and all pairs are of two images
        raise DataError(f"{folder}: an older version did not note which images it has; remove it and evaluate again")
    return frames


def _slim(frame: dict[str, Any]) -> dict[str, Any]:
    """Lists of numbers as arrays: an hour of frames has to fit into memory."""
    matrix = frame.get("confusion")
    return frame | {"confusion": None if matrix is None else np.asarray(matrix, np.float32)}


def _path(_: Sequence[Mapping[str, Any]]) -> Callable[[str], str]:
    return str


def _short_names(frames: Sequence[Mapping[str, Any]]) -> Callable[[str], str]:
    """Paths of recordings, seen from the folder that all of them are in."""
    parents = {str(Path(frame["bag"]).parent) for frame in frames if frame.get("bag")}
    if not parents or len({Path(parent).is_absolute() for parent in parents}) > 1:
        return str
    root = commonpath(parents)
    return lambda bag: str(Path(bag).relative_to(root)) if bag else bag


def _keyed(frames: Iterable[dict[str, Any]], name: Callable[[str], str]) -> dict[_Key, dict[str, Any]]:
    """By recording, camera, name or stamp, and which of several with this stamp it is."""
    seen: Counter[tuple[str, str, str | int]] = Counter()
    keyed = {}
    for frame in frames:
        which = frame.get("name") or int(frame.get("stamp_ns") or 0)
        key = name(str(frame.get("bag") or "")), str(frame.get("camera") or ""), which
        keyed[(*key, seen[key])] = frame
        seen[key] += 1
    return keyed


def _run(frames: Sequence[Mapping[str, Any]]) -> Run:
    bands = {band: list(counts) for frame in frames for band, counts in (frame.get("grid_counts") or {}).items()}
    stages = dict.fromkeys(stage for frame in frames for stage in frame.get("latency_ms") or {})
    return Run(
        _confusions([frame["confusion"] for frame in frames]),
        {band: {name: _column(frames, "grid_counts", band, name) for name in names} for band, names in bands.items()},
        {name: _column(frames, "flicker", name) for name in ("mask", "grid")},
        {stage: _column([f if f.get("masked") else {} for f in frames], "latency_ms", stage) for stage in stages},
    )


def _confusions(matrices: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    shapes = {matrix.shape for matrix in matrices if matrix is not None}
    if len(shapes) != 1:
        return None
    stack = np.full((len(matrices), *shapes.pop()), np.nan, np.float32)
    for row, matrix in zip(stack, matrices, strict=True):
        row[:] = np.nan if matrix is None else matrix
    return stack


def _column(frames: Iterable[Mapping[str, Any]], *keys: str) -> NDArray[np.float64]:
    return np.array([_number(frame, keys) for frame in frames], np.float64)


def _number(node: Any, keys: Sequence[str]) -> float:
    for key in keys:
        node = node.get(key) if node else None
    return np.nan if node is None else float(node)
