"""The frames of an import, as the network gets them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from seg_perception.engines.resize import RESIZE_RULES, Resize
from seg_perception.training.import_frames import Frame, labelled


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
