"""The picture of a demo: what the camera saw, what the grid said, and what was true, at several moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.evaluation.grid_view import (
    FREE_RGB,
    NOT_SEEN_RGB,
    OCCUPIED_RGB,
    OTHER_RGB,
    UNKNOWN_RGB,
    UNSURE_RGB,
    Color,
    GridView,
)

_INK = "#1f2933"
_GREY = "#52606d"
_MARK = "#1d4ed8"
_ROW_INCHES = 2.95


@dataclass(frozen=True)
class Sector:
    """What the camera views, within a range (m): x, y (m) and yaw (rad) in base_link, angles to both sides (rad)."""

    x: float
    y: float
    yaw: float
    left: float
    right: float
    range_m: float

    def outline(self) -> list[tuple[float, float]]:
        """Points in base_link, m."""
        angles = self.yaw + np.linspace(-self.right, self.left, 60)
        arc = [(self.x + self.range_m * float(np.cos(a)), self.y + self.range_m * float(np.sin(a))) for a in angles]
        return [(self.x, self.y), *arc, (self.x, self.y)]


@dataclass(frozen=True)
class Words:
    """Above the picture: its title, what ran, and how good it was."""

    title: str
    model: str
    figures: str


@dataclass(frozen=True)
class Moment:
    """title: of the row. overlay: (H, W, 3) uint8 BGR. grids: (title, (h, w, 3) uint8 RGB view of the ground)."""

    title: str
    overlay: NDArray[np.uint8]
    grids: Sequence[tuple[str, NDArray[np.uint8]]] = ()


def draw_overview(
    path: Path, words: Words, moments: Sequence[Moment], table: ClassTable, view: GridView, sector: Sector
) -> None:
    """Write a PNG, one row per moment."""
    columns = 1 + max(len(moment.grids) for moment in moments)
    figure = Figure(figsize=(5.4 + 4.1 * (columns - 1), _ROW_INCHES * len(moments) + 1.75), dpi=110, facecolor="white")
    height = figure.get_figheight()
    axes = figure.subplots(
        len(moments),
        columns,
        squeeze=False,
        gridspec_kw={
            "width_ratios": [1.32] + [1.0] * (columns - 1),
            "left": 0.012,
            "right": 0.988,
            "top": 1 - 1.0 / height,
            "bottom": 0.62 / height,
            "hspace": 0.03,
            "wspace": 0.03,
        },
    )
    for row, moment in zip(axes, moments, strict=True):
        _draw_camera(row[0], moment)
        for axis, (_, grid) in zip(row[1:], moment.grids, strict=False):
            _draw_grid(axis, grid, view, sector)
    headings = ["camera with the published mask", *(name for name, _ in moments[0].grids)]
    for axis, heading in zip(axes[0], headings, strict=True):
        axis.set_title(heading, fontsize=10.5, color=_INK, pad=5)
    _write(figure, words)
    _draw_legends(figure, table, columns > 1)
    figure.savefig(path)


def draw_gallery(path: Path, words: Words, moments: Sequence[Moment], table: ClassTable) -> None:
    """Write a PNG of pictures alone, in up to two columns."""
    columns = min(2, len(moments))
    rows = -(-len(moments) // columns)
    aspect = max(moment.overlay.shape[0] / moment.overlay.shape[1] for moment in moments)
    width = 7.2
    figure = Figure(figsize=(width * columns, rows * (width * aspect + 0.08) + 1.5), dpi=110, facecolor="white")
    height = figure.get_figheight()
    grid = {
        "left": 0.01,
        "right": 0.99,
        "top": 1 - 0.78 / height,
        "bottom": 0.62 / height,
        "hspace": 0.03,
        "wspace": 0.02,
    }
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, moment in zip(axes.ravel(), moments, strict=False):
        _draw_camera(axis, moment)
    _write(figure, words)
    _draw_legends(figure, table, with_grid=False)
    figure.savefig(path)


def _write(figure: Figure, words: Words) -> None:
    height = figure.get_figheight()
    figure.text(0.012, 1 - 0.32 / height, words.title, fontsize=15, fontweight="bold", color=_INK, va="center")
    figure.text(0.988, 1 - 0.32 / height, words.model, fontsize=9, color=_GREY, va="center", ha="right")
    figure.text(0.012, 1 - 0.6 / height, words.figures, fontsize=9.5, color=_GREY, va="center")


def _draw_camera(axis: Axes, moment: Moment) -> None:
    axis.imshow(moment.overlay[..., ::-1], interpolation="lanczos")
    axis.set_axis_off()
    label = {"boxstyle": "round,pad=0.25", "facecolor": "black", "alpha": 0.6, "linewidth": 0}
    axis.text(0.012, 0.975, moment.title, transform=axis.transAxes, va="top", color="white", fontsize=8.5, bbox=label)


def _draw_grid(axis: Axes, rgb: NDArray[np.uint8], view: GridView, sector: Sector) -> None:
    axis.imshow(rgb, interpolation="nearest")
    axis.set_axis_off()
    axis.set_xlim(0, rgb.shape[1])
    axis.set_ylim(rgb.shape[0], 0)
    outline = [view.pixel(*point) for point in sector.outline()]
    axis.plot(*zip(*outline, strict=True), color=_MARK, lw=0.9, ls=(0, (4, 3)))
    body = [view.pixel(f, y) for f, y in ((1.3, 0.0), (-1.3, 0.9), (-0.7, 0.0), (-1.3, -0.9))]
    axis.add_patch(Polygon(body, facecolor=_MARK, edgecolor="white", lw=0.8))
    (x0, y0), (x1, _) = view.pixel(-view.behind + 1.1, -view.side + 6.2), view.pixel(0, -view.side + 1.2)
    axis.plot([x0, x1], [y0, y0], color=_INK, lw=2.2, solid_capstyle="butt")
    axis.text((x0 + x1) / 2, y0 - 5, "5 m", ha="center", va="bottom", fontsize=8, color=_INK)


def _draw_legends(figure: Figure, table: ClassTable, with_grid: bool) -> None:
    classes = [_patch(entry.color, entry.name) for entry in table.classes]
    style: dict[str, Any] = {"frameon": False, "fontsize": 8, "handlelength": 1.1, "handleheight": 1.0}
    style |= {"columnspacing": 1.1, "handletextpad": 0.4, "borderaxespad": 0.2, "labelcolor": _INK}
    columns = 6 if with_grid else min(len(classes), 11)
    first = figure.legend(handles=classes, loc="lower left", ncol=columns, **style)
    if with_grid:
        cells = [
            _patch(FREE_RGB, "free"),
            _patch(UNSURE_RGB, "uncertain"),
            _patch(OCCUPIED_RGB, "occupied"),
            _patch(UNKNOWN_RGB, "unknown"),
            _patch(OTHER_RGB, "other ground (truth)"),
            _patch(NOT_SEEN_RGB, "not seen yet (truth)"),
        ]
        figure.add_artist(first)
        figure.legend(handles=cells, loc="lower right", ncol=3, **style)


def _patch(color: Color, label: str) -> Patch:
    red, green, blue = (channel / 255 for channel in color)
    return Patch(facecolor=(red, green, blue), edgecolor="#7b8794", linewidth=0.4, label=label)
