"""Rigid transforms as (4, 4) float64 matrices named `a_from_b`: they take points of frame b into frame a."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation, Slerp

Transform = NDArray[np.float64]

BODY_FROM_OPTICAL: Transform = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], np.float64)
"""REP-103: body x forward, y left, z up; optical x right, y down, z forward."""


def from_quaternion(translation: ArrayLike, xyzw: ArrayLike) -> Transform:
    """Translation (3,) m and quaternion (4,) in x, y, z, w order → (4, 4)."""
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_quat(xyzw).as_matrix()
    transform[:3, 3] = translation
    return transform


def from_rpy(translation: ArrayLike, roll: float, pitch: float, yaw: float) -> Transform:
    """Translation (3,) m and fixed-axis roll, pitch, yaw in rad (pitch > 0 looks down, REP-103) → (4, 4)."""
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", [roll, pitch, yaw]).as_matrix()
    transform[:3, 3] = translation
    return transform


def base_from_optical(translation: ArrayLike, roll: float, pitch: float, yaw: float) -> Transform:
    """Mount of a camera (its body frame in base_link: m, rad) → base_link from the optical frame."""
    return from_rpy(translation, roll, pitch, yaw) @ BODY_FROM_OPTICAL


def quaternion(transform: Transform) -> NDArray[np.float64]:
    """(4, 4) → (4,) quaternion in x, y, z, w order."""
    return Rotation.from_matrix(transform[:3, :3]).as_quat()


def inverse(transform: Transform) -> Transform:
    """Inverse of a rigid transform."""
    result = np.eye(4)
    result[:3, :3] = transform[:3, :3].T
    result[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return result


def interpolate(a: Transform, b: Transform, fraction: float) -> Transform:
    """Between a (0) and b (1): linear in translation, shortest arc in rotation."""
    transform = np.eye(4)
    arc = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([a[:3, :3], b[:3, :3]])))
    transform[:3, :3] = arc(fraction).as_matrix()
    transform[:3, 3] = (1.0 - fraction) * a[:3, 3] + fraction * b[:3, 3]
    return transform


def apply(transform: Transform, points: ArrayLike) -> NDArray[np.float64]:
    """(..., 3) points of frame b → frame a."""
    return np.asarray(points) @ transform[:3, :3].T + transform[:3, 3]
