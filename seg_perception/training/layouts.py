"""How data sets lay out their folders: where the images are, where their labels, and which of them a split has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seg_perception.core.errors import DataError
from seg_perception.core.stems import IMAGE_SUFFIXES, by_stem, pictures


@dataclass(frozen=True)
class Layout:
    """Folders relative to the data set's; `{split}` stands for the split's name.

    form: of the labels, as `LabelFolder` reads them. stems: a file that lists the images of the split, one a line.
    """

    images: str
    labels: str
    form: str
    stems: str = ""

    @property
    def has_splits(self) -> bool:
        """Whether a split must be chosen."""
        return "{split}" in self.images + self.labels + self.stems


LAYOUTS = {
    "ids": Layout("images", "labels", "ids"),
    "colour": Layout("images", "labels", "colour"),
    "camvid": Layout("{split}", "{split}annot", "camvid"),
    "cityscapes": Layout("leftImg8bit/{split}", "gtFine/{split}", "cityscapes"),
    "voc": Layout("JPEGImages", ".", "voc", "ImageSets/Segmentation/{split}.txt"),
    "cvat": Layout("images", ".", "cvat"),
    "coco_panoptic": Layout("{split}", "annotations/panoptic_{split}", "coco_panoptic"),
}
"""Name in a configuration → layout."""


def images_of(root: Path, layout: Layout, split: str) -> list[Path]:
    """The images of a split, sorted. Raises DataError: there is none, two have one name, or a listed one is missing."""
    folder = root / layout.images.format(split=split)
    found = by_stem(pictures(folder.rglob("*")))
    if not found:
        raise DataError(f"{folder}: no image (*{', *'.join(IMAGE_SUFFIXES)}); check path, layout and split")
    if not layout.stems:
        return list(found.values())
    listing = root / layout.stems.format(split=split)
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{listing}: cannot be read ({error.strerror}); it lists the images of the split") from error
    stems = [line.strip() for line in lines if line.strip()]
    missing = [stem for stem in stems if stem not in found]
    if missing or not stems:
        raise DataError(f"{listing}: {f'{missing[0]} is not in {folder}' if missing else 'lists no image'}")
    return [found[stem] for stem in stems]
