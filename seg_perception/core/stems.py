"""Pictures in folders; images and labels belong to each other by the names of their files without suffix."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from seg_perception.core.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")


def pictures(paths: Iterable[Path]) -> list[Path]:
    """What has one of IMAGE_SUFFIXES, in any case, sorted, but for folders and hidden files, like macOS's ._name.jpg.

    A link that leads nowhere is among them: it is missing, and not to be passed over.
    """
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Stem → file, sorted by path. Raises DataError where two files have one stem."""
    found: dict[str, Path] = {}
    for file in sorted(files):
        if file.stem in found:
            raise DataError(
                f"{file} and {found[file.stem]}: have one name, by which images and labels are matched; "
                "give each its own"
            )
        found[file.stem] = file
    return found
