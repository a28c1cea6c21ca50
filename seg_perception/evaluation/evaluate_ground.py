"""The true state of the ground from a recording: from a grid that somebody publishes, or from a lidar."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.core.errors import DataError, TransformError
from seg_perception.core.grid import FREE_BELOW, OCCUPIED_FROM, GridSpec
from seg_perception.core.messages import stamp_to_ns
from seg_perception.core.poses import JUMP_NS
from seg_perception.core.waiting import NotYetError
from seg_perception.evaluation.evaluate_frame import NO_TRUTH, Frame
from seg_perception.evaluation.evaluate_poses import Poses
from seg_perception.evaluation.evaluate_source import TRUTH, Event
from seg_perception.evaluation.evaluate_truth import MeasuredGround
from seg_perception.evaluation.sight import Sight

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""sensor_msgs/PointField's datatypes."""


class TruthGrids(MeasuredGround):
    """An OccupancyGrid topic: values below 25 are free, from 65 on occupied, all others are not scored.

    A frame is compared with the grid of its stamp, else with the newest one before it: a map that never changes need
    be published only once.
    """

    name = "truth_grid"
    _KEPT = 64

    def __init__(self) -> None:
        super().__init__()
        self._grids: deque[Any] = deque(maxlen=self._KEPT)

    def note(self, event: Event, poses: Poses) -> None:
        """Keep a grid."""
        if event.kind == TRUTH:
            self._grids.append(event.message)

    def pending(self, frame: Frame, poses: Poses) -> bool:
        """Until a grid of its stamp or a later one is there, and what tells where it lies."""
        later = (stamp_to_ns(grid.header.stamp) - frame.stamp_ns for grid in self._grids)
        if not any(0 <= ns <= JUMP_NS for ns in later):  # those much later are of before a jump back in time
            return True
        grid = self._grid_of(frame)
        return grid is not None and _not_yet(lambda: poses.world_from(grid.header.frame_id, frame.stamp_ns))

    def score(self, frame: Frame, sight: Sight, poses: Poses) -> None:
        """Compare with the grid of its time."""
        assert frame.grid
        grid = self._grid_of(frame)
        if grid is None:
            frame.problems[NO_TRUTH] = "no truth grid of its stamp or before"
            return
        try:
            world_from_map = poses.world_from(grid.header.frame_id, frame.stamp_ns)
            occupied, free = _sampled(grid, world_from_map, frame.grid[0])
        except (NotYetError, TransformError) as error:
            frame.problems[NO_TRUTH] = f"truth grid in another frame: {error}"
            return
        except DataError as error:
            frame.problems[NO_TRUTH] = str(error)
            return
        self.compare(frame, sight, occupied, free)

    def _grid_of(self, frame: Frame) -> Any:
        """None where there is none of its stamp or before; those much later are of a time that has begun anew since."""
        stamps = [(stamp_to_ns(grid.header.stamp), grid) for grid in self._grids]
        known = [entry for entry in stamps if entry[0] <= frame.stamp_ns]
        known = known or [entry for entry in stamps if entry[0] > frame.stamp_ns + JUMP_NS]
        return max(known, key=lambda entry: entry[0])[1] if known else None


class TruthLidar(MeasuredGround):
    """A PointCloud2 topic: cells with returns from the ground alone are free, those with returns from above occupied.

    The ground is a plane fitted to the returns around the robot. A frame is compared with the cloud nearest in time.
    """

    name = "lidar"
    _KEPT = 24
    _NEAREST_NS = 100_000_000
    _SELF_M = 1.5
    """Returns nearer to the sensor than this may be from the robot itself."""
    _GROUND_M = 0.12
    _STANDING_M = (0.25, 2.0)
    """Heights above the plane of the ground, and of what stands on it."""
    _MIN_STANDING = 2
    """Returns that make a cell occupied."""

    def __init__(self) -> None:
        super().__init__()
        self._clouds: deque[Any] = deque(maxlen=self._KEPT)

    def note(self, event: Event, poses: Poses) -> None:
        """Keep a cloud."""
        if event.kind == TRUTH:
            self._clouds.append(event.message)

    def pending(self, frame: Frame, poses: Poses) -> bool:
        """Until a cloud of its stamp or a later one is there, and what tells where it was taken."""
        if all(stamp_to_ns(cloud.header.stamp) < frame.stamp_ns for cloud in self._clouds):
            return True
        header = self._cloud_of(frame).header
        return _not_yet(lambda: poses.at(stamp_to_ns(header.stamp), header.frame_id, None))

    def score(self, frame: Frame, sight: Sight, poses: Poses) -> None:
        """Compare with the cloud of its time."""
        assert frame.grid and frame.pose
        if not self._clouds or self._apart_ns(self._cloud_of(frame), frame) > self._NEAREST_NS:
            frame.problems[NO_TRUTH] = f"no cloud within {self._NEAREST_NS / 1e9:g} s"
            return
        cloud = self._cloud_of(frame)
        try:
            sensor = poses.at(stamp_to_ns(cloud.header.stamp), cloud.header.frame_id, None)
            points = cloud_points(cloud)
        except (NotYetError, TransformError, DataError) as error:
            frame.problems[NO_TRUTH] = f"cloud: {error}"
            return
        points = points[np.linalg.norm(points, axis=1) > self._SELF_M]
        spec = frame.grid[0]
        occupied, free = self.cells(pose.apply(sensor.world_from_optical, points), spec, frame.pose.ground_z)
        x, y = spec.centres()
        # What stands below the view is the robot itself, as a rule, and hides nothing.
        occupied &= sight.contains(x[None, :], y[:, None])
        self.compare(frame, sight, occupied, free)

    def _cloud_of(self, frame: Frame) -> Any:
        """The nearest in time."""
        return min(self._clouds, key=lambda cloud: self._apart_ns(cloud, frame))

    @staticmethod
    def _apart_ns(cloud: Any, frame: Frame) -> int:
        return abs(stamp_to_ns(cloud.header.stamp) - frame.stamp_ns)

    def cells(
        self, points: NDArray[np.float64], spec: GridSpec, ground_z: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(N, 3) world points, m → occupied and free, (h, w) bool each. ground_z: about where the ground is, m."""
        heights = above_ground(points, ground_z)
        on_ground = _hits(points[np.abs(heights) < self._GROUND_M], spec)
        standing = _hits(points[(heights > self._STANDING_M[0]) & (heights < self._STANDING_M[1])], spec)
        occupied = standing >= self._MIN_STANDING
        return occupied, (on_ground > 0) & (standing == 0)


def above_ground(points: NDArray[np.float64], ground_z: float) -> NDArray[np.float64]:
    """(N, 3) points → (N,) heights above the plane through the ground among them, m.

    Least squares over the points within a shrinking distance of the last plane, from the horizontal one at ground_z on.
    """
    centre = points[:, :2].mean(axis=0) if len(points) else np.zeros(2)
    design = np.column_stack([points[:, :2] - centre, np.ones(len(points))])
    plane = np.array([0.0, 0.0, ground_z])
    for reach in (0.5, 0.3, 0.15, 0.15):
        near = np.abs(points[:, 2] - design @ plane) < reach
        if np.count_nonzero(near) < 3:
            break
        plane = np.linalg.lstsq(design[near], points[near, 2], rcond=None)[0]
    return np.asarray(points[:, 2] - design @ plane, np.float64)


def cloud_points(cloud: Any) -> NDArray[np.float64]:
    """sensor_msgs/PointCloud2 → (N, 3) finite points, m. Raises DataError where it has no x, y, z, or is cut off."""
    fields = {field.name: field for field in cloud.fields}
    if not {"x", "y", "z"} <= fields.keys():
        raise DataError(f"point cloud has the fields {', '.join(fields) or 'none'}; x, y and z are needed")
    unknown = [name for name in "xyz" if fields[name].datatype not in _NUMBERS]
    row = cloud.width * cloud.point_step
    if unknown or cloud.row_step < row or len(cloud.data) < cloud.height * cloud.row_step:
        what = f"{cloud.width}x{cloud.height} points of {cloud.point_step} bytes, rows of {cloud.row_step}"
        wrong = f"unknown types of {', '.join(unknown)}" if unknown else f"{len(cloud.data)} bytes of data"
        raise DataError(f"point cloud of {what}, has {wrong}; correct its publisher")
    order = ">" if cloud.is_bigendian else "<"
    layout = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": [order + _NUMBERS[fields[name].datatype] for name in "xyz"],
            "offsets": [fields[name].offset for name in "xyz"],
            "itemsize": cloud.point_step,
        }
    )
    whole = np.frombuffer(cloud.data, np.uint8, cloud.height * cloud.row_step)
    packed = np.ascontiguousarray(whole.reshape(cloud.height, cloud.row_step)[:, :row]).view(layout).ravel()
    points = np.stack([packed[name].astype(np.float64) for name in "xyz"], axis=1)
    return points[np.isfinite(points).all(axis=1)]


def _not_yet(look_up: Callable[[], object]) -> bool:
    try:
        look_up()
    except NotYetError:
        return True
    except TransformError:
        pass  # told by whoever needs it
    return False


def _sampled(grid: Any, world_from_map: pose.Transform, spec: GridSpec) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of our cells an OccupancyGrid calls occupied, and which free; neither beyond it.

    Where it is finer, a cell is occupied when any part of it is, and free when all of it is. Raises DataError where it
    is cut off.
    """
    size = grid.info.width * grid.info.height
    occupied, free = np.zeros((2, spec.height, spec.width), np.bool_)
    if size == 0:
        return occupied, free
    if len(grid.data) != size or not grid.info.resolution > 0.0:
        what = f"{grid.info.width}x{grid.info.height} cells of {grid.info.resolution:g} m"
        raise DataError(f"truth grid of {what} has {len(grid.data)} values; correct its publisher")
    p, q = grid.info.origin.position, grid.info.origin.orientation
    straight = (q.x, q.y, q.z, q.w) == (0.0, 0.0, 0.0, 0.0)  # as some publishers leave it
    origin = pose.from_quaternion((p.x, p.y, p.z), (0, 0, 0, 1) if straight else (q.x, q.y, q.z, q.w))
    cells_from_world = pose.inverse(world_from_map @ origin)
    x, y = spec.centres()
    world = np.stack([*np.broadcast_arrays(x[None, :], y[:, None]), np.zeros((spec.height, spec.width))], axis=-1)
    local = pose.apply(cells_from_world, world) / grid.info.resolution
    parts = max(1, round(spec.resolution / grid.info.resolution))
    # Of an even number of parts, two meet at our cell's centre, and OpenCV's kernel reaches farther back than ahead.
    middle = 0.5 if parts % 2 == 0 else 0.0
    column, row = (np.floor(local[..., axis] + middle).astype(np.intp) for axis in (0, 1))
    inside = (row >= 0) & (row < grid.info.height) & (column >= 0) & (column < grid.info.width)
    stored = np.asarray(grid.data, np.int8).reshape(grid.info.height, grid.info.width)
    kernel = np.ones((parts, parts), np.uint8)
    parts_occupied = cv2.dilate((stored >= OCCUPIED_FROM).view(np.uint8), kernel)
    known_free = ((stored >= 0) & (stored < FREE_BELOW)).view(np.uint8)
    parts_free = cv2.erode(known_free, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    occupied[inside] = parts_occupied[row[inside], column[inside]]
    free[inside] = parts_free[row[inside], column[inside]]
    return occupied, free


def _hits(points: NDArray[np.float64], spec: GridSpec) -> NDArray[np.intp]:
    """(h, w): how many points lie in each cell."""
    rows, columns, _ = spec.cells_of(points)
    return np.bincount(rows * spec.width + columns, minlength=spec.height * spec.width).reshape(spec.height, spec.width)
