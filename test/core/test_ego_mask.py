from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.ego_mask import EgoMask
from seg_perception.core.errors import ImageError

GROUND = 3


@pytest.mark.parametrize("value", [1, 255])
def test_pixels_that_are_not_black_hide_the_robot(tmp_path, value):
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[2:, :4] = value
    cv2.imwrite(str(tmp_path / "ego.png"), picture)
    mask, confidence = np.full((4, 6), GROUND, np.uint8), np.full((4, 6), 200, np.uint8)
    hidden, sure = EgoMask.load(tmp_path / "ego.png").hide(mask, confidence)
    assert (hidden[2:, :4] == UNLABELLED).all() and (sure[2:, :4] == 0).all()
    seen = np.ones((4, 6), bool)
    seen[2:, :4] = False
    assert (hidden[seen] == GROUND).all() and (sure[seen] == 200).all()
    assert (mask == GROUND).all() and (confidence == 200).all(), "the input was written to"


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**16))
def test_a_mask_of_any_resolution_hides_the_same_part_of_the_view(across, down, scale, seed):
    coarse = np.random.default_rng(seed).random((down, across)) < 0.5
    fine = np.kron(coarse, np.ones((scale, scale), bool))
    for body, shape in ((coarse, fine.shape), (fine, coarse.shape)):
        ground = np.full(shape, GROUND, np.uint8)
        hidden, _ = EgoMask(body).hide(ground, ground)
        np.testing.assert_array_equal(hidden == UNLABELLED, fine if shape == fine.shape else coarse)


@pytest.mark.parametrize("content", [None, b"", b"not a picture"], ids=["missing", "empty", "text"])
def test_an_unreadable_file_is_named_with_what_to_give(tmp_path, content):
    path = tmp_path / "ego.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=r"ego_mask .*ego\.png: .*non-zero pixels show the robot") as error:
        EgoMask.load(path)
    assert "\n" not in str(error.value)
