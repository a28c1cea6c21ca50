"""Camera models against OpenCV's own, and against themselves the other way round."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_perception.core.camera import Camera
from seg_perception.core.errors import CameraError

MATRIX = np.array([[420.0, 0.0, 311.5], [0.0, 415.0, 188.2], [0.0, 0.0, 1.0]])
LENSES = {
    "rectified": ("plumb_bob", []),
    "plumb_bob": ("plumb_bob", [-0.21, 0.06, 0.001, -0.0007, -0.004]),
    "rational": ("rational_polynomial", [0.3, 0.05, 0.0005, -0.0003, 0.002, 0.6, 0.1, 0.005]),
    "thin_prism": ("rational_polynomial", [0.3, 0.05, 5e-4, -3e-4, 2e-3, 0.6, 0.1, 5e-3, 1e-3, -2e-4, 5e-4, 1e-4]),
    "equidistant": ("equidistant", [-0.01, 0.004, -0.002, 0.0003]),
}
lens = pytest.mark.parametrize("name", LENSES)
pixels = st.tuples(st.floats(-0.5, 639.5), st.floats(-0.5, 359.5))


def camera(name: str, width: int = 640, height: int = 360) -> Camera:
    model, distortion = LENSES[name]
    return Camera(width, height, MATRIX, model, np.array(distortion))


@lens
@given(pixel=pixels)
def test_a_pixel_projects_back_onto_itself(name: str, pixel: tuple[float, float]) -> None:
    cam = camera(name)
    back, seen = cam.project(cam.rays([pixel]) * 7.5)
    assert seen.all()
    np.testing.assert_allclose(back[0], pixel, atol=1e-3)


@lens
def test_projection_equals_opencv(name: str) -> None:
    cam = camera(name)
    points = np.random.default_rng(0).uniform([-3, -1.5, 6], [3, 1.5, 20], (500, 3))
    ours, seen = cam.project(points)
    zero = np.zeros(3)
    if name == "equidistant":
        theirs = cv2.fisheye.projectPoints(points[:, None], zero, zero, cam.matrix, cam.distortion)[0]
    else:
        theirs = cv2.projectPoints(points[:, None], zero, zero, cam.matrix, cam.distortion)[0]
    assert seen.all()
    np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-6)


@lens
def test_nothing_far_outside_the_field_of_view_folds_back_into_the_image(name: str) -> None:
    cam = camera(name)
    angle = np.linspace(0, 2 * np.pi, 60)
    for tilt in (1.2, 1.5, 2.0, 3.0):
        points = np.stack([np.sin(tilt) * np.cos(angle), np.sin(tilt) * np.sin(angle), np.full(60, np.cos(tilt))], 1)
        u, v = cam.project(points)[0].T
        assert not ((u > 0) & (u < 639) & (v > 0) & (v < 359)).any()


def test_an_equidistant_lens_sees_sideways() -> None:
    wide = Camera(800, 800, np.array([[230.0, 0, 399.5], [0, 230.0, 399.5], [0, 0, 1]]), "equidistant", np.zeros(4))
    pixel, seen = wide.project([[1.0, 0.0, 0.0]])
    assert seen[0]
    np.testing.assert_allclose(pixel[0], [399.5 + 230 * np.pi / 2, 399.5])
    np.testing.assert_allclose(wide.rays(pixel)[0], [1, 0, 0], atol=1e-9)


@lens
@given(pixel=pixels, width=st.integers(32, 2000), height=st.integers(32, 2000))
def test_resizing_keeps_every_ray(name: str, pixel: tuple[float, float], width: int, height: int) -> None:
    cam = camera(name)
    u, v = pixel
    small = [(u + 0.5) * width / 640 - 0.5, (v + 0.5) * height / 360 - 0.5]
    np.testing.assert_allclose(cam.resized(width, height).rays([small]), cam.rays([pixel]), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"matrix": np.zeros((3, 3))}, "camera matrix K"),
        ({"matrix": np.full((3, 3), np.nan)}, "camera matrix K"),
        ({"model": "mystery"}, "'mystery' is unknown"),
        ({"distortion": np.zeros(3)}, "plumb_bob has 3 coefficients"),
        ({"distortion": np.full(5, np.inf)}, "all finite"),
        ({"width": 0}, "camera size is 0x360"),
    ],
)
def test_unusable_intrinsics_are_refused_by_name(change: dict, words: str) -> None:
    with pytest.raises(CameraError, match=words):
        Camera(**{"width": 640, "height": 360, "matrix": MATRIX} | change)
