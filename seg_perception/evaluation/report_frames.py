"""Every frame of an evaluation as arrays for charts, and the frames that lack something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIGURES = {
    "miou": ("mask", "miou"),
    "false_free": ("grid", "false_free"),
    "mask flicker": ("flicker", "mask"),
    "grid flicker": ("flicker", "grid"),
    "latency": ("latency_ms", "total"),
}
_SHOWN = 3  # frames that are named for each reason


@dataclass
class Skipped:
    """Frames that lack something for one reason. detail: of the first of them."""

    reason: str
    detail: str
    count: int = 0
    _names: list[str] = field(default_factory=list)

    @property
    def first(self) -> str:
        """The first of them, and why in detail."""
        more = ", …" if self.count > _SHOWN else ""
        return ", ".join(self._names) + more + (f": {self.detail}" if self.detail else "")

    def add(self, frame: Mapping[str, Any]) -> None:
        """Count one more."""
        self.count += 1
        if self.count <= _SHOWN:
            self._names.append(_name(frame))


@dataclass(frozen=True)
class FrameSeries:
    """Figures of N frames in their order.

    seconds: (N,) since the first of them, at first_stamp_ns; both None where the stamps do not tell the order of the
    frames, or are made up. camera: (N,) names. names: what each frame is called. bag_starts: (frame number, bag), one
    for each bag. figures: name → (N,), NaN where there is none.
    """

    seconds: NDArray[np.float64] | None
    first_stamp_ns: int | None
    camera: NDArray[np.str_]
    names: Sequence[str]
    bag_starts: Sequence[tuple[int, str]]
    figures: Mapping[str, NDArray[np.float64]]
    skipped: Sequence[Skipped]

    @classmethod
    def collect(cls, frames: Iterable[Mapping[str, Any]]) -> FrameSeries:
        """Keeps numbers and names only, however many frames there are."""
        stamps: list[int] = []
        cameras: list[str] = []
        names: list[str] = []
        recorded = True
        starts: list[tuple[int, str]] = []
        figures: dict[str, list[float]] = {name: [] for name in _FIGURES}
        reasons: dict[str, Skipped] = {}
        for number, frame in enumerate(frames):
            bag = str(frame.get("bag") or "")
            if not starts or starts[-1][1] != bag:
                starts.append((number, bag))
            stamps.append(int(frame.get("stamp_ns") or 0))
            cameras.append(str(frame.get("camera") or ""))
            names.append(_name(frame))
            recorded &= not frame.get("name")
            for name, (part, key) in _FIGURES.items():
                value = (frame.get(part) or {}).get(key)
                figures[name].append(np.nan if value is None else float(value))
            for reason in filter(None, (frame.get("skipped") or "").split("; ")):
                reasons.setdefault(reason, Skipped(reason, frame.get("detail") or "")).add(frame)
        seconds = _seconds(stamps) if recorded and len(starts) == 1 else None
        return cls(
            seconds,
            None if seconds is None else stamps[0],
            np.array(cameras, np.str_),
            names,
            starts,
            {name: np.array(values) for name, values in figures.items()},
            sorted(reasons.values(), key=lambda skipped: -skipped.count),
        )


def _name(frame: Mapping[str, Any]) -> str:
    """The file of an image of a folder; of a recording the number of the image, and its camera."""
    camera = f" of {frame['camera']}" if frame.get("camera") else ""
    return str(frame.get("name") or f"{frame.get('index')}{camera}")


def _seconds(stamps: Sequence[int]) -> NDArray[np.float64] | None:
    since = (np.array(stamps, np.int64) - stamps[0]) / 1e9
    return since if (np.diff(since) >= 0).all() and since[-1] > 0 else None
