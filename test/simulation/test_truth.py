"""The true grid: what its arrays promise, against the rendered frame and against hand-made shapes."""

import itertools

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from seg_perception.core import pose
from seg_perception.core.grid import GridSpec
from seg_perception.simulation.labels import GROUND, Label
from seg_perception.simulation.street import Drive
from seg_perception.simulation.truth import rasterise

RESOLUTION = 0.2
_METRES, _RADII = st.floats(-1.0, 3.0), st.floats(0.05, 2.0)


def around(frame, half_m=20.0):
    x, y = frame.world_from_base[:2, 3]
    cells = round(2 * half_m / RESOLUTION)
    return GridSpec(RESOLUTION, cells, cells, x - half_m, y - half_m)


def scene_of(seed):
    """A drive, one of its frames, a window around it, and the truth in it."""
    drive = Drive(seed, 480, 270, frames=40)
    frame = drive.frame(25)
    spec = around(frame)
    return drive, frame, spec, drive.truth(frame, spec)


@pytest.fixture(scope="module")
def grassy_scene():
    return scene_of(1)


@pytest.fixture(scope="module")
def narrow_scene():
    return scene_of(3)


@pytest.fixture(params=["grassy_scene", "narrow_scene"])
def scene(request):
    return request.getfixturevalue(request.param)


def points_of_pixels(drive, frame, chosen):
    """World points (N, 3) one centimetre behind what the chosen pixels show."""
    v, u = np.nonzero(chosen)
    rays = drive.camera.rays(np.column_stack([u, v]))
    return pose.apply(frame.world_from_optical, rays * (frame.depth[chosen][:, None] + 0.01))


def cells_of_points(spec, points):
    columns, rows = np.floor((points[:, :2] - (spec.origin_x, spec.origin_y)) / RESOLUTION).astype(int).T
    return rows, columns


def pixels_of_cells(drive, frame, spec, chosen):
    """Of the chosen cells ahead: nearest pixel (N, 2) of their centres on the ground, and depths (N,)."""
    x, y = spec.centres()
    rows, columns = np.nonzero(chosen)
    points = pose.apply(pose.inverse(frame.world_from_optical), np.column_stack([x[columns], y[rows], 0 * x[columns]]))
    pixels, projected = drive.camera.project(points)
    return np.rint(pixels[projected]).astype(int), points[projected, 2]


def test_shapes_and_content(scene):
    _, _, spec, truth = scene
    for mask in (truth.occupied, truth.free, truth.visible):
        assert (mask.shape, mask.dtype) == ((spec.height, spec.width), bool)
        assert mask.any() and not mask.all()


def test_no_cell_is_occupied_and_free(scene):
    truth = scene[3]
    assert not (truth.occupied & truth.free).any()
    assert (truth.occupied & truth.visible).any()
    assert (truth.free & truth.visible).sum() > 500


def test_visible_free_cells_show_ground(scene):
    drive, frame, spec, truth = scene
    pixels, depth = pixels_of_cells(drive, frame, spec, truth.free & truth.visible)
    labels = frame.labels[pixels[:, 1], pixels[:, 0]]
    # Half a pixel of rounding can put a cell's centre onto the edge of the thing in front of it.
    assert np.isin(labels, GROUND).mean() > 0.98
    shown = frame.depth[pixels[:, 1], pixels[:, 0]]
    assert np.median(np.abs(shown - depth) / depth) < 0.02


def test_hidden_cells_in_view_are_covered_by_something_nearer(scene):
    drive, frame, spec, truth = scene
    x, y = spec.centres()
    camera = frame.world_from_optical[:3, 3]
    near = np.hypot(x[None] - camera[0], y[:, None] - camera[1]) < 15
    pixels, depth = pixels_of_cells(drive, frame, spec, truth.free & ~truth.visible & near)
    inside = ((pixels >= 1) & (pixels < (478, 268))).all(axis=1)
    shown = frame.depth[pixels[inside, 1], pixels[inside, 0]]
    assert inside.any()
    assert np.mean(shown < depth[inside] + 0.3) > 0.98


def test_obstacle_pixels_near_the_ground_lie_in_occupied_cells(scene):
    drive, frame, spec, truth = scene
    obstacle = ~np.isin(frame.labels, (*GROUND, Label.VOID, Label.SKY)) & (frame.depth < 15)
    points = points_of_pixels(drive, frame, obstacle)
    rows, columns = cells_of_points(spec, points[(points[:, 2] > 0.12) & (points[:, 2] < 1.95)])
    assert truth.occupied[rows, columns].mean() > 0.995


def test_grass_is_neither_free_nor_occupied(grassy_scene):
    drive, frame, spec, truth = grassy_scene
    points = points_of_pixels(drive, frame, (frame.labels == Label.VOID) & (frame.depth < 12))
    rows, columns = cells_of_points(spec, points)
    assert len(rows) > 100
    assert not truth.free[rows, columns].any()
    assert not truth.occupied[rows, columns].any()


def test_nothing_is_visible_beyond_the_range(scene):
    drive, frame, spec, truth = scene
    near = drive.truth(frame, spec, max_range=8.0)
    x, y = spec.centres()
    distance = np.hypot(x[None] - frame.world_from_optical[0, 3], y[:, None] - frame.world_from_optical[1, 3])
    assert not near.visible[distance > 8.0].any()
    np.testing.assert_array_equal(near.visible, truth.visible & (distance <= 8.0))
    np.testing.assert_array_equal(near.occupied, truth.occupied)


def test_truth_does_not_depend_on_the_window(scene):
    drive, frame, spec, truth = scene
    part = GridSpec(RESOLUTION, 60, 40, spec.origin_x + 100 * RESOLUTION, spec.origin_y + 80 * RESOLUTION)
    smaller = drive.truth(frame, part)
    for name in ("occupied", "free", "visible"):
        expected = getattr(truth, name)[80:120, 100:160]
        assert np.mean(getattr(smaller, name) != expected) < 0.002, name


def test_truth_of_a_frame_does_not_depend_on_which_was_asked_before(scene):
    drive, frame, spec, truth = scene
    drive.truth(drive.frame(3), spec)
    np.testing.assert_array_equal(drive.truth(frame, spec).occupied, truth.occupied)


@st.composite
def polygons(draw):
    """Convex: points on an ellipse, in order."""
    angles = 0.1 * np.array(sorted(draw(st.sets(st.integers(0, 62), min_size=3, max_size=8))))
    centre, radii = np.array(draw(st.tuples(_METRES, _METRES))), np.array(draw(st.tuples(_RADII, _RADII)))
    return centre + radii * np.column_stack([np.cos(angles), np.sin(angles)])


@given(polygons())
def test_rasterising_covers_exactly_the_cells_that_overlap(polygon):
    spec = GridSpec(0.5, 8, 6, -1.0, -0.5)
    covered = rasterise([polygon], spec)
    for (row, y), (column, x) in itertools.product(*(enumerate(axis) for axis in spec.centres()[::-1])):
        if covered[row, column]:
            assert overlap(polygon, x, y, 0.2501) > 0
        else:
            assert overlap(polygon, x, y, 0.25) < 1e-4


def overlap(polygon, x, y, half):
    """Area common to a convex polygon and a square, by another route: OpenCV's intersection."""
    square = np.array([[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half]])
    return cv2.intersectConvexConvex(polygon.astype(np.float32), square.astype(np.float32))[0]


def test_rasterising_a_box_on_cell_borders_takes_no_neighbours():
    spec = GridSpec(0.5, 6, 6, 0.0, 0.0)
    covered = rasterise([np.array([[0.5, 1.0], [1.5, 1.0], [1.5, 2.0], [0.5, 2.0]])], spec)
    expected = np.zeros((6, 6), bool)
    expected[2:4, 1:3] = True
    np.testing.assert_array_equal(covered, expected)
