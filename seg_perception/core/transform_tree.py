"""A tree of coordinate frames that move over time: what tf2 does, for whoever reads recorded transforms without ROS."""

from __future__ import annotations

from typing import Any

import numpy as np

from seg_perception.core import pose
from seg_perception.core.errors import TransformError
from seg_perception.core.messages import checked_pose, stamp_to_ns
from seg_perception.core.pose import Transform
from seg_perception.core.poses import CameraPose, PoseBuffer, PoseNotYetError

_HISTORY_NS = 10_000_000_000
_ANY_GAP_NS = 2**62  # as in tf2: however far apart, two transforms are interpolated between


class TransformTree:
    """Frames by name, each placed in its parent: for ever, or at a series of stamps, interpolated between.

    A leading slash of a name does not count.
    """

    def __init__(self) -> None:
        self._static: dict[str, tuple[str, Transform]] = {}
        self._moving: dict[str, tuple[str, PoseBuffer]] = {}

    def add(self, message: Any, *, static: bool) -> None:
        """Note the transforms of a tf2_msgs/TFMessage (or tf/tfMessage). Raises TransformError for what is no pose."""
        for stamped in message.transforms:
            parent, child = stamped.header.frame_id.lstrip("/"), stamped.child_frame_id.lstrip("/")
            t, q = stamped.transform.translation, stamped.transform.rotation
            placed = checked_pose(f"TF {parent} → {child}", (t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
            if static:
                self._static[child] = parent, placed
            else:
                self._add_moving(parent, child, stamp_to_ns(stamped.header.stamp), placed)

    def connects(self, target: str, source: str) -> bool:
        """Whether both frames hang in one tree, at whatever time."""
        return bool(set(self._ancestors(target)) & set(self._ancestors(source)))

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """target_from_source at a stamp, (4, 4).

        Raises PoseNotYetError where it may still become known, TransformError where it is forgotten already.
        """
        to_target, to_source = self._ancestors(target), self._ancestors(source)
        common = next((frame for frame in to_source if frame in to_target), None)
        if common is None:
            raise PoseNotYetError(f"TF: {target!r} and {source!r} are not in one tree")
        common_from_target = self._climb(to_target[: to_target.index(common)], stamp_ns)
        common_from_source = self._climb(to_source[: to_source.index(common)], stamp_ns)
        return pose.inverse(common_from_target) @ common_from_source

    def forget_after(self, stamp_ns: int) -> None:
        """Forget the transforms newer than a stamp; static ones stay."""
        for _, buffer in self._moving.values():
            buffer.forget_after(stamp_ns)

    def _add_moving(self, parent: str, child: str, stamp_ns: int, placed: Transform) -> None:
        known = self._moving.get(child)
        if known is None or known[0] != parent:
            known = self._moving[child] = parent, PoseBuffer(_HISTORY_NS, _ANY_GAP_NS, f"transform {parent} → {child}")
        known[1].add(stamp_ns, placed)

    def _parent(self, frame: str) -> str | None:
        placed = self._static.get(frame) or self._moving.get(frame)
        return placed[0] if placed else None

    def _ancestors(self, frame: str) -> list[str]:
        """The frame itself, its parent, and so on up to the root."""
        chain: list[str] = []
        step: str | None = frame.lstrip("/")
        while step is not None and step not in chain:
            chain.append(step)
            step = self._parent(step)
        return chain

    def _climb(self, frames: list[str], stamp_ns: int) -> Transform:
        """From the first frame to the parent of the last one."""
        result: Transform = np.eye(4)
        for frame in frames:
            static = self._static.get(frame)
            result = (static[1] if static else self._moving[frame][1].at(stamp_ns)) @ result
        return result


class RecordedTfPoses:
    """Poses from a TransformTree. Satisfies TreePoses."""

    name = "TF"

    def __init__(self, tree: TransformTree, world_frame: str, base_frame: str) -> None:
        self._tree = tree
        self._world_frame = world_frame
        self._base_frame = base_frame

    def connects(self, optical_frame: str) -> bool:
        return bool(optical_frame) and self._tree.connects(self._world_frame, optical_frame)

    def mount(self, stamp_ns: int, optical_frame: str) -> Transform | None:
        if not optical_frame or not self._tree.connects(self._base_frame, optical_frame):
            return None
        return self._tree.lookup(self._base_frame, optical_frame, stamp_ns)

    def camera_pose(self, stamp_ns: int, optical_frame: str, mount: Transform | None) -> CameraPose:
        if not optical_frame:
            raise TransformError("the mask has no frame_id; make the camera driver set its optical frame")
        world_from_optical = self._tree.lookup(self._world_frame, optical_frame, stamp_ns)
        return CameraPose(world_from_optical, self._tree.lookup(self._world_frame, self._base_frame, stamp_ns))

    def time_went_back(self, stamp_ns: int) -> None:
        self._tree.forget_after(stamp_ns)
