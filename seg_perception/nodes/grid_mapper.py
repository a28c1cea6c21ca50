"""Node: segmentation masks and poses in; an occupancy grid of what the camera has shown of the ground out.

When masks stop, the grid is still published, ageing, until all of it is unknown, and class_grid with it; the other
clouds are not, so that their consumers notice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields

from seg_perception.core.ego_mask import EgoMask
from seg_perception.nodes.grid_camera import CameraSetup
from seg_perception.nodes.grid_camera_parameters import CameraParameters
from seg_perception.nodes.grid_mapper_parameters import GridMapperParameters
from seg_perception.nodes.grid_outputs import GridOutputs
from seg_perception.nodes.grid_session import GridSession
from seg_perception.nodes.lifecycle import PipelineNode, run
from seg_perception.ros.diagnostics import Finding
from seg_perception.ros.parameters import ParameterError, ParameterSet, dotted


class GridMapperNode(PipelineNode[GridMapperParameters]):
    """Subscribed: segmentation/mask, confidence, camera_info, classes and depth of every camera; TF, or odom.

    Published: occupancy_grid, obstacles, segmentation/points of every camera, ~/status, /diagnostics; class_grid where
    publish_classes is true.
    """

    def __init__(self) -> None:
        super().__init__("grid_mapper", GridMapperParameters)
        self._grid_outputs: GridOutputs | None = None
        self._session: GridSession | None = None
        self._ego_masks: dict[str, EgoMask | None] = {}
        self._names = self.values.camera_names()
        self._own = {name: self._declare_camera(name) for name in self._names if name}

    def engine(self) -> str:
        return self._session.engine if self._session else ""

    def accept(self, values: GridMapperParameters) -> None:
        values.mapper_config()
        if "" not in self._names:
            self._require_unchanged(values)
        if self._session:
            self._session.accept(values)
            if "" in self._names:
                self._session.accept_camera("", values)

    def configure(self) -> None:
        self.values.mapper_config()
        files = {name: self._camera_values(name).ego_mask for name in self._names}
        self._ego_masks = {name: EgoMask.load(file) if file else None for name, file in files.items()}
        self._grid_outputs = GridOutputs(self, self.values.world_frame, self._names)

    def activate(self) -> None:
        assert self._grid_outputs
        cameras = [CameraSetup(name, self._camera_values(name), self._ego_masks[name]) for name in self._names]
        self._session = GridSession(self, self.values, cameras, self._grid_outputs, self.monitor)

    def deactivate(self) -> None:
        if self._session:
            self._session.close()
        self._session = None

    def cleanup(self) -> None:
        self._grid_outputs = None
        self._ego_masks = {}

    def findings(self) -> Iterator[Finding]:
        assert self._session
        yield from super().findings()
        yield from self._session.findings()

    def _require_unchanged(self, values: CameraParameters) -> None:
        """Cameras with names have parameters of their own; raises ParameterError for a change that none would see."""
        for field in fields(CameraParameters):
            if getattr(values, field.name) != getattr(self.values, field.name):
                name = dotted(field.name)
                own = ", ".join(f"{camera}.{name}" for camera in self._names)
                raise ParameterError(f"parameter {name}: each camera has its own; set {own}")

    def _declare_camera(self, name: str) -> ParameterSet[CameraParameters]:
        return ParameterSet(
            self,
            CameraParameters,
            locked=lambda: self._configured,
            accept=lambda values: self._session.accept_camera(name, values) if self._session else None,
            prefix=f"{name}.",
            defaults=CameraParameters(max_age=self.values.max_age, use_depth=self.values.use_depth),
            within=self._parameter_set,
        )

    def _camera_values(self, name: str) -> CameraParameters:
        return self._own[name].values if name else self.values


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns the exit code."""
    return run(GridMapperNode, args)


if __name__ == "__main__":
    sys.exit(main())
