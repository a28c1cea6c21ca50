"""The forms in which data sets and annotation tools write label pictures: which file is whose, what a pixel means."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.stems import by_stem

_PNG = ".[pP][nN][gG]"
_Channel = TypeVar("_Channel", int, NDArray[np.int32])


@dataclass(frozen=True)
class Label:
    """What one pixel value means in the source.

    code: the value of a one-channel pixel, or `colour_code` of its colour. id: None where the source has no ids. void:
    the source itself means unlabelled.
    """

    code: int
    id: int | None
    name: str
    void: bool = False

    def __str__(self) -> str:
        return (
            f"label {self.name}" if self.id is None or self.name == str(self.id) else f"label {self.id} ({self.name})"
        )


@dataclass(frozen=True)
class LabelSource:
    """Label files by the stem of their image, and what their pixels mean.

    labels: (stem, whether the picture has colours) → its labels; none where this form has no such pictures. known: all
    labels of the source.
    """

    files: Mapping[str, Path]
    labels: Callable[[str, bool], Sequence[Label]]
    known: Sequence[Label]


def colour_code(red: _Channel, green: _Channel, blue: _Channel) -> _Channel:
    """R + 256 G + 65536 B, COCO's code of a segment id."""
    return red + 256 * green + 65536 * blue


def colour_name(code: int) -> str:
    """Inverse of `colour_code`, as #rrggbb."""
    return f"colour #{code & 255:02x}{code >> 8 & 255:02x}{code >> 16:02x}"


def _ids(path: Path, table: ClassTable, _: Sequence[str]) -> LabelSource:
    names = {c.id: c.name for c in table.classes}
    labels = _grey_labels(names, void=(UNLABELLED,))
    return LabelSource(_found(path.glob(f"*{_PNG}"), path, "<image>.png"), _only_grey(labels), labels)


def _colour(path: Path, table: ClassTable, remapped: Sequence[str]) -> LabelSource:
    labels = [Label(colour_code(*c.color), c.id, c.name) for c in table.classes]
    codes = {label.code: label.name for label in labels}
    if len(codes) < len(labels):
        twice = next(label for label in labels if codes[label.code] != label.name)
        raise DataError(f"labels {path}: {twice.name} and {codes[twice.code]} have one colour; give each class its own")
    for key in remapped:
        if re.fullmatch(r"#[0-9a-fA-F]{6}", key):
            red, green, blue = bytes.fromhex(key[1:])
            labels = [label for label in labels if label.code != colour_code(red, green, blue)]
            labels.append(Label(colour_code(red, green, blue), None, key))
    if all(label.code for label in labels):
        labels.append(Label(0, UNLABELLED, "unlabelled", void=True))
    return LabelSource(_found(path.glob(f"*{_PNG}"), path, "<image>.png"), _only_colour(labels), labels)


_CAMVID = "sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist, unlabelled"


def _camvid(path: Path, _: ClassTable, __: Sequence[str]) -> LabelSource:
    labels = _grey_labels(dict(enumerate(_CAMVID.split(", "))), void=(11, UNLABELLED))
    return LabelSource(_found(path.glob(f"*{_PNG}"), path, "<image>.png"), _only_grey(labels), labels)


# github.com/mcordts/cityscapesScripts, helpers/labels.py; the void ones are those with ignoreInEval.
_CITYSCAPES = (
    "unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, road, sidewalk, parking, "
    "rail track, building, wall, fence, guard rail, bridge, tunnel, pole, polegroup, traffic light, traffic sign, "
    "vegetation, terrain, sky, person, rider, car, truck, bus, caravan, trailer, train, motorcycle, bicycle"
)
_CITYSCAPES_VOID = (*range(7), 9, 10, 14, 15, 16, 18, 29, 30, UNLABELLED)


def _cityscapes(path: Path, _: ClassTable, __: Sequence[str]) -> LabelSource:
    suffix = "_gtFine_labelIds"
    files = _found(path.rglob(f"*{suffix}{_PNG}"), path, f"*{suffix}.png")
    images = {f"{stem.removesuffix(suffix)}_leftImg8bit": file for stem, file in files.items()}
    labels = _grey_labels(dict(enumerate(_CITYSCAPES.split(", "))), void=_CITYSCAPES_VOID)
    return LabelSource(images, _only_grey(labels), labels)


_VOC = (
    "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, "
    "motorbike, person, pottedplant, sheep, sofa, train, tvmonitor"
)


def _voc(path: Path, _: ClassTable, __: Sequence[str]) -> LabelSource:
    folder = path / "SegmentationClass" if (path / "SegmentationClass").is_dir() else path
    grey = _grey_labels(dict(enumerate(_VOC.split(", "))), void=(0, UNLABELLED))
    colours = [Label(_voc_colour(label.code), label.id, label.name, label.void) for label in grey]
    files = _found(folder.glob(f"*{_PNG}"), folder, "<image>.png")
    return LabelSource(files, lambda _, coloured: colours if coloured else grey, grey)


def _voc_colour(index: int) -> int:
    """Code of a palette entry in the VOC development kit: index bits 0, 3, 6 are the top bits of red, and so on."""
    red, green, blue = (
        sum((index >> 3 * place + channel & 1) << 7 - place for place in range(3)) for channel in range(3)
    )
    return colour_code(red, green, blue)


def _cvat(path: Path, _: ClassTable, __: Sequence[str]) -> LabelSource:
    folder = path / "SegmentationClass"
    files = _found(folder.rglob(f"*{_PNG}"), path, "labelmap.txt and SegmentationClass/<image>.png")
    labels = _labelmap(path / "labelmap.txt")
    return LabelSource(files, _only_colour(labels), labels)


def _labelmap(path: Path) -> list[Label]:
    """Lines `name:red,green,blue:parts:actions`."""
    labels = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(.+?):(\d+),(\d+),(\d+)(:.*)?", line.strip())
        if match is None:
            raise DataError(
                f"{path}:{number}: {line.strip()!r} is not name:red,green,blue:parts:actions; export it again"
            )
        red, green, blue = map(int, match.group(2, 3, 4))
        labels.append(Label(colour_code(red, green, blue), None, match[1], void=match[1] == "background"))
    return labels


def _coco_panoptic(path: Path, _: ClassTable, __: Sequence[str]) -> LabelSource:
    file, document = _panoptic_json(path)
    try:
        names = {int(c["id"]): str(c["name"]) for c in document["categories"]}
        images = {image["id"]: Path(image["file_name"]).stem for image in document.get("images", ())}
        annotations = {images.get(a.get("image_id"), Path(a["file_name"]).stem): a for a in document["annotations"]}
        segments = {
            stem: [(int(s["id"]), int(s["category_id"])) for s in a["segments_info"]] for stem, a in annotations.items()
        }
        folders = (path, path / file.stem)
        paths = {stem: [folder / a["file_name"] for folder in folders] for stem, a in annotations.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: is not COCO's panoptic form (wrong at {error!r}); export it again") from error
    files = {stem: next(filter(Path.is_file, choice), None) for stem, choice in paths.items()}
    void = Label(0, None, "unlabelled", void=True)

    def labels(stem: str, coloured: bool) -> list[Label]:
        return [void, *(Label(code, c, names.get(c, str(c))) for code, c in segments[stem])] if coloured else []

    known = [void, *(Label(0, category, name) for category, name in names.items())]
    found = {stem: file for stem, file in files.items() if file is not None}
    if not found:
        raise DataError(f"labels {path}: none of the {len(files)} PNGs of {file.name} is there; put them together")
    return LabelSource(found, labels, known)


def _panoptic_json(path: Path) -> tuple[Path, dict[str, Any]]:
    candidates = sorted(path.glob("*.json")) or [path.parent / f"{path.name}.json"]
    if len(candidates) > 1:
        shown = ", ".join(file.name for file in candidates)
        raise DataError(f"labels {path}: has more than one JSON ({shown}); leave the panoptic one")
    try:
        return candidates[0], json.loads(_text(candidates[0]))
    except json.JSONDecodeError as error:
        raise DataError(f"{candidates[0]}: is not JSON ({error}); export it again") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); this form of labels needs it") from error


def _found(files: Iterable[Path], path: Path, expected: str) -> dict[str, Path]:
    labels = by_stem(files)
    if not labels:
        raise DataError(f"labels {path}: no label in it; this form expects {expected}")
    return labels


def _grey_labels(names: Mapping[int, str], void: Sequence[int]) -> list[Label]:
    return [Label(value, value, names.get(value, str(value)), value in void) for value in range(256)]


def _only_grey(labels: Sequence[Label]) -> Callable[[str, bool], Sequence[Label]]:
    return lambda _, coloured: () if coloured else labels


def _only_colour(labels: Sequence[Label]) -> Callable[[str, bool], Sequence[Label]]:
    return lambda _, coloured: labels if coloured else ()


FORMS: Mapping[str, Callable[[Path, ClassTable, Sequence[str]], LabelSource]] = {
    "ids": _ids,
    "colour": _colour,
    "camvid": _camvid,
    "cityscapes": _cityscapes,
    "cvat": _cvat,
    "coco_panoptic": _coco_panoptic,
    "voc": _voc,
}
"""Name of a form → (folder, target table, names in the remap) → what is in the folder. Raises DataError."""
