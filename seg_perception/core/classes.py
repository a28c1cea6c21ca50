"""Class tables: what each id of a mask means, how it looks, and what it costs to drive on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import ClassTableError
from seg_perception.core.yaml_file import load_yaml

UNLABELLED = 255
"""Mask id of a pixel without a label; its confidence is always 0."""

MAX_GROUND_COST = 60
"""Highest traversal cost of a ground class: below the grid's occupied threshold of 65."""


class Kind(IntEnum):
    """What a class means to a planner. The values are those of msg/SegmentationClass."""

    IGNORE = 0
    GROUND = 1
    OBSTACLE = 2
    SKY = 3


@dataclass(frozen=True)
class SegmentationClass:
    """One class: `color` is RGB, `cost` the traversal cost 0..60 of a ground class (else 100)."""

    id: int
    name: str
    color: tuple[int, int, int]
    cost: int
    kind: Kind


@dataclass(frozen=True)
class ClassTable:
    """Classes, with lookup tables over all 256 mask values."""

    classes: tuple[SegmentationClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ClassTableError("class table: no classes; list at least one")
        for entry in self.classes:
            _check(entry)
        for field in ("id", "name"):
            values = [getattr(entry, field) for entry in self.classes]
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise ClassTableError(f"class table: {field} {', '.join(twice)} used twice; make each {field} unique")

    @classmethod
    def from_dicts(cls, entries: Iterable[Mapping[str, Any]]) -> ClassTable:
        """Build from mappings with the keys id, name, color [r, g, b], cost, kind."""
        return cls(tuple(_parse(index, entry) for index, entry in enumerate(entries)))

    @classmethod
    def load(cls, path: Path | str) -> ClassTable:
        """Read `classes:` from a YAML file."""
        try:
            document = load_yaml(Path(path))
            return cls.from_dicts(document["classes"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ClassTableError(f"{path}: cannot read a list `classes:` from it ({error})") from error

    def for_network(self, source: Path | str) -> ClassTable:
        """The same table, if id i is entry i, as output i of a network stands for it. Raises ClassTableError otherwise.

        source: where the table is from. Only masks made elsewhere may have ids with gaps, or in another order; and of
        one class alone, every pixel would be.
        """
        if len(self.classes) < 2:
            raise ClassTableError(
                f"{source}: a network decides between two classes at least, and there is only {self.classes[0].name}; "
                "add one for everything else"
            )
        for index, entry in enumerate(self.classes):
            if entry.id != index:
                raise ClassTableError(
                    f"{source}: class {index} of the network is {entry.name}, but has id {entry.id}; "
                    f"list the ids 0..{len(self.classes) - 1} in order, and remap labels with other ids"
                )
        return self

    def to_dicts(self) -> list[dict[str, Any]]:
        """Inverse of `from_dicts`, of plain YAML types."""
        return [
            {"id": c.id, "name": c.name, "color": list(c.color), "cost": c.cost, "kind": c.kind.name.lower()}
            for c in self.classes
        ]

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """(256,) uint8: the `Kind` of every mask value; IGNORE where the table has no class."""
        return self._lut(lambda c: int(c.kind), int(Kind.IGNORE))

    @cached_property
    def costs(self) -> NDArray[np.uint8]:
        """(256,) uint8: the traversal cost of every mask value; 0 where the table has no class."""
        return self._lut(lambda c: c.cost, 0)

    @cached_property
    def palette_bgr(self) -> NDArray[np.uint8]:
        """(256, 1, 3) uint8 BGR: the colour of every mask value, in the shape `cv2.applyColorMap` takes."""
        palette = np.zeros((256, 1, 3), np.uint8)
        for c in self.classes:
            palette[c.id, 0] = c.color[::-1]
        return palette

    def colorize(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) uint8 ids → (H, W, 3) uint8 BGR."""
        return cv2.applyColorMap(mask, self.palette_bgr)

    def overlay(self, image_bgr: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR: the mask's colours half over the image, resized to the mask's size."""
        if image_bgr.shape[:2] != mask.shape:
            image_bgr = cv2.resize(image_bgr, mask.shape[::-1], interpolation=cv2.INTER_AREA)
        return cv2.addWeighted(image_bgr, 0.5, self.colorize(mask), 0.5, 0.0)

    def _lut(self, value: Any, default: int) -> NDArray[np.uint8]:
        lut = np.full(256, default, np.uint8)
        for c in self.classes:
            lut[c.id] = value(c)
        return lut


def _parse(index: int, entry: Mapping[str, Any]) -> SegmentationClass:
    try:
        red, green, blue = (int(v) for v in entry["color"])
        kind = Kind[str(entry["kind"]).upper()]
        return SegmentationClass(int(entry["id"]), str(entry["name"]), (red, green, blue), int(entry["cost"]), kind)
    except (KeyError, TypeError, ValueError) as error:
        shown = dict(entry) if isinstance(entry, Mapping) else repr(entry)
        raise ClassTableError(
            f"class table: entry {index} ({shown}) is wrong at {error}; "
            "needs id, name, color [r, g, b], cost, kind (ground | obstacle | sky | ignore)"
        ) from error


def _check(entry: SegmentationClass) -> None:
    if not 0 <= entry.id < UNLABELLED:
        raise ClassTableError(f"class table: {entry.name} has id {entry.id}; allowed are 0..254 (255 means unlabelled)")
    if not all(0 <= channel <= 255 for channel in entry.color):
        raise ClassTableError(f"class table: {entry.name} has color {entry.color}; allowed are 0..255")
    top = MAX_GROUND_COST if entry.kind is Kind.GROUND else 100
    if not 0 <= entry.cost <= top:
        raise ClassTableError(
            f"class table: {entry.name} ({entry.kind.name.lower()}) has cost {entry.cost}; allowed are 0..{top}"
        )
