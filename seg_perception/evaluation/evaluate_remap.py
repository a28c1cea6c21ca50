"""A table from the labels of a data set to the classes of a model."""

from __future__ import annotations

from pathlib import Path

import yaml

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.errors import DataError

UNLABELLED_NAME = "unlabelled"


def load_remap(path: Path, table: ClassTable) -> tuple[tuple[int | str, int], ...]:
    """Lines `label: class` of a YAML file: id or name of a label → id or name of a class, 255 or "unlabelled".

    Returns pairs of label and id. Raises DataError for a class that the table lacks.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict) or not document:
        raise DataError(f"{path}: has no table; write lines like: 11: unlabelled")
    known: dict[object, int] = {UNLABELLED_NAME: UNLABELLED, UNLABELLED: UNLABELLED}
    for entry in table.classes:
        known |= {entry.name: entry.id, entry.id: entry.id}
    for label, target in document.items():
        if not isinstance(target, (int, str)) or target not in known:
            names = ", ".join(entry.name for entry in table.classes)
            raise DataError(f"{path}: {label}: {target!r} is no class of the model; use {names} or {UNLABELLED_NAME}")
    return tuple((label if isinstance(label, int) else str(label), known[target]) for label, target in document.items())
