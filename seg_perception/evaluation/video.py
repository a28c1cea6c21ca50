"""Writing H.264 video."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], rate_hz: float) -> None:
    """(H, W, 3) uint8 BGR frames of one size → mp4. Odd sizes lose their last row or column."""
    first = True
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate_hz).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "21", "preset": "veryfast"}
        for frame in frames:
            even = np.ascontiguousarray(frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2])
            if first:
                stream.height, stream.width = even.shape[:2]
                first = False
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="bgr24")))
        if not first:
            container.mux(stream.encode())
