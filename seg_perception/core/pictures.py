"""Encoded pictures → pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import DataError

AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
"""How images are decoded, to BGR and not rotated by EXIF: calibrations and labels belong to the pixels as stored."""


def decoded(data: bytes | memoryview, flags: int = AS_STORED) -> NDArray[Any] | None:
    """An encoded picture → (H, W, 3) uint8 BGR, or what OpenCV's other flags ask for.

    None for what is none, or too large to be decoded.
    """
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if len(data) else None
    except cv2.error:  # more pixels than OpenCV takes
        return None


def read_picture(path: Path, flags: int = AS_STORED) -> NDArray[Any] | None:
    """As `decoded`, of a file; None also where it cannot be read."""
    try:
        return decoded(path.read_bytes(), flags)
    except OSError:
        return None


def require_picture(path: Path, flags: int = AS_STORED) -> NDArray[Any]:
    """As `read_picture`. Raises DataError where there is none."""
    picture = read_picture(path, flags)
    if picture is None:
        raise DataError(f"{path}: cannot be decoded; remove it or replace it")
    return picture
