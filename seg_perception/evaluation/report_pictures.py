"""The pictures of a report: those that an evaluation kept, small enough for a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from seg_perception.core.errors import DataError
from seg_perception.core.pictures import read_picture
from seg_perception.evaluation.page import number
from seg_perception.evaluation.result_files import PICTURES_FILE

_WIDTH = 720  # pixels: sharp across a phone, and in a third of a page
_QUALITY = 80
_TITLES = {
    "lowest_miou": ("Worst frames: lowest mIoU", "mIoU"),
    "most_false_free": ("Worst frames: most obstacle cells called free", "false free"),
    "snapshot": ("Snapshots", "mIoU"),
}
"""Kind → heading, name of the value."""
_LEGENDS = {
    "difference": "Difference: green where the mask is right, red where it is wrong, grey where there is no label.",
    "grid": "Grid, from above, the nose of the robot up: green free, yellow unsure, red occupied, grey unknown; "
    "to the right of it the truth, where it is known.",
}


@dataclass(frozen=True)
class View:
    """One way to look at a frame. data: a JPEG in base64, empty where `file` cannot be decoded."""

    name: str
    file: str
    data: str


@dataclass(frozen=True)
class FramePictures:
    """The views of one frame."""

    caption: str
    views: tuple[View, ...]


@dataclass(frozen=True)
class PictureGroup:
    """Frames under one heading."""

    title: str
    frames: tuple[FramePictures, ...]

    @property
    def legend(self) -> str:
        """What the colours of its views mean."""
        views = {view.name for frame in self.frames for view in frame.views}
        return " ".join(text for view, text in _LEGENDS.items() if view in views)


def picture_groups(out: Path, first_stamp_ns: int | None, names: Sequence[str]) -> list[PictureGroup]:
    """What `out`/pictures.json lists, by kind. first_stamp_ns: where the captions count the time from, if it tells one.
    names: of all frames, in their order.
    """
    path = out / PICTURES_FILE
    try:
        entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        groups: dict[str, dict[int, list[Mapping[str, Any]]]] = {kind: {} for kind in _TITLES}
        for entry in entries:
            groups[entry["kind"]].setdefault(entry["index"], []).append(entry)
        return [
            PictureGroup(
                _TITLES[kind][0], tuple(_frame(out, views, first_stamp_ns, names) for views in frames.values())
            )
            for kind, frames in groups.items()
            if frames
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error!r}); evaluate again") from error


def _frame(
    out: Path, entries: Sequence[Mapping[str, Any]], first_stamp_ns: int | None, names: Sequence[str]
) -> FramePictures:
    first = entries[0]
    name = names[first["index"]] if first["index"] < len(names) else first["index"]
    after = "" if first_stamp_ns is None else f", {(first['stamp_ns'] - first_stamp_ns) / 1e9:.1f} s"
    what = _TITLES[first["kind"]][1]
    value = f": {what} {number(first['value'])}" if what and first.get("value") is not None else ""
    views = tuple(View(str(e.get("view", "")), str(e["file"]), _jpeg(out / e["file"])) for e in entries)
    return FramePictures(f"frame {name}{after}{value}", views)


def _jpeg(path: Path) -> str:
    image = read_picture(path)
    if image is None:
        return ""
    height, width = image.shape[:2]
    if width > _WIDTH:
        image = cv2.resize(image, (_WIDTH, round(height * _WIDTH / width)), interpolation=cv2.INTER_AREA)
    return base64.b64encode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()).decode()
