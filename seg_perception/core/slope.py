"""The slope of the ground that a robot stands on, from where it has driven and how it is tilted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from seg_perception.core.pose import Transform

_STEP = 0.05  # m: shorter ways tell nothing, as positions are known to a centimetre or two
_WAY = 3.0  # m over which the slope of the track is averaged
_TIME = 20.0  # s over which the tilt of the body is: it brakes, turns and rocks for seconds
_BEFORE = 3.0  # s for which the ground counts as known before the first pose, as that takes it to be
_STANDING = 0.5  # s without a step, after which the body rocks no more
_SETTLING = 0.3  # s over which its tilt is averaged then
_STEEPEST = 0.4  # steeper steps are corrections of the odometry
_STEEP = 0.04  # rad: no vehicle pitches or rolls by more of itself for long
_SWAYS = 0.015  # rad: by so much it does all the time


class GroundSlope:
    """Gradient dz/dx, dz/dy in the world of the plane through base_link's origin that the robot stands on.

    A complementary filter: the track shows at once how the ground rises along it, whatever the body does, but its
    height drifts; the body, level on level ground, is tilted as the ground is only while it stands, or in the mean, but
    does not drift. Where odometry is planar both say that the ground is level.
    """

    def __init__(self) -> None:
        self._track, self._bias = np.zeros(2), np.zeros(2)
        self._stamp_s: float | None = None
        self.doubt = 0.0
        """rad by which the gradient of the last pose may be off, beyond what vehicles sway: the body is tilted so."""

    def update(self, world_from_base: Transform, stamp_s: float) -> NDArray[np.float64]:
        """The gradient, (2,), after one more pose; that of an older stamp tells nothing new."""
        up, position = world_from_base[:3, 2], world_from_base[:3, 3]
        body = -up[:2] / max(float(up[2]), 0.1)
        if self._stamp_s is None:
            self._position, self._begun, self._stepped = position, stamp_s, stamp_s
            self._track = self._body = body if np.hypot(*body) > _STEEP else np.zeros(2)
        elif stamp_s > self._stamp_s:
            if self._follow(position, body):
                self._stepped = stamp_s
            memory = min(_BEFORE + stamp_s - self._begun, _TIME)
            if stamp_s - self._stepped >= _STANDING:
                memory, self._body = _SETTLING, body
            share = min((stamp_s - self._stamp_s) / memory, 1.0)
            self._bias = self._bias + share * (self._body - self._track - self._bias)
        self._stamp_s = stamp_s if self._stamp_s is None else max(stamp_s, self._stamp_s)
        gradient = self._track + self._bias
        self.doubt = max(0.0, float(np.hypot(*(body - gradient))) - _SWAYS)
        return gradient

    def _follow(self, position: NDArray[np.float64], body: NDArray[np.float64]) -> bool:
        """Whether it has moved by a step. Track and body are averaged alike, so that a ramp moves both at once."""
        step = position - self._position
        way = float(np.hypot(*step[:2]))
        if way < _STEP:
            return False
        self._position = position
        if abs(step[2]) > _STEEPEST * way:
            return True
        share = 1.0 - np.exp(-way / _WAY)
        self._body = self._body + share * (body - self._body)
        along = step[:2] / way
        # Across, only the body tells: without it, the slope of a helix would stay where the track has turned away.
        seen = self._body + (step[2] / way - self._body @ along) * along
        self._track = self._track + share * (seen - self._track)
        return True


def levelled(transform: Transform, gradient: NDArray[np.float64], origin: NDArray[np.float64]) -> Transform:
    """A pose in the world, turned about `origin` (3,) with the ground so that the ground becomes horizontal."""
    steepness = float(np.hypot(*gradient))
    if steepness == 0.0:
        return transform
    axis = np.array([-gradient[1], gradient[0], 0.0]) / steepness
    turn = Rotation.from_rotvec(np.arctan(steepness) * axis).as_matrix()
    result = np.eye(4)
    result[:3, :3] = turn @ transform[:3, :3]
    result[:3, 3] = origin + turn @ (transform[:3, 3] - origin)
    return result
