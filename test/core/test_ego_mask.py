from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_perception.core.camera import Camera
from seg_perception.core.classes import UNLABELLED
from seg_perception.core.ego_mask import EgoMask
from seg_perception.core.errors import ImageError
from seg_perception.engines.resize import Resize

GROUND = 3


def camera_of(width, height):
    return Camera(width, height, np.array([[500.0, 0, width / 2], [0, 502.0, height / 2], [0, 0, 1]]))


def hidden_by(body, camera):
    ground = np.full((camera.height, camera.width), GROUND, np.uint8)
    return EgoMask(body).hide(ground, ground, camera)[0] == UNLABELLED


@pytest.mark.parametrize("value", [1, 255])
def test_pixels_that_are_not_black_hide_the_robot(tmp_path, value):
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[2:, :4] = value
    cv2.imwrite(str(tmp_path / "ego.png"), picture)
    mask, confidence = np.full((4, 6), GROUND, np.uint8), np.full((4, 6), 200, np.uint8)
    hidden, sure = EgoMask.load(tmp_path / "ego.png").hide(mask, confidence, camera_of(6, 4))
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
        hidden = hidden_by(body, camera_of(*shape[::-1]))
        np.testing.assert_array_equal(hidden, fine if shape == fine.shape else coarse)


@pytest.mark.parametrize("image", [(1280, 720), (640, 480), (480, 640), (1242, 375)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_mask_of_the_image_hides_the_same_part_of_a_stretched_view(image, scale):
    resize = Resize(480, 360, "stretch")
    body = np.zeros((round(image[1] * scale), round(image[0] * scale)), bool)
    body[int(0.8 * body.shape[0]) :, : body.shape[1] // 3] = True
    expected = resize.labels(body.view(np.uint8), 0).astype(bool)
    np.testing.assert_array_equal(hidden_by(body, resize.camera(camera_of(*image))), expected)


@pytest.mark.parametrize(
    ("rule", "body"),
    [("letterbox", (1280, 720)), ("crop", (1280, 720)), ("stretch", (640, 480)), ("stretch", (720, 1280))],
)
def test_a_mask_that_does_not_fit_the_view_is_refused_with_what_to_do(rule, body):
    camera = Resize(480, 360, rule).camera(camera_of(1280, 720))
    size = "x".join(map(str, body))
    with pytest.raises(ImageError, match=rf"ego_mask is {size}, .*480x360.*mask_size to input") as error:
        hidden_by(np.ones(body[::-1], bool), camera)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rule", ["stretch", "letterbox", "crop"])
def test_a_mask_drawn_on_the_network_s_view_fits_it(rule):
    body = np.random.default_rng(0).random((360, 480)) < 0.5
    np.testing.assert_array_equal(hidden_by(body, Resize(480, 360, rule).camera(camera_of(1280, 720))), body)


@pytest.mark.parametrize("content", [None, b"", b"not a picture"], ids=["missing", "empty", "text"])
def test_an_unreadable_file_is_named_with_what_to_give(tmp_path, content):
    path = tmp_path / "ego.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=r"ego_mask .*ego\.png: .*non-zero pixels show the robot") as error:
        EgoMask.load(path)
    assert "\n" not in str(error.value)
