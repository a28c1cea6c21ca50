"""Pictures that can be decoded, and those that cannot."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from seg_perception.core.errors import DataError
from seg_perception.core.pictures import decoded, read_picture, require_picture


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge_png() -> bytes:
    """A PNG of more pixels than OpenCV takes."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0")) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


@pytest.mark.parametrize("content", [b"", b"no picture", huge_png()], ids=["empty", "text", "huge"])
def test_what_is_no_picture_is_told(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert decoded(content) is None
    assert read_picture(path) is None
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        require_picture(path)


def test_a_missing_file_is_no_picture(tmp_path):
    assert read_picture(tmp_path / "missing.png") is None


def test_pixels_are_as_stored(tmp_path):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), picture)
    np.testing.assert_array_equal(require_picture(path), picture)
    cv2.imwrite(str(path), np.full((2, 2), 40_000, np.uint16))
    np.testing.assert_array_equal(require_picture(path, cv2.IMREAD_UNCHANGED), np.full((2, 2), 40_000))
