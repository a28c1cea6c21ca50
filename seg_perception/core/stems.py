"""Pictures in folders; images and labels belong to each other by the names of their files without suffix."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from seg_perception.core.errors import DataError


def pictures(paths: Iterable[Path], suffixes: Collection[str]) -> list[Path]:
    """The files of these suffixes (lower case), sorted; hidden ones are no pictures, like macOS's ._name.jpg."""
    return sorted(
        path for path in paths if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
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
