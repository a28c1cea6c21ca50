"""A drive along a simulated street: images with exact labels, depth, poses and true occupancy of the ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.grid import GridSpec
from seg_perception.simulation.look import Look
from seg_perception.simulation.renderer import Renderer
from seg_perception.simulation.scene import Scene
from seg_perception.simulation.truth import GridTruth, Sight, grid_truth
from seg_perception.simulation.view import View
from seg_perception.simulation.world import World

_FRAMES_PER_STREET = 20
_FRAMES_PER_CAMERA = 5
_STREET_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class SimFrame:
    """What the vehicle's sensors, and an omniscient observer, say at one moment.

    image: (H, W, 3) uint8 BGR. labels: (H, W) uint8 CamVid ids, 255 where none of them fits (grass).
    depth: (H, W) float32 m along the optical axis, inf where there is sky. Poses: (4, 4); both contain the rocking.
    speed: m/s along base_link's x. yaw_rate: rad/s.
    """

    index: int
    stamp_s: float
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    world_from_base: pose.Transform
    world_from_optical: pose.Transform
    speed: float
    yaw_rate: float


class Drive:
    """Drive through the street number `seed`; the same arguments give the same frames, asked for in any order.

    camera: its intrinsics. mount: x, y, z (m), roll, pitch, yaw (rad) of the camera's body frame in base_link.
    """

    def __init__(
        self, seed: int, width: int = 640, height: int = 360, rate_hz: float = 10.0, frames: int = 100
    ) -> None:
        self.seed, self.rate_hz, self.frames = seed, rate_hz, frames
        self._world = World(seed, duration=frames / rate_hz)
        self._scene = Scene(self._world)
        self._renderer = Renderer(self._scene)
        rng = np.random.default_rng([seed, 2])
        self._look = Look.draw(rng)
        self.mount = (1.5, 0.0, float(rng.uniform(1.4, 1.5)), 0.0, float(np.radians(rng.uniform(3.0, 5.0))), 0.0)
        self.camera = _camera(width, height, float(rng.uniform(70, 80)), (-0.11, 0.02, 0.0004, -0.0003, 0.0))
        self.base_from_optical = pose.base_from_optical(self.mount[:3], *self.mount[3:])
        self._view = View.of(self.camera)
        self._rocking = _Rocking(rng)

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[SimFrame]:
        return (self.frame(index) for index in range(self.frames))

    def frame(self, index: int) -> SimFrame:
        """Frame number `index`, rendered now. Raises IndexError outside 0 .. frames - 1."""
        if not 0 <= index < self.frames:
            raise IndexError(f"frame {index} of a drive of {self.frames} frames")
        t = index / self.rate_hz
        world_from_base = self._pose(t)
        world_from_optical = world_from_base @ self.base_from_optical
        rng = np.random.default_rng([self.seed, 3, index])
        shot = self._renderer.render(self._view, world_from_optical, t, self._look, rng)
        speed, yaw_rate = self._motion(t)
        return SimFrame(
            index, t, shot.image, shot.labels, shot.depth, world_from_base, world_from_optical, speed, yaw_rate
        )

    def truth(self, frame: SimFrame, spec: GridSpec, max_range: float = 25.0) -> GridTruth:
        """True state of the ground around a frame; see `GridTruth` for what its arrays mean."""
        sight = Sight(self._view, frame.world_from_optical, frame.stamp_s, frame.labels, frame.depth)
        return grid_truth(self._scene, sight, spec, max_range)

    def _planar(self, t: float) -> tuple[float, float, float]:
        return self._world.place(self._world.ego(t))

    def _pose(self, t: float) -> pose.Transform:
        x, y, heading = self._planar(t)
        return pose.from_rpy((x, y, 0.0), *self._rocking(t), heading)

    def _motion(self, t: float) -> tuple[float, float]:
        step = 0.05
        (x0, y0, a), (x1, y1, b) = self._planar(t - step), self._planar(t + step)
        return float(np.hypot(x1 - x0, y1 - y0) / (2 * step)), (b - a) / (2 * step)


def training_frame(seed: int, width: int = 480, height: int = 360) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A random view of a random street: image (H, W, 3) uint8 BGR, labels (H, W) uint8.

    Everything depends on the seed alone. Consecutive seeds share streets and lenses: in order they are cheaper.
    """
    world, renderer = _training_street(seed // _FRAMES_PER_STREET)
    view = _training_view(seed // _FRAMES_PER_CAMERA, width, height)
    rng = np.random.default_rng([seed, 4])
    look = Look.draw(rng)
    t = float(rng.uniform(0, _STREET_SECONDS))
    s, n, turn = world.ego(t)
    x, y, heading = world.place((s, n + rng.normal(0, 0.35), turn))
    mount = (rng.uniform(0.0, 1.8), 0.0, rng.uniform(0.9, 2.0))
    angles = (np.radians(rng.normal(0, 1.2)), np.radians(rng.uniform(-1, 9)), np.radians(rng.normal(0, 7.0)))
    world_from_optical = pose.from_rpy((x, y, 0.0), 0.0, 0.0, heading) @ pose.base_from_optical(mount, *angles)
    shot = renderer.render(view, world_from_optical, t, look, rng)
    return shot.image, shot.labels


@lru_cache(maxsize=2)
def _training_street(number: int) -> tuple[World, Renderer]:
    world = World(1_000_000 + number, _STREET_SECONDS)
    return world, Renderer(Scene(world))


@lru_cache(maxsize=2)
def _training_view(number: int, width: int, height: int) -> View:
    rng = np.random.default_rng([number, 5])
    while True:
        k1 = rng.uniform(-0.25, 0.02)
        view = View.of(_camera(width, height, float(rng.uniform(50, 90)), (k1, -0.1 * k1, 0.0, 0.0, 0.0)))
        if np.isfinite(view.rays).all():  # else too strong for so wide a field: it would leave the corners dark
            return view


def _camera(width: int, height: int, fov_deg: float, distortion: tuple[float, ...]) -> Camera:
    focal = 0.5 * width / np.tan(np.radians(fov_deg) / 2)
    matrix = np.array(
        [[focal, 0.0, width / 2 - 0.5 + 0.006 * width], [0.0, focal, height / 2 - 0.5 - 0.004 * height], [0, 0, 1]]
    )
    return Camera(width, height, matrix, "plumb_bob", np.array(distortion))


class _Rocking:
    """Roll and pitch (rad) of the body over time: sums of sines, about ±0.7° together."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rate = rng.uniform(1.0, 9.0, (2, 4))
        self._phase = rng.uniform(0, 2 * np.pi, (2, 4))
        self._size = np.radians(rng.uniform(0.05, 0.3, (2, 4)))

    def __call__(self, t: float) -> tuple[float, float]:
        roll, pitch = (self._size * np.sin(self._rate * t + self._phase)).sum(axis=1)
        return float(roll), float(pitch)
