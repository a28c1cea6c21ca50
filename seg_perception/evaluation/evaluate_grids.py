"""The stage of an evaluation that turns masks and poses into grids: the grid_mapper node's work, without its clock.

What a mask needs may have been recorded after its image. So frames wait, in their order, until all of it is there or
until the recording has gone on for a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import CameraError, ImageError, SegPerceptionError, TransformError
from seg_perception.core.mapping import GridMapper
from seg_perception.core.pairing import CameraInfos
from seg_perception.core.poses import JUMP_NS
from seg_perception.core.waiting import NotYetError
from seg_perception.engines.resize import Resize
from seg_perception.evaluation.evaluate_frame import (
    BAD_CAMERA_INFO,
    BAD_EGO_MASK,
    NO_CAMERA_INFO,
    NO_POSE,
    ZERO_STAMP,
    Frame,
)
from seg_perception.evaluation.evaluate_poses import Poses
from seg_perception.evaluation.evaluate_robot import Robot
from seg_perception.evaluation.evaluate_source import CAMERA_INFO, Event
from seg_perception.evaluation.evaluate_truth import Truth

_WAIT_NS = 1_000_000_000
_MOST_WAITING = 64  # of each camera
_INFO_DEPTH = 64  # a second of a fast camera
_CALIBRATIONS = 8


class GridReplay:
    """Gives frames their grids. kinds: what events there may be, so that nothing is waited for in vain."""

    def __init__(self, robot: Robot, table: ClassTable, resize: Resize, kinds: set[str], truth: Truth) -> None:
        self.poses = Poses(robot, kinds)
        self._robot = robot
        # One object per calibration, for its cameras keep what has been computed of them.
        self._view = lru_cache(_CALIBRATIONS)(resize.camera)
        self._kinds = kinds
        self._truth = truth
        self._mapper = GridMapper(table, robot.mapper)
        self._jumps = 0
        self._infos: dict[str, CameraInfos] = {}
        self._waiting: deque[Frame] = deque()
        self._newest_ns: int | None = None

    def __call__(self, items: Iterable[Frame | Event]) -> Iterator[Frame]:
        """The frames, in their order."""
        for item in items:
            if isinstance(item, Frame):
                if self._time_went_back(item):
                    yield from self._ready(None)
                    self._start_anew(item.stamp_ns)
                self._waiting.append(item)
            else:
                if self.poses.jumps_back(item):
                    yield from self._ready(None)
                self._note(item)
            yield from self._ready(item.received_ns)
        yield from self._ready(None)
        self._truth.finish()

    def _note(self, event: Event) -> None:
        if event.kind == CAMERA_INFO:
            infos = self._infos.setdefault(event.camera, CameraInfos(_INFO_DEPTH, rectified=event.rectified))
            infos.add(event.message)
        self.poses.note(event)
        self._truth.note(event, self.poses)

    def _ready(self, now_ns: int | None) -> Iterator[Frame]:
        """The frames that need not wait any longer; now_ns None: all of them."""
        most = _MOST_WAITING * max(1, len(self._infos))
        while self._waiting:
            frame = self._waiting[0]
            over = now_ns is None or now_ns - frame.received_ns > _WAIT_NS or len(self._waiting) > most
            if not self._complete(frame, may_wait=not over):
                return
            yield self._waiting.popleft()

    def _complete(self, frame: Frame, *, may_wait: bool) -> bool:
        """Do what can be done with a frame; False: nothing yet, something is still missing."""
        if frame.segmentation is None:
            return True
        with frame.timed("grid"):
            if may_wait and not self._truth.complete(frame, self.poses):
                return False
            problem = self._locate(frame, may_wait)
            if problem is None:
                return False
            kind, detail = problem
            if kind:
                frame.problems[kind] = detail
            elif frame.pose:
                self._fuse(frame)
        self._truth.score(frame, self.poses)
        return True

    def _locate(self, frame: Frame, may_wait: bool) -> tuple[str, str] | None:
        """Find camera and pose. Kind of problem and detail, both empty if there is none; None: to be tried again."""
        if CAMERA_INFO not in self._kinds and not self.poses.possible:
            return "", ""  # nobody expects a grid of a folder of images
        infos = self._infos.get(frame.camera)
        try:
            camera = infos.camera(frame.stamp_ns, *frame.size) if infos else None
        except CameraError as error:
            return BAD_CAMERA_INFO, str(error)
        if camera is None:
            return None if may_wait and CAMERA_INFO in self._kinds else (NO_CAMERA_INFO, "")
        frame.view = self._view(camera)
        if ZERO_STAMP in frame.problems:
            return ZERO_STAMP, frame.problems[ZERO_STAMP]
        if not self.poses.possible:
            return NO_POSE, f"the recording lacks what {self.poses.name} needs"
        robot_camera = self._robot.camera(frame.camera)
        try:
            frame.pose = self.poses.at(
                frame.stamp_ns, frame.frame_id, robot_camera.base_from_optical if robot_camera else None
            )
        except NotYetError as error:
            return None if may_wait else (NO_POSE, str(error))
        except TransformError as error:
            return NO_POSE, str(error)
        return "", ""

    def _fuse(self, frame: Frame) -> None:
        assert frame.segmentation and frame.view and frame.pose
        mask, confidence = frame.segmentation.mask, frame.segmentation.confidence
        camera = self._robot.camera(frame.camera)
        stamp_s = frame.stamp_ns / 1e9
        try:
            if camera and camera.ego_mask:
                mask, confidence = camera.ego_mask.hide(mask, confidence, frame.view)
            self._mapper.update(
                mask,
                confidence,
                frame.view,
                frame.pose.world_from_optical,
                frame.pose.world_from_base,
                stamp_s,
                frame.camera,
            )
        except ImageError as error:
            frame.problems[BAD_EGO_MASK] = str(error)
            return
        except SegPerceptionError as error:
            frame.problems[NO_POSE] = str(error)
            return
        if self._jumps != self._mapper.jumps:
            self._jumps = self._mapper.jumps
            self._truth.start_anew()
        frame.grid, frame.viewpoint = self._mapper.occupancy(stamp_s), self._mapper.view
        frame.gridded = True

    def _time_went_back(self, frame: Frame) -> bool:
        if frame.segmentation is None or ZERO_STAMP in frame.problems:
            return False
        back = self._newest_ns is not None and frame.stamp_ns < self._newest_ns - JUMP_NS
        self._newest_ns = frame.stamp_ns if back or self._newest_ns is None else max(self._newest_ns, frame.stamp_ns)
        return back

    def _start_anew(self, stamp_ns: int) -> None:
        """As the grid_mapper does when a bag is played again."""
        self.poses.time_went_back(stamp_ns)
        self._mapper.reset()
        self._truth.start_anew()
