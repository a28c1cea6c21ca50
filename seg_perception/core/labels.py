"""A folder of label pictures, read as masks of one class table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.label_forms import FORMS, Label, LabelSource, colour_code, colour_name
from seg_perception.core.pictures import decoded
from seg_perception.core.yaml_file import load_yaml

UNLABELLED_NAME = "unlabelled"
"""Stands for 255 in a remap's file."""

_PNG, _PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # signature, and where the header has the bits of a sample
_SHOWN = 5  # wrong labels that an error lists


class LabelFolder:
    """Labels of images on disk, one file per image, as masks of a class table.

    form: what is in `path`, one of `label_forms.FORMS`.

    - ids: `<image stem>.png`, one channel of ids.
    - colour: `<image stem>.png` in the RGB colours of `table`; black is unlabelled unless a class is black. The remap
      may give colours that the table lacks as "#rrggbb".
    - camvid: `<image stem>.png`, one channel of ids of CamVid's eleven classes, as the simulator has them.
    - cityscapes: `*_gtFine_labelIds.png`, in folders of cities or not, for images `*_leftImg8bit`.
    - cvat: CVAT's export "Segmentation mask": `labelmap.txt` and `SegmentationClass/`.
    - coco_panoptic: PNGs of RGB-coded segment ids, with their JSON in the folder, or beside it under the folder's name.
    - voc: Pascal VOC's palette PNGs (or one channel of its ids), in `SegmentationClass/` or in `path` itself.

    remap: id or, if that is not listed, name of a label in the source → id of `table`, or 255. Labels that it does not
    list go to the class of the same name; ids and colours, which come without names, are those of `table`. What the
    source itself means as unlabelled (255, background, what Cityscapes leaves out of its scores) is 255 by default.

    Raises DataError: nothing to read in `path`, or a remap that names what does not exist.
    """

    def __init__(self, path: Path, form: str, table: ClassTable, remap: Mapping[int | str, int] | None = None) -> None:
        if form not in FORMS:
            raise DataError(f"labels {path}: unknown form {form!r}; choose one of {', '.join(FORMS)}")
        if not path.is_dir():
            raise DataError(f"labels {path}: no such folder; name the folder of the labels")
        self._remap = dict(remap or {})
        self._classes = {c.name: c.id for c in table.classes}
        self._source = FORMS[form](path, table, [str(key) for key in self._remap])
        _check_remap(path, self._remap, self._source, set(self._classes.values()))

    def stems(self) -> list[str]:
        """Stems of the images that have a label, sorted."""
        return sorted(self._source.files)

    def read(self, stem: str) -> NDArray[np.uint8] | None:
        """(H, W) uint8 ids of the class table, 255 where unlabelled; None when this image has no label.

        Raises DataError: the file cannot be decoded, or has a label that neither the table nor the remap knows.
        """
        path = self._source.files.get(stem)
        if path is None:
            return None
        picture = _stored(path)
        if picture is None:
            raise DataError(f"{path}: cannot be decoded; replace it, or remove it with its image")
        labels = self._source.labels(stem, picture.ndim == 3)
        if not labels:
            has, needs = ("colours", "one channel of ids") if picture.ndim == 3 else ("one channel", "colours")
            raise DataError(f"{path}: has {has}, this form of labels needs {needs}; choose another form")
        return self._translate(path, picture, labels)

    def _translate(self, path: Path, picture: NDArray[Any], labels: Sequence[Label]) -> NDArray[np.uint8]:
        labels = sorted(labels, key=lambda label: label.code)
        codes = _pixel_codes(picture)
        keys = np.array([label.code for label in labels], np.int32)
        targets = np.array([self._target(label) for label in labels], np.int16)
        position = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
        mask = np.where(keys[position] == codes, targets[position], -1)
        if mask.min(initial=0) < 0:
            known = {label.code: str(label) for label in labels}
            unknown = colour_name if picture.ndim == 3 else "label {}".format
            wrong = [known.get(code) or unknown(code) for code in np.unique(codes[mask < 0]).tolist()]
            more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise DataError(
                f"{path}: {', '.join(wrong[:_SHOWN])}{more} is not in the class table; "
                "remap it to a class, or to 255 for unlabelled"
            )
        return mask.astype(np.uint8)

    def _target(self, label: Label) -> int:
        """Id in the class table or 255; -1 where there is none."""
        for key in (label.id, label.name):
            if key in self._remap:
                return self._remap[key]
        return self._classes.get(label.name, UNLABELLED if label.void else -1)


def load_remap(path: Path, table: ClassTable) -> dict[int | str, int]:
    """Lines `label: class` of a YAML file: id or name of a label → id or name of a class, or 255 or "unlabelled".

    Raises DataError: not such a file, or a class that the table lacks.
    """
    try:
        document = load_yaml(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(document, dict) or not all(type(label) in (int, str) for label in document):
        raise DataError(f"{path}: is no remap of labels; write lines like 11: {UNLABELLED_NAME}, or sidewalk: pavement")
    targets: dict[int | str, int] = {UNLABELLED_NAME: UNLABELLED, UNLABELLED: UNLABELLED}
    for entry in table.classes:
        targets |= {entry.name: entry.id, entry.id: entry.id}
    for label, target in document.items():
        if type(target) not in (int, str) or target not in targets:
            names = ", ".join(entry.name for entry in table.classes)
            raise DataError(f"{path}: {label}: {target!r} is no class; use one of {names}, or {UNLABELLED_NAME}")
    return {label: targets[target] for label, target in document.items()}


def _stored(path: Path) -> NDArray[Any] | None:
    """The values as stored; OpenCV stretches grey of 1, 2 and 4 bits to 0..255. None for what is no picture."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    picture = decoded(content, cv2.IMREAD_UNCHANGED)
    depth = content[_PNG_DEPTH] if content.startswith(_PNG) else 8
    if picture is None or picture.ndim == 3 or depth >= 8:
        return picture
    return np.asarray(picture // (255 // (2**depth - 1)), np.uint8)


def _pixel_codes(picture: NDArray[Any]) -> NDArray[np.int32]:
    """(H, W) int32: the value of one channel, or the code of the colour in (H, W, 3 or 4) BGR(A)."""
    if picture.ndim == 2:
        return picture.astype(np.int32)
    blue, green, red = (picture[..., channel].astype(np.int32) for channel in range(3))
    return colour_code(red, green, blue)


def _check_remap(path: Path, remap: Mapping[int | str, int], source: LabelSource, classes: set[int]) -> None:
    keys = {label.id for label in source.known} | {label.name for label in source.known}
    for key, target in remap.items():
        if target not in classes | {UNLABELLED}:
            ids = ", ".join(map(str, sorted(classes)))
            raise DataError(f"labels {path}: remap {key}: {target} leads to no class; use one of {ids}, or 255")
        if key not in keys:
            names = ", ".join(dict.fromkeys(label.name for label in source.known if label.name != str(label.id)))
            raise DataError(f"labels {path}: remap names {key!r}, which these labels do not have; they have {names}")
