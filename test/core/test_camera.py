"""Camera models against OpenCV's own, and against themselves the other way round."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
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


small = st.floats(-1e-3, 1e-3)
FOLDING = {
    "equidistant": st.tuples(st.floats(-0.2, -0.04), st.floats(-0.02, 0.005), small, small),
    "plumb_bob": st.tuples(st.floats(-0.5, -0.12), st.floats(-0.05, 0.02), small, small, st.floats(-0.02, 0.0)),
    "rational_polynomial": st.tuples(
        *(st.floats(-0.2, 0.1), st.floats(-0.2, -0.05), small, small),
        *(st.floats(-0.01, 0.0), st.floats(0.0, 0.4), st.floats(0.0, 0.1), st.floats(-0.01, 0.01)),
    ),
}
FARTHEST = {"equidistant": np.pi, "plumb_bob": 20.0, "rational_polynomial": 20.0}


def turning_point(model: str, distortion: np.ndarray) -> tuple[float, float]:
    """Distance from the axis at which the distorted one first stops growing, and the latter there; by trying all."""
    k = np.append(distortion, np.zeros(8))
    r = np.linspace(0.0, FARTHEST[model], 400_001)
    over, under = (k[:4], np.zeros(1)) if model == "equidistant" else (k[[0, 1, 4]], k[5:8])
    numerator, denominator = (1.0 + sum(c * r ** (2 * i + 2) for i, c in enumerate(cs)) for cs in (over, under))
    distorted = r * numerator / denominator
    falls = (np.diff(distorted) <= 0) | (denominator[1:] <= 0)
    assume(falls.any())
    turn = int(np.argmax(falls))
    return float(r[turn]), float(distorted[turn])


@pytest.mark.parametrize("model", FOLDING)
@given(data=st.data(), focal=st.floats(100.0, 600.0), bearing=st.floats(-3.1, 3.1))
def test_nothing_beyond_the_turning_point_of_a_lens_is_seen(model: str, data: st.DataObject, focal, bearing) -> None:
    distortion = np.array(data.draw(FOLDING[model]))
    cam = Camera(640, 480, np.array([[focal, 0, 319.5], [0, focal, 239.5], [0, 0, 1]]), model, distortion)
    turn, reached = turning_point(model, distortion)
    across = np.array([np.cos(bearing), np.sin(bearing)])

    def towards(radius: np.ndarray) -> np.ndarray:
        angle = radius if model == "equidistant" else np.arctan(radius)
        return np.column_stack([np.outer(np.sin(angle), across), np.cos(angle)])

    assert not cam.project(towards(np.linspace(turn, FARTHEST[model], 200)[1:]))[1].any()

    rays = towards(np.linspace(0.01, 0.9, 50) * turn)
    shown, seen = cam.project(rays)
    inside = seen & (np.abs(shown - (319.5, 239.5)) <= (320, 240)).all(axis=1)
    back = cam.rays(shown[inside])
    np.testing.assert_allclose(back / np.linalg.norm(back, axis=1)[:, None], rays[inside], atol=1e-3)
    # Tangential terms move the rim by up to three times their size times the square of its radius.
    dark = focal * (reached + 0.01 + 6e-3 * turn**2) * across + (319.5, 239.5)
    assert np.isnan(cam.rays([dark])).all()


def test_an_image_that_shows_all_of_a_lens_is_bounded_by_its_rim() -> None:
    matrix = np.array([[200.0, 0, 319.5], [0, 200.0, 319.5], [0, 0, 1]])
    cam = Camera(640, 640, matrix, "equidistant", np.array([-0.12, 0, 0, 0]))  # reaches 222 pixels
    rays = cam.border_rays
    np.testing.assert_allclose(np.arccos(rays[:, 2]), np.sqrt(1 / 0.36))
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1.0)
    assert np.isnan(cam.pixel_rays[0, 0]).all() and np.isfinite(cam.pixel_rays[320, 100:540]).all()


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
