"""The pixels, the camera and the way back agree on where everything is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seg_perception.core.camera import Camera
from seg_perception.engines.resize import RESIZE_RULES, Resize

SIDES = st.integers(8, 250)
RESIZES = st.builds(Resize, SIDES, SIDES, st.sampled_from(RESIZE_RULES))
DISTORTION = np.array([-0.2, 0.05, 0.001, -0.001, 0.0])


def camera_of(width: int, height: int) -> Camera:
    focal = 0.8 * max(width, height)
    matrix = np.array([[focal, 0, 0.48 * width], [0, 1.1 * focal, 0.53 * height], [0, 0, 1]])
    return Camera(width, height, matrix, "plumb_bob", DISTORTION)


@given(RESIZES, SIDES, SIDES, st.floats(-0.4, 0.4), st.floats(-0.2, 0.2))
def test_a_point_keeps_its_place_in_the_image(resize, width, height, x, y):
    before = camera_of(width, height)
    after = resize.camera(before)
    point = [[x, y, 1.0]]
    (u, v), (mu, mv) = before.project(point)[0][0], after.project(point)[0][0]
    assume(np.isfinite((u, v, mu, mv)).all())
    seen, place = resize.fit(width, height)
    # Shares of the way from edge to edge; pixel (0, 0) is a centre, half a pixel inside.
    assert (mu + 0.5 - place.x) / place.width == pytest.approx((u + 0.5 - seen.x) / seen.width, abs=1e-9)
    assert (mv + 0.5 - place.y) / place.height == pytest.approx((v + 0.5 - seen.y) / seen.height, abs=1e-9)


@given(RESIZES, SIDES, SIDES, st.floats(0, 1), st.floats(0, 1))
def test_a_pixel_looks_along_the_same_ray_before_and_after(resize, width, height, right, down):
    seen, place = resize.fit(width, height)
    before = [[right * seen.width + seen.x - 0.5, down * seen.height + seen.y - 0.5]]
    after = [[right * place.width + place.x - 0.5, down * place.height + place.y - 0.5]]
    camera = camera_of(width, height)
    np.testing.assert_allclose(resize.camera(camera).rays(after), camera.rays(before), atol=1e-6)


@given(RESIZES, st.integers(40, 120), st.integers(40, 120))
def test_pixels_move_as_the_camera_says(resize, width, height):
    """On a ramp the value of a pixel tells its column, so the resized ramp tells where its pixels came from."""
    seen, place = resize.fit(width, height)
    assume(place.width >= 16 and seen.width >= 16)
    per_column = 250 / (width - 1)
    image = np.tile((np.arange(width) * per_column).round().astype(np.uint8)[:, np.newaxis], (height, 1, 3))
    row = resize.apply(image)[place.y + place.height // 2, place.slices[1], 0]
    shrinking = seen.width / place.width
    came_from = seen.x + np.clip((np.arange(place.width) + 0.5) * shrinking - 0.5, 0, seen.width - 1)
    error = (row / per_column - came_from) / max(1.0, shrinking)
    assert np.abs(error).max() < 0.6  # two roundings to uint8, up to 0.24 columns each
    assert abs(error.mean()) < 0.15


@given(RESIZES, SIDES, SIDES)
def test_results_have_the_promised_shape(resize, width, height):
    image = np.full((height, width, 3), 77, np.uint8)
    pixels = resize.apply(image)
    assert pixels.shape == (resize.height, resize.width, 3)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    place = resize.fit(width, height).place
    assert np.count_nonzero(pixels[..., 0] == 77) == place.width * place.height
    camera = resize.camera(camera_of(width, height))
    assert (camera.width, camera.height) == (resize.width, resize.height)


@given(SIDES, SIDES, SIDES, SIDES)
def test_rules_show_all_of_the_image_or_fill_the_network_and_keep_the_aspect(width, height, net_width, net_height):
    whole_image, whole_input = (0, 0, width, height), (0, 0, net_width, net_height)
    stretch, letterbox, crop = (Resize(net_width, net_height, rule).fit(width, height) for rule in RESIZE_RULES)
    assert stretch == (whole_image, whole_input)
    assert letterbox.seen == whole_image and crop.place == whole_input
    for inner, (across, down) in ((letterbox.place, (width, height)), (crop.seen, (net_width, net_height))):
        # One side is exact, the other one rounded to a pixel.
        assert abs(inner.width * down - inner.height * across) <= 0.5 * max(across, down) or 1 in inner[2:]
    for inner, (outer_width, outer_height) in ((letterbox.place, whole_input[2:]), (crop.seen, whole_image[2:])):
        assert inner.width == outer_width or inner.height == outer_height
        assert 0 <= outer_width - inner.width - 2 * inner.x <= 1
        assert 0 <= outer_height - inner.height - 2 * inner.y <= 1


@given(RESIZES, SIDES, SIDES)
def test_a_restored_mask_takes_each_pixel_from_where_the_camera_saw_it(resize, width, height):
    seen, place = resize.fit(width, height)
    columns = np.tile(np.arange(resize.width, dtype=np.uint8), (resize.height, 1))
    restored = resize.restore(columns, 255, width, height)
    assert restored.shape == (height, width)
    exact = (np.arange(seen.width) + 0.5) * place.width / seen.width - 0.5 + place.x
    assert np.all(np.abs(restored[seen.slices] - exact) <= 0.5 + 1e-6)
    assert np.count_nonzero(restored == 255) == width * height - seen.width * seen.height


@given(RESIZES, SIDES, SIDES)
def test_labels_lie_where_the_pixels_do(resize, width, height):
    columns = np.tile(np.arange(width, dtype=np.uint8), (height, 1))
    labels = resize.labels(columns, 255)
    seen, place = resize.fit(width, height)
    exact = (np.arange(place.width) + 0.5) * seen.width / place.width - 0.5 + seen.x
    assert np.all(np.abs(labels[place.slices] - exact) <= 0.5 + 1e-6)
    assert labels.shape == (resize.height, resize.width)
    assert np.count_nonzero(labels == 255) == resize.width * resize.height - place.width * place.height


@given(RESIZES, SIDES, SIDES)
def test_masks_of_large_areas_come_back(resize, width, height):
    """A half-and-half image, resized, thresholded and restored, differs only beside its border."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 255
    mask = (resize.apply(image)[..., 0] > 127).astype(np.uint8)
    seen, place = resize.fit(width, height)
    wrong = resize.restore(mask, 255, width, height)[seen.slices] != (image[..., 0] > 127)[seen.slices]
    border = 1.5 + 1.5 * seen.width / place.width
    assert np.all(np.abs(np.nonzero(wrong)[1] + seen.x - width / 2) <= border)


@given(RESIZES, SIDES, SIDES)
def test_only_the_frame_around_a_letterboxed_image_is_blanked(resize, width, height):
    plane = np.ones((resize.height, resize.width), np.uint8)
    blanked = resize.blank_outside(plane, 255, width, height)
    seen, place = resize.fit(width, height)
    assert np.count_nonzero(blanked == 1) == place.width * place.height
    assert np.all(resize.restore(blanked, 255, width, height)[seen.slices] == 1)


@pytest.mark.parametrize("factor", [2, 3, 4, 7, 16])
def test_no_pixel_is_skipped_when_shrinking(factor):
    """Stripes one pixel wide average to grey; taking every n-th pixel would give black or white."""
    stripes = np.zeros((64 * factor, 64 * factor, 3), np.uint8)
    stripes[:, ::2] = 254
    shrunk = Resize(64, 64).apply(stripes)
    assert np.abs(shrunk.astype(int) - 127).max() <= 254 / factor / 1.9


def test_an_image_that_fits_is_used_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    np.testing.assert_array_equal(Resize(32, 24).apply(image[:, ::-1]), image[:, ::-1])
