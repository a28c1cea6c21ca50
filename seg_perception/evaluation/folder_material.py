"""A folder of images, played in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seg_perception.core.errors import DataError
from seg_perception.core.pictures import decoded
from seg_perception.core.stems import IMAGE_SUFFIXES, by_stem, pictures
from seg_perception.evaluation.material import EncodedImage, Frame, Mount, RawImage

_COMPRESSED = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}


class FolderMaterial:
    """JPEG and PNG files go out as they are, compressed; a folder with any other format goes out as bgr8."""

    mount: Mount | None = None
    why_no_grid = "a folder of images says neither how the camera is calibrated and mounted nor how the vehicle moved"

    def __init__(self, folder: Path) -> None:
        self._paths = pictures(folder.iterdir())
        if not self._paths:
            raise DataError(f"{folder}: no images in it; put {', '.join(IMAGE_SUFFIXES)} files there")
        self.names = [path.name for path in self._paths]
        self.compressed = all(path.suffix.lower() in _COMPRESSED for path in self._paths)

    def __iter__(self) -> Iterator[Frame]:
        return map(self._frame, self._paths)

    def stems(self) -> list[str]:
        """Names of their labels. Raises DataError where two would have the same."""
        return list(by_stem(self._paths))

    def _frame(self, path: Path) -> Frame:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}; remove it, or copy it again") from error
        if self.compressed:
            return Frame(EncodedImage(_COMPRESSED[path.suffix.lower()], data))
        image = decoded(data)
        if image is None:
            raise DataError(f"{path}: not a readable image; remove it or convert it to PNG")
        return Frame(RawImage.from_bgr(image))
