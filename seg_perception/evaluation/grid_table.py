"""The grid evaluation's result as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from seg_perception.core.metrics import GRID_SHARES
from seg_perception.evaluation.grid_bands import BANDS
from seg_perception.evaluation.grid_kitti import TRUE_WIDTH_M

_HEADINGS = [
    "occupied called free",
    "occupied found",
    "free called occupied",
    "free found",
    "hidden is unknown",
]
"""In the order of GRID_SHARES."""

_SUMMARY_BAND = "0-15"
_STATED = {"default": "default", "matching": "of this size"}


def tables(metrics: Mapping[str, Any]) -> str:
    """What is in grid_metrics.json, for people; a part that was skipped is one line with the reason."""
    parts: dict[str, tuple[str, Callable[[Any], str]]] = {
        "simulation": ("Simulated drives: ours / plain inverse perspective mapping", _simulation),
        "pitch_error": (f"Misstated pose: ours, true masks, {_SUMMARY_BAND} m", _pose_error),
        "kitti": ("KITTI um_000000: width of the ego lane", _kitti),
        "nuscenes": ("nuScenes sample: six cameras in one grid", _nuscenes),
        "rellis": ("RELLIS-3D: what the grid says where the ground is not flat", _rellis),
    }
    texts = []
    for key, (title, write) in parts.items():
        part = metrics[key]
        texts.append(f"### {title}\n\n{f'skipped: {part[SKIPPED]}' if SKIPPED in part else write(part)}")
    return "\n\n".join(texts)


SKIPPED = "skipped"
"""Key of the reason why a part is missing."""


def _simulation(part: Mapping[str, Any]) -> str:
    rows = []
    for masks, who in part.items():
        for band in BANDS:
            pairs = zip(_shares(who["ours"][band]), _shares(who["baseline"][band]), strict=True)
            rows.append([masks.replace("_", " "), f"{band} m", *(f"{ours} / {plain}" for ours, plain in pairs)])
    return _markdown(["masks", "distance", *_HEADINGS], rows)


def _pose_error(part: Mapping[str, Any]) -> str:
    rows = []
    for name, by_stated in part.items():
        what = "height 5 %" if name.startswith("height") else f"pitch {name}°"
        for stated, by_direction in by_stated.items():
            for direction, bands in by_direction.items():
                rows.append([what, _STATED[stated], direction, *_shares(bands[_SUMMARY_BAND])])
    return _markdown(["error", "stated error", "everything seems", *_HEADINGS], rows)


def _kitti(part: Mapping[str, Any]) -> str:
    widths = part["lane_width_m"]
    rows = [
        ["on the grid, m", *(f"{widths[str(ahead)]:.2f}" for ahead in TRUE_WIDTH_M)],
        ["true, m", *(f"{width:.2f}" for width in TRUE_WIDTH_M.values())],
    ]
    return _markdown(["ahead", *(f"{ahead} m" for ahead in TRUE_WIDTH_M)], rows)


def _nuscenes(part: Mapping[str, Any]) -> str:
    rows = [
        [
            masks.replace("_", " "),
            f"{_percent(scores['box_recall'])} of {scores['boxes']}",
            f"{_percent(scores['free_not_occupied'])} of {scores['lidar_free_cells']}",
            _percent(scores["free_called_free"]),
        ]
        for masks, scores in part.items()
    ]
    return _markdown(["masks", "boxes found", "lidar-proved free cells not occupied", "called free"], rows)


def _rellis(part: Mapping[str, Any]) -> str:
    return _markdown(
        ["stated pitch error", "most range error", "cells", "how many", "free", "occupied", "unknown"],
        list(_rellis_rows(part["stated"])),
    )


def _rellis_rows(stated: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    for entry in stated:
        for kind in ("right", "off_by_a_cell", "off_beyond_limit"):
            cells = entry[kind]
            shares = (_percent(cells[answer]) for answer in ("free", "occupied", "unknown"))
            settings = f"{entry['pitch_error_deg']:g}°", f"{entry['max_range_error_m']:g} m"
            yield [*settings, kind.replace("_", " "), str(cells["cells"]), *shares]


def _shares(figures: Mapping[str, float | None]) -> list[str]:
    return [_percent(figures[name]) for name in GRID_SHARES]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %" if share < 0.1 else f"{100 * share:.1f} %"


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
