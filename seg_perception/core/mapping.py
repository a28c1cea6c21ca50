"""From masks and poses to a grid: projects each view's evidence into the world and fuses it over time."""

from __future__ import annotations

from math import inf
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.cells import ReachableCells
from seg_perception.core.class_codes import NOTHING, ClassCodes
from seg_perception.core.classes import ClassTable
from seg_perception.core.depth import MeasuredView, measure
from seg_perception.core.errors import TransformError
from seg_perception.core.evidence import COVERED, NOT_FREE, Evidence, ViewError, confidence_weights, observe, overhung
from seg_perception.core.grid import UNKNOWN, GridSpec, RollingGrid
from seg_perception.core.ground import PolarMap, Viewpoint
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.pose import Transform
from seg_perception.core.slope import GroundSlope, levelled

_LETHAL = 100
"""Of all occupied cells: below it, Nav2's costmaps take them for passable, or even free."""

Mark = TypeVar("Mark", np.float32, np.uint16)
Value = TypeVar("Value", np.uint8, np.uint16)

_LEAST_JUMP_M, _SPEED_UP_M_S, _FIRST_SPEED_M_S = 1.0, 5.0, 30.0
_SPEED_OVER_S = 0.02
"""base_link has jumped when it has moved by this more than it would at twice its last speed, and some more."""

_LEAST_TURN, _FASTEST_TURN = 0.3, 6.0
"""rad, rad/s: or when it has turned by more than the one and what it can at the other."""

_AT_FOOT = np.array([-0.5, 0.0, 0.4])
"""Cells behind the foot of an obstacle that it occupies: it lies behind its foot, known to about a mask pixel."""


class ClassCells(NamedTuple):
    """Known cells and what was last seen in them.

    centres: (N, 3) float32, world frame, m, on the ground. ids: (N,) uint8, of the model that has seen them. colors:
    (N, 3) uint8 RGB.
    """

    centres: NDArray[np.float32]
    ids: NDArray[np.uint8]
    colors: NDArray[np.uint8]


class GridMapper:
    """Fuses segmented views of one or several cameras into one world-fixed rolling grid.

    `table` may be replaced between updates: cameras may run different models.
    """

    def __init__(self, table: ClassTable, config: MapperConfig) -> None:
        self.table = table
        self._grid = RollingGrid(config.resolution, *config.cells)
        self._codes = ClassCodes()
        self._maps: dict[str, PolarMap] = {}
        self._seen: dict[str, float] = {}
        self._stamp_s = -inf
        self._slope = GroundSlope()
        self._origin, self._gradient = np.zeros(3), np.zeros(2)
        self._base: tuple[float, NDArray[np.float64], NDArray[np.float64]] | None = None
        self._speed = _FIRST_SPEED_M_S
        self.jumps = 0
        """How often base_link was suddenly elsewhere, so that all evidence was forgotten."""
        self.view: Viewpoint | None = None
        """Where the camera of the last update stands over the ground, with the ground turned to be level."""
        self.config = config

    @property
    def config(self) -> MapperConfig:
        """May be replaced while running, but for resolution and size."""
        return self._config

    @config.setter
    def config(self, config: MapperConfig) -> None:
        self._config = config
        self._weights = confidence_weights(config.min_confidence)
        self._error = ViewError(config.pitch_error, config.height_error, config.outline_error)
        self._maps.clear()

    @property
    def keeps_classes(self) -> bool:
        """Whether cells remember what was seen in them, for `class_cells`; False until set."""
        return self._grid.classes is not None

    @keeps_classes.setter
    def keeps_classes(self, keeps: bool) -> None:
        if keeps != self.keeps_classes:
            self._grid.classes = np.full(self._grid.cost.shape, NOTHING, np.uint16) if keeps else None

    def reset(self) -> None:
        """Forget all evidence; the next update may have any stamp."""
        self._grid.clear()
        self._seen.clear()
        self._slope = GroundSlope()
        self._base, self._speed = None, _FIRST_SPEED_M_S
        self._stamp_s = -inf

    def fade(self, stamp_s: float) -> None:
        """Fade the evidence up to a time for good: before another `config`, whose half-life is for what follows."""
        self._grid.log_odds = self._faded(stamp_s)
        if self._stamp_s > -inf:
            self._stamp_s = max(self._stamp_s, stamp_s)

    def update(
        self,
        mask: NDArray[np.uint8],
        confidence: NDArray[np.uint8],
        camera: Camera,
        world_from_optical: Transform,
        world_from_base: Transform,
        stamp_s: float,
        source: str = "camera",
        depth: NDArray[np.float32] | None = None,
    ) -> int | None:
        """Add one view; the number of cells of which it proves something, None without any ground in reach in it.

        mask, confidence: (H, W) uint8 at the camera's size. The ground is a plane through base_link's origin, as steep
        as `GroundSlope` takes it to be. `source` names the camera, so that each keeps its own lookup. depth: (H, W)
        float32 aligned to the mask, m along the optical axis, NaN, inf or 0 where unknown. Raises TransformError for a
        pose that cannot be, ImageError for a depth of another size.
        """
        if not np.isfinite(world_from_base).all():
            raise TransformError("pose of base_link is not finite; check the odometry and the TF tree")
        self._follow(world_from_base, stamp_s)
        self.view = view = self._viewpoint(world_from_optical, world_from_base, stamp_s)
        self._grid.log_odds = self._faded(stamp_s)
        self._stamp_s = max(self._stamp_s, stamp_s)
        self._grid.centre_on(float(world_from_base[0, 3]), float(world_from_base[1, 3]))
        error = self._error._replace(pitch=self._error.pitch + self._slope.doubt)
        polar = self._polar_map(source, camera, view, error)
        if polar is None:
            return None
        config, measured, placed = self._config, None, None
        if depth is not None:
            measured = measure(mask, confidence, depth, camera, view, self.table, config.clearance, config.max_range)
            mask, confidence, placed = measured.mask, measured.confidence, measured.placed
        trusted = self._trusted_range(camera, view.height, error)
        evidence = observe(mask, confidence, polar, self.table, self._weights, error, trusted, placed)
        kept = 0.5 ** (max(0.0, stamp_s - self._seen.get(source, stamp_s)) / config.hidden_half_life)
        self._seen[source] = stamp_s
        return self._fuse(polar, view, evidence, measured, kept)

    def occupancy(self, stamp_s: float) -> tuple[GridSpec, NDArray[np.int8]]:
        """The grid at a time not before the last update: (height, width) int8, -1 unknown, 100 occupied, else passable.

        A passable cell's value is the cost of its ground, and at least its probability of being occupied in percent.
        """
        faded = self._faded(stamp_s)
        passable = np.flatnonzero(faded <= -self._config.known_log_odds)
        probability = 100.0 / (1.0 + np.exp(-faded.ravel()[passable]))
        occupancy = np.full(faded.shape, UNKNOWN, np.int8)
        occupancy.ravel()[passable] = np.rint(np.maximum(probability, self._grid.cost.ravel()[passable]))
        occupancy[faded >= self._config.known_log_odds] = _LETHAL
        return self._grid.spec, occupancy

    def obstacle_points(self, stamp_s: float) -> NDArray[np.float32]:
        """(N, 3) float32, world frame, m: the centres of the occupied cells, on the ground."""
        return self._centres(self._faded(stamp_s) >= self._config.known_log_odds)

    def class_cells(self, stamp_s: float) -> ClassCells:
        """The class of the newest ground seen in each known cell, or of the obstacle whose foot is in it.

        Cells that were last seen before `keeps_classes` was set are left out.
        """
        classes = self._grid.classes
        if classes is None:
            classes = np.full(self._grid.cost.shape, NOTHING, np.uint16)
        shown = (np.abs(self._faded(stamp_s)) >= self._config.known_log_odds) & (classes != NOTHING)
        codes = classes[shown]
        return ClassCells(self._centres(shown), self._codes.ids(codes), self._codes.colors(codes))

    def _centres(self, chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
        rows, columns = np.nonzero(chosen)
        x, y = self._grid.spec.centres()
        x, y = x[columns], y[rows]
        z = self._origin[2] + self._gradient[0] * (x - self._origin[0]) + self._gradient[1] * (y - self._origin[1])
        return np.stack([x, y, z], axis=1).astype(np.float32)

    def _faded(self, stamp_s: float) -> NDArray[np.float32]:
        """Log-odds of the cells at a time. Only views move the grid's own: a clock that asks may be set back again."""
        elapsed = stamp_s - self._stamp_s
        if not 0 < elapsed < inf:
            return self._grid.log_odds
        return self._grid.log_odds * np.float32(0.5 ** (elapsed / self._config.half_life))

    def _follow(self, world_from_base: Transform, stamp_s: float) -> None:
        """Forget all evidence when base_link is where it cannot have got to: its odometry has begun anew."""
        position, ahead = world_from_base[:2, 3], world_from_base[:2, 0]
        if self._base is not None:
            before_s, before, ahead_before = self._base
            elapsed, way = abs(stamp_s - before_s), float(np.hypot(*(position - before)))
            turn = abs(np.angle(complex(*ahead) * complex(*ahead_before).conjugate()))
            too_far = way > _LEAST_JUMP_M + (2.0 * self._speed + _SPEED_UP_M_S) * elapsed
            if too_far or turn > _LEAST_TURN + _FASTEST_TURN * elapsed:
                self.reset()
                self.jumps += 1
            elif elapsed >= _SPEED_OVER_S:
                self._speed = way / elapsed
        if self._base is None or abs(stamp_s - self._base[0]) >= _SPEED_OVER_S:
            self._base = stamp_s, position, ahead

    def _viewpoint(self, world_from_optical: Transform, world_from_base: Transform, stamp_s: float) -> Viewpoint:
        self._origin, self._gradient = world_from_base[:3, 3], self._slope.update(world_from_base, stamp_s)
        return Viewpoint.of(levelled(world_from_optical, self._gradient, self._origin), float(self._origin[2]))

    def _polar_map(self, source: str, camera: Camera, view: Viewpoint, error: ViewError) -> PolarMap | None:
        known = self._maps.get(source)
        if known is not None and known.serves(camera, view):
            return known
        built = PolarMap.build(camera, view, self._doubted_range(camera, view.height, error))
        if built is not None:
            self._maps[source] = built
        return built

    def _trusted_range(self, camera: Camera, height: float, error: ViewError) -> float:
        """Distance at which the view's errors and half a pixel move a ground point by `max_range_error`.

        With d = h / t, an error e of the tangent t moves the point by e h / t^2.
        """
        distances = np.linspace(self._config.max_range, height, 200)
        tangents = height / distances
        off = error.tangent(tangents) + 0.5 / float(camera.matrix[1, 1])
        trusted = distances[off * height / tangents**2 <= self._config.max_range_error]
        return float(trusted[0]) if len(trusted) else 1e-6

    def _doubted_range(self, camera: Camera, height: float, error: ViewError) -> float:
        """Distance up to which what is seen may really stand within the trusted range."""
        farthest = height / self._trusted_range(camera, height, error)
        doubt = float(error.tangent(farthest)) + (self._config.outline_error + 2.0) / float(camera.matrix[1, 1])
        return height / max(overhung(farthest, height) - doubt, 0.25 * farthest)

    def _fuse(
        self, polar: PolarMap, view: Viewpoint, evidence: Evidence, measured: MeasuredView | None, kept: float
    ) -> int:
        reach = self._config.max_range
        around = (view.x - reach, view.x + reach), (view.y - reach, view.y + reach)
        # Depth places obstacles by itself, also where the map shows no ground.
        rows, columns = self._grid.window(*(polar.bounds(view, reach) if measured is None else around))
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return 0
        config = self._config
        cells = ReachableCells(self._grid.spec, rows, columns, view, polar)
        log_odds, cost = self._grid.log_odds[rows, columns], self._grid.cost[rows, columns]
        ground, weight = cells.ground(evidence)
        change = np.where(ground < NOT_FREE, weight * np.float32(config.free_log_odds / 255.0), np.float32(0.0))
        np.copyto(cost, ground, where=change < 0)

        occupied = np.zeros_like(change)
        self._mark_obstacles(occupied, cells, evidence, evidence.obstacle_weights)
        if measured is not None:
            _mark(occupied, cells, *measured.polar, self._weights[measured.weights])
        marked, covered = occupied > 0, ground == COVERED
        if self._grid.classes is not None:
            self._note_classes(self._grid.classes[rows, columns], cells, evidence, measured, change < 0, marked)
        np.copyto(change, occupied * np.float32(config.occupied_log_odds / 255.0), where=marked)
        # Ground that an obstacle came to stand on or to hide is no longer free, however long it was seen free before.
        np.maximum(log_odds, 0.0, out=log_odds, where=marked | covered)
        # What is hidden now and was marked from farther away, where its foot was less certain, is unknown again soon.
        np.multiply(log_odds, np.float32(kept), out=log_odds, where=covered & ~marked)
        log_odds += change
        np.clip(log_odds, config.min_log_odds, config.max_log_odds, out=log_odds)
        return int(np.count_nonzero(change))

    def _note_classes(
        self,
        classes: NDArray[np.uint16],
        cells: ReachableCells,
        evidence: Evidence,
        measured: MeasuredView | None,
        free: NDArray[np.bool_],
        occupied: NDArray[np.bool_],
    ) -> None:
        first = self._codes.first(self.table)
        np.copyto(classes, first + cells.labels(evidence), where=free)
        obstacles = np.full_like(classes, NOTHING)
        self._mark_obstacles(obstacles, cells, evidence, first + evidence.obstacle_labels)
        if measured is not None:
            _mark(obstacles, cells, *measured.polar, first + measured.labels)
        np.copyto(classes, obstacles, where=occupied)

    def _mark_obstacles(
        self, marks: NDArray[Mark], cells: ReachableCells, evidence: Evidence, values: NDArray[Value]
    ) -> None:
        depths = _AT_FOOT * self._config.resolution
        _mark(marks, cells, evidence.distances + depths[:, None], evidence.bearings, values)


def _mark(
    marks: NDArray[Mark],
    cells: ReachableCells,
    distances: NDArray[np.floating],
    bearings: NDArray[np.float32],
    values: NDArray[Value],
) -> None:
    """Raise the cells in which obstacles stand to the highest value among them. distances: (N,), or rows of (N,)."""
    indices, within = cells.locate(distances, bearings)
    np.maximum.at(marks, indices, np.broadcast_to(values, within.shape)[within].astype(marks.dtype))
