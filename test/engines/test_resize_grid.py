"""However the image is fitted into the network, what it shows comes to lie in the same cells of the grid."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.grid import GridSpec
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.mapping import GridMapper
from seg_perception.engines.resize import RESIZE_RULES, Resize

TABLE = ClassTable.load(Path(__file__).parents[2] / "config" / "classes" / "camvid.yaml")
SKY, ROAD, CAR = 0, 3, 8
CHANNELS = np.array([SKY, ROAD, CAR], np.uint8)
BASE = np.eye(4)
MOUNT = pose.base_from_optical((0.0, 0.0, 1.5), 0.0, 0.15, 0.0)
# At the farthest wall, a row of the smallest image and one of the smallest network cover two cells together.
EXACT = MapperConfig(size_x=30.0, size_y=30.0, max_range=8.0, pitch_error=0.0, height_error=0.0, outline_error=0.0)
BESIDE_BORDER_PX = 6  # there, evidence depends on how much of the scene is in view
HALF_WALL_M = 1.5

IMAGE_SIZES = st.tuples(st.integers(420, 700), st.integers(300, 500))
NETWORK_SIZES = st.tuples(st.integers(300, 500), st.integers(240, 400))


def camera_of(width: int, height: int) -> Camera:
    matrix = np.array([[0.6 * width, 0, 0.49 * width], [0, 0.6 * width, 0.51 * height], [0, 0, 1]])
    return Camera(width, height, matrix, "plumb_bob", np.array([-0.1, 0.01, 0.001, -0.001, 0.0]))


def picture(camera: Camera, wall_x: float, wall_y: float) -> np.ndarray:
    """(H, W, 3): sky, road, and a wall 3 m wide across the view, each white in a channel of its own."""
    rays = camera.pixel_rays.astype(np.float64) @ MOUNT[:3, :3].T
    eye = MOUNT[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        to_ground = np.where(rays[..., 2] < 0, -eye[2] / rays[..., 2], np.inf)
        to_wall = np.where(rays[..., 0] > 0, (wall_x - eye[0]) / rays[..., 0], np.inf)
        y, z = eye[1] + to_wall * rays[..., 1], eye[2] + to_wall * rays[..., 2]
    wall = (to_wall < to_ground) & (np.abs(y - wall_y) < HALF_WALL_M) & (z < 1.2)
    labels = np.where(wall, CAR, np.where(np.isfinite(to_ground), ROAD, SKY))
    return ((labels[..., None] == CHANNELS) * 255).astype(np.uint8)


def grid_of(image: np.ndarray, camera: Camera, resize: Resize) -> tuple[np.ndarray, np.ndarray, GridSpec]:
    """Free 0, occupied 1, unknown -1, as a network without error would make it; which cells are well in view; where."""
    size = camera.width, camera.height
    mask = CHANNELS[resize.apply(image).argmax(axis=2)]
    mask = resize.blank_outside(mask, UNLABELLED, *size)
    confidence = resize.blank_outside(np.full_like(mask, 255), 0, *size)
    mapper = GridMapper(TABLE, EXACT)
    mapper.update(mask, confidence, resize.camera(camera), MOUNT, BASE, 0.0)
    spec, cells = mapper.occupancy(0.0)
    return np.select([cells < 0, cells < 25, cells >= 65], [-1, 0, 1], -1), in_view(resize.camera(camera), spec), spec


def in_view(camera: Camera, spec: GridSpec) -> np.ndarray:
    """Cells whose neighbours' centres, too, the camera sees well inside its image."""
    x, y = spec.centres()
    centres = np.stack([*(a.ravel() for a in np.meshgrid(x, y)), np.zeros(spec.width * spec.height)], axis=1)
    pixels, seen = camera.project(pose.apply(np.linalg.inv(MOUNT), centres))
    near = BESIDE_BORDER_PX
    inside = seen & (pixels > near).all(axis=1) & (pixels < np.array([camera.width, camera.height]) - near).all(axis=1)
    return cv2.erode(inside.reshape(spec.height, spec.width).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def beside_edges(spec: GridSpec, wall_x: float, wall_y: float) -> np.ndarray:
    """Cells behind the wall's upright edges: the lens bends them, so that a column may have ground below wall there."""
    x, y = np.meshgrid(*spec.centres())
    left, right = (np.abs(y - x * edge / wall_x) for edge in (wall_y - HALF_WALL_M, wall_y + HALF_WALL_M))
    return (x > wall_x - spec.resolution) & (np.minimum(left, right) < 1.5 * spec.resolution)


@settings(max_examples=12)
@given(IMAGE_SIZES, NETWORK_SIZES, st.floats(4.0, 7.0), st.floats(-2.0, 2.0))
@example((700, 311), (319, 240), 5.2578125, -1.243109042640192)
def test_every_rule_gives_the_same_grid_within_two_cells(size, network, wall_x, wall_y):
    camera = camera_of(*size)
    image = picture(camera, wall_x, wall_y)
    grids, views, specs = zip(*(grid_of(image, camera, Resize(*network, rule)) for rule in RESIZE_RULES), strict=True)
    common = np.logical_and.reduce(views)
    assert (grids[0][common] == 0).sum() > 20
    common &= ~beside_edges(specs[0], wall_x, wall_y)
    # Between free ground and the wall lies a strip of unknown cells here, and none there.
    for same in (lambda grid: grid == 0, lambda grid: grid == 1, lambda grid: grid != 0):
        for grid in grids:
            nearby = cv2.dilate(same(grid).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            for other in grids:
                assert not np.any(common & same(other) & ~nearby)
