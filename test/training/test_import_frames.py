"""The frames of an import, as the network gets them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from seg_perception.core.errors import DataError
from seg_perception.engines.resize import RESIZE_RULES, Resize
from seg_perception.training.import_frames import Frame, labelled, load_frames


class SameAsTheImage:
    """Labels whose ids are the grey values of the frames."""

    def __init__(self, images):
        self._images = images

    def read(self, name):
        return self._images[name][..., 0]


@pytest.mark.parametrize("rule", RESIZE_RULES)
def test_labels_lie_on_their_pixels_whatever_the_rule(rule):
    image = np.full((40, 90, 3), 3, np.uint8)
    image[:, 45:] = 8
    ((pixels, labels),) = labelled([Frame("a", image)], SameAsTheImage({"a": image}), Resize(32, 24, rule))
    assert pixels.shape[:2] == labels.shape == (24, 32)
    shown = labels != 255
    assert shown.any() and set(labels[shown].tolist()) == {3, 8}
    assert np.count_nonzero((pixels[..., 0] != labels) & shown) <= 2 * 24  # mixed columns between the two
    assert not pixels[~shown].any()


@pytest.mark.parametrize("name", ["bag_db3", "bag_mcap"])
def test_frames_come_from_bags(shared_data: Path, name: str) -> None:
    for_ranges, for_gate = load_frames(shared_data / "nuscenes" / name, 2, None)
    assert 1 <= len(for_gate) <= len(for_ranges) <= 2
    assert all(frame.image.ndim == 3 and frame.image.std() > 10 for frame in [*for_ranges, *for_gate])


def test_as_many_frames_are_taken_as_were_asked_for(tmp_path: Path) -> None:
    for index in range(9):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((6, 8, 3), index, np.uint8))
    assert [len(part) for part in load_frames(tmp_path, 4, None)] == [4, 4]


def test_two_images_for_one_label_are_refused(tmp_path: Path) -> None:
    for index, name in enumerate(("a.png", "a.bmp", "b.png")):
        cv2.imwrite(str(tmp_path / name), np.full((6, 8, 3), index, np.uint8))
    with pytest.raises(DataError, match=r"a\.png and .*a\.bmp: have one name"):
        load_frames(tmp_path, 2, {"a", "b"})
    assert all(load_frames(tmp_path, 2, None)), "without labels a name means nothing"
