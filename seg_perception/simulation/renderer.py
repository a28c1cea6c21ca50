"""Renders a scene: labels, depth and light all come from the nearest hit of each pixel's centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.simulation.labels import Label
from seg_perception.simulation.look import Look
from seg_perception.simulation.scene import Scene
from seg_perception.simulation.shading import Shader
from seg_perception.simulation.view import View


@dataclass(frozen=True, eq=False)
class Rendering:
    """image: (H, W, 3) uint8 BGR. labels: (H, W) uint8. depth: (H, W) float32 along the optical axis, m; inf = sky."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]


class Renderer:
    """Takes pictures of a scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._shader = Shader(scene)

    def render(
        self, view: View, world_from_optical: pose.Transform, t: float, look: Look, rng: np.random.Generator
    ) -> Rendering:
        """One frame at time t (s); `rng` makes the sensor's noise."""
        hits, directions = self.scene.cast(view, world_from_optical, t)
        labels = np.full(len(directions), Label.SKY, np.uint8)
        seen = np.flatnonzero(hits.triangle >= 0)
        labels[seen] = self.scene.triangles.label[hits.triangle[seen]]
        light = self._shader.light(view, world_from_optical[:3, 3], directions, hits, seen, look, t)
        shape = (view.camera.height, view.camera.width)
        image = look.develop(light.reshape(*shape, 3), rng)
        return Rendering(image, labels.reshape(shape), hits.distance.reshape(shape))
