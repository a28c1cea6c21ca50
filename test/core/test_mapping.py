"""The grid, from views of a world simple enough to know the answer by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import ImageError, TransformError
from seg_perception.core.ground import PolarMap, Viewpoint
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.mapping import GridMapper

TABLE = ClassTable.load(Path(__file__).parents[2] / "config" / "classes" / "camvid.yaml")
SKY, ROAD, PAVEMENT, CAR, NOTHING = 0, 3, 4, 8, 255
MATRIX = np.array([[400.0, 0, 319.5], [0, 400.0, 179.5], [0, 0, 1]])
CAMERA = Camera(640, 360, MATRIX, "plumb_bob", np.array([-0.1, 0.01, 0, 0, 0]))
MOUNT = pose.base_from_optical([1.5, 0.0, 1.45], 0.0, np.radians(4), 0.0)
Box = tuple[float, float, float, float, float]  # x0, y0, x1, y1, height
EXACT = MapperConfig(pitch_error=0.0, height_error=0.0, outline_error=0.0)


def trace(camera: Camera, world_from_optical: np.ndarray, boxes: list[Box], lift: float = 0.0) -> tuple:
    """Mask and depth of an endless road with upright boxes `lift` m above it, by intersecting every pixel's ray."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = camera.rays(np.stack([u.ravel(), v.ravel()], 1)) @ world_from_optical[:3, :3].T
    eye = world_from_optical[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        nearest = np.where(rays[:, 2] < 0, -eye[2] / rays[:, 2], np.inf)
        mask = np.where(rays[:, 2] < 0, ROAD, SKY).astype(np.uint8)
        for x0, y0, x1, y1, height in boxes:
            a = (np.array([x0, y0, lift]) - eye) / rays
            b = (np.array([x1, y1, lift + height]) - eye) / rays
            enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
            hit = (enter > 0) & (enter <= leave) & (enter < nearest)
            nearest[hit], mask[hit] = enter[hit], CAR
    shape = camera.height, camera.width
    return mask.reshape(shape), nearest.reshape(shape).astype(np.float32)


def render(camera: Camera, world_from_optical: np.ndarray, boxes: list[Box]) -> np.ndarray:
    return trace(camera, world_from_optical, boxes)[0]


def see(mapper: GridMapper, boxes: list[Box], base: np.ndarray, stamp: float = 0.0, camera: Camera = CAMERA) -> None:
    mask = render(camera, base @ MOUNT, boxes)
    mapper.update(mask, np.full_like(mask, 255), camera, base @ MOUNT, base, stamp)


def at(mapper: GridMapper, x: float, y: float, stamp: float = 0.0) -> int:
    spec, grid = mapper.occupancy(stamp)
    return int(grid[int((y - spec.origin_y) // spec.resolution), int((x - spec.origin_x) // spec.resolution)])


HERE = np.eye(4)
BOX = (8.0, -1.0, 10.0, 1.0, 1.6)


def test_open_road_is_free_and_the_rest_unknown() -> None:
    mapper = GridMapper(TABLE, EXACT)
    see(mapper, [], HERE)
    assert 0 <= at(mapper, 8.0, 0.0) < 25
    assert at(mapper, -3.0, 0.0) == -1  # behind the camera
    assert at(mapper, 8.0, 12.0) == -1  # beside its field of view
    assert at(mapper, 28.5, 0.0) == -1  # beyond the range


def test_an_obstacle_stands_where_it_meets_the_ground_and_hides_what_is_behind() -> None:
    mapper = GridMapper(TABLE, EXACT)
    see(mapper, [BOX], HERE)
    spec, grid = mapper.occupancy(0.0)
    x, y = spec.centres()
    occupied = np.argwhere(grid >= 65)
    assert len(occupied) >= 10
    assert (grid[occupied[:, 0], occupied[:, 1]] == 100).all(), "Nav2 takes anything less for passable"
    assert (np.abs(x[occupied[:, 1]] - 8.1) < 0.31).all() and (np.abs(y[occupied[:, 0]]) < 1.2).all()
    assert 0 <= at(mapper, 7.5, 0.0) < 25
    shadow = grid[np.ix_(np.abs(y) < 0.8, (x > 8.6) & (x < 25))]
    assert (shadow == -1).all()


def test_rolling_and_pitching_do_not_move_an_obstacle() -> None:
    for roll, pitch in ((0.03, 0.0), (-0.03, 0.02), (0.0, -0.02)):
        mapper = GridMapper(TABLE, EXACT)
        see(mapper, [BOX], pose.from_rpy([0, 0, 0], roll, pitch, 0.0))
        spec, grid = mapper.occupancy(0.0)
        x, _ = spec.centres()
        assert np.abs(x[np.argwhere(grid >= 65)[:, 1]] - 8.1).max() < 0.41
        assert (grid[146:154, x > 8.6] == -1).all()


@pytest.mark.parametrize("degrees", [2.0, 6.0])
def test_an_obstacle_on_a_ramp_stands_where_it_is(degrees: float) -> None:
    mapper = GridMapper(TABLE, MapperConfig())
    base = pose.from_rpy(
        [0, 0, 0], 0.0, -np.radians(degrees), 0.0
    )  # 3D odometry: it stands on the ramp, as the box does
    mask = render(CAMERA, MOUNT, [BOX])
    for step in range(30):
        mapper.update(mask, np.full_like(mask, 255), CAMERA, base @ MOUNT, base, 0.1 * step)
    spec, grid = mapper.occupancy(2.9)
    x, y = spec.centres()
    occupied = np.argwhere(grid == 100)
    assert len(occupied) and np.abs(x[occupied[:, 1]] - 8.1).max() < 0.5
    assert not ((grid >= 0) & (grid < 25))[np.ix_(np.abs(y) < 0.9, (x > 8.0) & (x < 10.0))].any()
    heights = mapper.obstacle_points(2.9)
    np.testing.assert_allclose(heights[:, 2], np.tan(np.radians(degrees)) * heights[:, 0], atol=0.1)


@pytest.mark.parametrize("steps_before", [0, 40])
def test_nothing_that_stands_on_a_ramp_is_free_when_the_robot_has_just_come_onto_it(steps_before: int) -> None:
    mapper, ramp = GridMapper(TABLE, MapperConfig()), np.radians(6.0)
    mask = render(CAMERA, MOUNT, [BOX])
    for step in range(steps_before):  # with its lens covered
        level = pose.from_rpy([0.1 * (step - steps_before), 0, 0], 0.0, 0.0, 0.0)
        mapper.update(mask, np.zeros_like(mask), CAMERA, level @ MOUNT, level, 0.1 * step)
    base = pose.from_rpy([0, 0, 0], 0.0, -ramp, 0.0)
    for step in range(steps_before, steps_before + 5):
        mapper.update(mask, np.full_like(mask, 255), CAMERA, base @ MOUNT, base, 0.1 * step)
        spec, grid = mapper.occupancy(0.1 * step)
        x, y = spec.centres()
        assert not ((grid >= 0) & (grid < 25))[np.ix_(np.abs(y) < 0.9, (x > 8.1) & (x < 9.9))].any()


@pytest.mark.parametrize(("height", "beside"), [(1.4, 0.8), (1.4, 3.0), (2.5, 1.2)])
def test_a_wall_alongside_is_occupied(height: float, beside: float) -> None:
    mapper, mount = GridMapper(TABLE, MapperConfig()), pose.base_from_optical([0, 0, height], 0.0, 0.1, 0.0)
    mask = render(CAMERA, mount, [(-5.0, beside, 30.0, beside + 2.0, 2.5)])
    for step in range(5):
        mapper.update(mask, np.full_like(mask, 255), CAMERA, mount, HERE, 0.1 * step)
    spec, grid = mapper.occupancy(0.4)
    x, _ = spec.centres()
    row = int((beside - spec.origin_y) // spec.resolution)
    face = grid[row : row + 2][:, (x > 8.0) & (x < 14.0)].max(axis=0)
    assert (face == 100).mean() > 0.8
    assert not (grid[: row - 2] == 100).any(), "and nothing else is"


def test_sky_below_the_horizon_is_believed_as_little_as_ground_beside_it() -> None:
    mapper = GridMapper(TABLE, MapperConfig(resolution=0.1))
    mask = render(CAMERA, MOUNT, [(7.0, -0.1, 7.2, 0.1, 0.6)])
    mask[mask == CAR] = SKY  # a white post before a white sky
    for step in range(5):
        mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.1 * step)
    assert at(mapper, 7.05, 0.0, 0.4) == -1
    assert 0 <= at(mapper, 6.0, 0.0, 0.4) < 25


def test_after_a_jump_of_the_odometry_nothing_is_known_of_before() -> None:
    mapper = GridMapper(TABLE, EXACT)
    for step in range(5):
        see(mapper, [], pose.from_rpy([20.0, 0.0, 0.0], 0.0, 0.0, 0.0), 0.1 * step)
    assert at(mapper, 28.0, 0.0, 0.4) >= 0 and mapper.jumps == 0
    see(mapper, [], HERE, 0.5)
    assert at(mapper, 28.0, 0.0, 0.5) == -1 and mapper.jumps == 1
    assert at(mapper, 8.0, 0.0, 0.5) >= 0


@pytest.mark.parametrize(("way", "pause", "jumps"), [(5.0, 0.1, 1), (30.0, 2.0, 1), (0.5, 0.1, 0), (15.0, 2.0, 0)])
def test_a_jump_is_what_the_robot_cannot_have_driven(way: float, pause: float, jumps: int) -> None:
    mapper = GridMapper(TABLE, EXACT)
    for step in range(5):
        see(mapper, [], pose.from_rpy([0.2 * step, 0.0, 0.0], 0.0, 0.0, 0.0), 0.1 * step)  # 2 m/s
    see(mapper, [], pose.from_rpy([0.8 + way, 0.0, 0.0], 0.0, 0.0, 0.0), 0.4 + pause)
    assert mapper.jumps == jumps


@pytest.mark.parametrize(("turn", "pause", "jumps"), [(3.1, 0.1, 1), (-1.5, 0.1, 1), (0.6, 0.1, 0), (3.1, 1.0, 0)])
def test_a_jump_is_also_how_the_robot_cannot_have_turned(turn: float, pause: float, jumps: int) -> None:
    mapper = GridMapper(TABLE, EXACT)
    see(mapper, [], pose.from_rpy([0.0, 0.0, 0.0], 0.0, 0.0, 2.0))
    see(mapper, [], pose.from_rpy([0.0, 0.0, 0.0], 0.0, 0.0, 2.0 + turn), pause)
    assert mapper.jumps == jumps


def test_a_longer_half_life_does_not_bring_back_what_has_faded() -> None:
    mapper = GridMapper(TABLE, replace(EXACT, half_life=1.0))
    see(mapper, [], HERE)
    mapper.fade(20.0)
    mapper.config = replace(EXACT, half_life=100.0)
    blank = np.full((CAMERA.height, CAMERA.width), NOTHING, np.uint8)
    mapper.update(blank, np.zeros_like(blank), CAMERA, MOUNT, HERE, 20.1)
    assert (mapper.occupancy(20.1)[1] == -1).all()


def test_a_fisheye_that_looks_straight_down_sees_all_around() -> None:
    camera = Camera(640, 640, np.array([[195.0, 0, 319.5], [0, 195.0, 319.5], [0, 0, 1]]), "equidistant", np.zeros(4))
    mount = pose.base_from_optical([0.0, 0.0, 1.5], 0.0, np.pi / 2, 0.0)
    mapper, mask = GridMapper(TABLE, EXACT), np.full((640, 640), ROAD, np.uint8)
    mapper.update(mask, np.full_like(mask, 255), camera, mount, HERE, 0.0)
    for x, y in ((4.0, 0.0), (-4.0, 0.0), (0.0, 4.0), (0.0, -4.0)):
        assert 0 <= at(mapper, x, y) < 25


@settings(max_examples=12)
@given(x=st.floats(-40, 40), y=st.floats(-40, 40), yaw=st.floats(-3.1, 3.1))
def test_the_world_looks_the_same_from_everywhere(x: float, y: float, yaw: float) -> None:
    base = pose.from_rpy([x, y, 0], 0, 0, yaw)
    mapper = GridMapper(TABLE, EXACT)
    # The camera's view is that of `BOX` from the origin, wherever the robot stands.
    mask = render(CAMERA, MOUNT, [BOX])
    mapper.update(mask, np.full_like(mask, 255), CAMERA, base @ MOUNT, base, 0.0)
    foot = pose.apply(base, [8.1, 0.0, 0.0])
    spec, grid = mapper.occupancy(0.0)
    cx, cy = spec.centres()
    occupied = np.argwhere(grid >= 65)
    assert np.hypot(cx[occupied[:, 1]] - foot[0], cy[occupied[:, 0]] - foot[1]).min() < 0.3
    behind = pose.apply(base, [12.0, 0.0, 0.0])
    assert at(mapper, behind[0], behind[1]) == -1


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5])
def test_mask_resolution_does_not_move_an_obstacle(scale: float) -> None:
    camera = CAMERA.resized(round(640 * scale), round(360 * scale))
    mapper = GridMapper(TABLE, EXACT)
    see(mapper, [BOX], HERE, camera=camera)
    spec, grid = mapper.occupancy(0.0)
    x, _ = spec.centres()
    assert np.abs(x[np.argwhere(grid >= 65)[:, 1]] - 8.1).max() < 0.41


@pytest.mark.parametrize(("pitch", "max_range", "sees"), [(0.07, 25.0, True), (-1.2, 25.0, False), (0.07, 1.0, False)])
@pytest.mark.parametrize("confidence", [255, 0])
def test_a_view_tells_whether_ground_is_in_it_and_of_how_many_cells_it_proves_something(
    pitch: float, max_range: float, sees: bool, confidence: int
) -> None:
    mapper, mask = GridMapper(TABLE, replace(EXACT, max_range=max_range)), np.full((360, 640), ROAD, np.uint8)
    camera_pose = pose.base_from_optical([1.5, 0.0, 1.45], 0.0, pitch, 0.0)
    proved = mapper.update(mask, np.full_like(mask, confidence), CAMERA, camera_pose, HERE, 0.0)
    assert (proved is not None) == sees
    assert (mapper.occupancy(0.0)[1] >= 0).sum() == (proved or 0)
    assert bool(proved) == (sees and confidence > 0)


def test_a_thin_pole_is_not_missed_between_cells() -> None:
    for offset in np.arange(-0.3, 0.3, 0.05):
        mapper = GridMapper(TABLE, EXACT)
        see(mapper, [(5.0, offset, 5.08, offset + 0.08, 3.0)], HERE)
        spec, grid = mapper.occupancy(0.0)
        x, y = spec.centres()
        occupied = np.argwhere(grid >= 65)
        assert len(occupied) >= 1
        assert np.abs(x[occupied[:, 1]] - 5.04).max() < 0.4 and np.abs(y[occupied[:, 0]] - offset).max() < 0.3


def test_an_obstacle_cut_by_the_image_border_makes_no_contact() -> None:
    mapper = GridMapper(TABLE, EXACT)
    see(mapper, [(2.0, -5.0, 3.0, 5.0, 2.0)], HERE)  # nearer than the nearest visible ground
    assert (mapper.occupancy(0.0)[1] == -1).all()


def test_an_obstacle_behind_something_unknown_makes_no_contact() -> None:
    mask = render(CAMERA, MOUNT, [BOX])
    rows, columns = np.nonzero(mask == CAR)
    mask[rows.max() - 2 : rows.max() + 12, columns.min() - 12 : columns.max() + 12] = NOTHING
    mapper = GridMapper(TABLE, EXACT)
    mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0)
    assert mapper.occupancy(0.0)[1].max() < 65


def test_what_the_network_doubts_proves_nothing() -> None:
    mask = render(CAMERA, MOUNT, [BOX])
    mapper = GridMapper(TABLE, EXACT)
    mapper.update(mask, np.full_like(mask, 90), CAMERA, MOUNT, HERE, 0.0)
    assert (mapper.occupancy(0.0)[1] == -1).all()


@pytest.mark.parametrize("height", [2, 5, 30])
def test_specks_that_the_network_doubts_are_no_obstacles_however_small(height: int) -> None:
    mask, confidence = render(CAMERA, MOUNT, []), np.full((360, 640), 255, np.uint8)
    speck = slice(260 - height, 260), slice(317, 323)
    mask[speck] = CAR
    sure, doubted = GridMapper(TABLE, EXACT), GridMapper(TABLE, EXACT)
    sure.update(mask, confidence, CAMERA, MOUNT, HERE, 0.0)
    confidence[speck] = 60
    doubted.update(mask, confidence, CAMERA, MOUNT, HERE, 0.0)
    assert sure.occupancy(0.0)[1].max() >= 65 > doubted.occupancy(0.0)[1].max()


WITH_LITTER = ClassTable.from_dicts(
    [*TABLE.to_dicts(), {"id": 11, "name": "litter", "color": [0, 0, 0], "cost": 0, "kind": "ignore"}]
)


@pytest.mark.parametrize("resolution", [0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize(("label", "confidence"), [(CAR, 60), (11, 255)], ids=["doubted", "ignored"])
@given(x=st.floats(5.0, 10.0), y=st.floats(-1.5, 1.5), width=st.floats(0.2, 0.5))
@settings(max_examples=10, deadline=None)
def test_no_cell_is_free_in_which_something_unknown_stands(
    resolution: float, label: int, confidence: int, x: float, y: float, width: float
) -> None:
    mask = render(CAMERA, MOUNT, [(x, y, x + width, y + width, 0.5)])
    thing = mask == CAR
    mapper = GridMapper(WITH_LITTER, replace(EXACT, resolution=resolution))
    mapper.update(
        np.where(thing, np.uint8(label), mask),
        np.where(thing, confidence, 255).astype(np.uint8),
        CAMERA,
        MOUNT,
        HERE,
        0.0,
    )
    assert at(mapper, x + width / 2, y + width / 2) == -1


def test_a_stated_pitch_error_keeps_ground_before_an_obstacle_unproved() -> None:
    trusting, careful = GridMapper(TABLE, EXACT), GridMapper(TABLE, replace(EXACT, pitch_error=np.radians(1.0)))
    far = (14.0, -1.0, 16.0, 1.0, 1.6)
    for mapper in (trusting, careful):
        see(mapper, [far], HERE)
    assert at(trusting, 13.3, 0.0) >= 0
    assert at(careful, 13.3, 0.0) == -1


def test_costs_of_the_ground_reach_the_grid() -> None:
    mapper = GridMapper(TABLE, EXACT)
    for step in range(3):
        mask = np.where(render(CAMERA, MOUNT, []) == ROAD, PAVEMENT, SKY).astype(np.uint8)
        mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.1 * step)
    assert at(mapper, 8.0, 0.0, 0.2) == TABLE.costs[PAVEMENT]


def test_evidence_fades_to_unknown() -> None:
    mapper = GridMapper(TABLE, replace(EXACT, half_life=1.0))
    see(mapper, [BOX], HERE)
    assert at(mapper, 6.0, 0.0, 0.5) >= 0
    assert (mapper.occupancy(20.0)[1] == -1).all()


def test_evidence_goes_on_fading_after_it_was_asked_for_at_a_much_later_time() -> None:
    mapper = GridMapper(TABLE, replace(EXACT, half_life=1.0))
    see(mapper, [BOX], HERE)
    assert (mapper.occupancy(60.0)[1] == -1).all() and not len(mapper.obstacle_points(60.0))
    see(mapper, [BOX], HERE, 0.1)
    assert at(mapper, 6.0, 0.0, 0.1) >= 0
    blank = np.full((CAMERA.height, CAMERA.width), NOTHING, np.uint8)
    mapper.update(blank, np.zeros_like(blank), CAMERA, MOUNT, HERE, 20.0)
    assert (mapper.occupancy(20.0)[1] == -1).all()


def test_an_obstacle_that_left_is_cleared_by_visible_ground() -> None:
    mapper = GridMapper(TABLE, EXACT)
    for step in range(10):
        see(mapper, [BOX], HERE, 0.1 * step)
    assert at(mapper, 8.1, 0.0, 0.9) >= 65
    for step in range(10, 16):
        see(mapper, [], HERE, 0.1 * step)
    assert at(mapper, 8.1, 0.0, 1.5) < 25


def test_the_window_follows_the_robot_and_keeps_cells_in_the_world() -> None:
    mapper = GridMapper(TABLE, EXACT)
    for step in range(12):
        see(mapper, [(30.0, -1.0, 32.0, 1.0, 1.6)], pose.from_rpy([step * 2.0, 0, 0], 0, 0, 0), 0.1 * step)
    assert at(mapper, 30.1, 0.0, 1.1) >= 65
    assert 0 <= at(mapper, 27.0, 0.0, 1.1) < 25
    spec, _ = mapper.occupancy(1.1)
    assert abs(spec.origin_x + spec.width * spec.resolution / 2 - 22.0) <= spec.resolution
    points = mapper.obstacle_points(1.1)
    assert len(points) and np.abs(points[:, 0] - 30.1).max() < 0.5


def test_forgetting_leaves_the_window_where_it_is() -> None:
    mapper = GridMapper(TABLE, EXACT)
    see(mapper, [BOX], pose.from_rpy((300.0, -50.0, 0.0), 0.0, 0.0, 0.0))
    before, _ = mapper.occupancy(0.0)
    mapper.reset()
    after, grid = mapper.occupancy(0.0)
    assert after == before and (grid == -1).all()


def test_two_cameras_share_one_grid() -> None:
    rear_mount = pose.base_from_optical([-1.5, 0.0, 1.45], 0.0, np.radians(4), np.pi)
    mapper = GridMapper(TABLE, EXACT)
    for name, mount in (("front", MOUNT), ("rear", rear_mount)):
        mask = render(CAMERA, mount, [])
        mapper.update(mask, np.full_like(mask, 255), CAMERA, mount, HERE, 0.0, source=name)
    assert 0 <= at(mapper, 8.0, 0.0) < 25 and 0 <= at(mapper, -8.0, 0.0) < 25


@settings(max_examples=60)
@given(
    focal=st.floats(60.0, 900.0),
    tilt=st.tuples(st.floats(-0.3, 0.3), st.floats(0.0, 1.5), st.floats(-3.1, 3.1)),
    x=st.floats(-40, 40),
    y=st.floats(-40, 40),
    data=st.data(),
)
def test_all_ground_that_a_camera_sees_is_within_its_bounds(focal, tilt, x, y, data) -> None:
    camera = Camera(640, 360, np.array([[focal, 0, 319.5], [0, focal, 179.5], [0, 0, 1]]))
    base = pose.from_rpy([x, y, 0], 0, 0, data.draw(st.floats(-3.1, 3.1)))
    view = Viewpoint.of(base @ pose.base_from_optical([0.4, 0.1, 1.2], *tilt), 0.0)
    polar = PolarMap.build(camera, view, 25.0)
    assume(polar is not None)
    (left, right), (low, high) = polar.bounds(view, 20.0)
    assert right - left <= 40.0 + 1e-9 and high - low <= 40.0 + 1e-9
    if polar.bearings[-1] - polar.bearings[0] < 1.4:
        assert (right - left) * (high - low) < 0.55 * 40.0**2, "no more than is needed"
    for _ in range(20):
        bearing = data.draw(st.floats(float(polar.bearings[0]), float(polar.bearings[-1]))) + view.yaw
        distance = data.draw(st.floats(0.0, 28.0))
        point_x, point_y = view.x + distance * np.cos(bearing), view.y + distance * np.sin(bearing)
        if abs(point_x - view.x) <= 20.0 and abs(point_y - view.y) <= 20.0:
            assert left <= point_x <= right and low <= point_y <= high


def test_a_low_camera_that_looks_down_sees_what_is_at_its_feet() -> None:
    mapper = GridMapper(TABLE, replace(EXACT, resolution=0.02, size_x=2.0, size_y=2.0, max_range=2.0))
    mount = pose.base_from_optical([0.0, 0.0, 0.15], 0.0, 0.8, 0.0)
    mask = np.full((360, 640), ROAD, np.uint8)
    mapper.update(mask, np.full_like(mask, 255), CAMERA, mount, HERE, 0.0)
    assert all(0 <= at(mapper, x, 0.01) < 25 for x in (0.13, 0.15, 0.17, 0.19))
    assert at(mapper, 0.27, 0.01) == -1  # the image ends at 0.37 m, and what stands there may overhang


@pytest.mark.parametrize("size", [(320, 180), (1920, 1080), (3840, 2160)])
def test_the_map_of_a_camera_that_looks_down_has_bounds(size: tuple[int, int]) -> None:
    width, height = size
    focal = 1.4 * width
    camera = Camera(width, height, np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]]))
    down = pose.base_from_optical([0.0, 0.0, 1.5], 0.0, np.radians(80), 0.0)
    polar = PolarMap.build(camera, Viewpoint.of(down, 0.0), 25.0)
    assert polar is not None
    assert np.prod(polar.shape) < 2.1e6


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_a_downward_camera_sees_all_around(model: str) -> None:
    camera = Camera(400, 400, np.array([[140.0, 0, 199.5], [0, 140.0, 199.5], [0, 0, 1]]), model, np.zeros(4))
    mount = pose.base_from_optical([0.0, 0.0, 2.0], 0.0, np.pi / 2, 0.0)
    mapper = GridMapper(TABLE, EXACT)
    mask = np.full((400, 400), ROAD, np.uint8)
    mapper.update(mask, np.full_like(mask, 255), camera, mount, HERE, 0.0)
    for x, y in ((1.5, 0.1), (-1.5, 0.1), (0.1, 1.5), (0.1, -1.5)):
        assert 0 <= at(mapper, x, y) < 25


@settings(max_examples=10)
@given(k1=st.floats(-0.13, -0.07), pitch=st.floats(-0.1, 0.6), roll=st.floats(-0.1, 0.1))
def test_ground_that_the_lens_does_not_show_is_never_free(k1: float, pitch: float, roll: float) -> None:
    """However the image looks outside of the circle that the lens lights."""
    camera = Camera(640, 480, np.array([[200.0, 0, 319.5], [0, 200.0, 239.5], [0, 0, 1]]), "equidistant", [k1, 0, 0, 0])
    mount = pose.base_from_optical([0.0, 0.0, 1.0], roll, pitch, 0.0)
    mapper = GridMapper(TABLE, replace(EXACT, size_x=30.0, size_y=30.0, max_range=15.0))
    mask = np.full((480, 640), ROAD, np.uint8)
    mapper.update(mask, np.full_like(mask, 255), camera, mount, HERE, 0.0)
    spec, grid = mapper.occupancy(0.0)
    x, y = np.meshgrid(*spec.centres())
    points = np.stack([x, y, np.full_like(x, -1.0)], axis=-1) @ mount[:3, :3]
    angle = np.arctan2(np.hypot(points[..., 0], points[..., 1]), points[..., 2])
    field = (-1 / (3 * k1)) ** 0.5  # where theta + k1 theta^3 stops growing
    cell = 0.5 * np.hypot(0.2, 0.2) / np.linalg.norm(points, axis=-1)
    assert (grid[angle > field + cell] == -1).all()
    near = (np.hypot(x, y) > 0.6) & (np.hypot(x, y) < 5.0)
    assert (grid[near & (angle < 0.7)] >= 0).all(), "what it shows is free as ever"


def test_a_camera_that_looks_up_proves_nothing() -> None:
    mapper = GridMapper(TABLE, EXACT)
    mount = pose.base_from_optical([0, 0, 1.5], 0.0, -1.0, 0.0)
    mask = np.full((360, 640), ROAD, np.uint8)
    mapper.update(mask, np.full_like(mask, 255), CAMERA, mount, HERE, 0.0)
    assert (mapper.occupancy(0.0)[1] == -1).all()


def test_impossible_poses_are_refused() -> None:
    mapper = GridMapper(TABLE, EXACT)
    mask = np.full((360, 640), ROAD, np.uint8)
    underground = MOUNT.copy()
    underground[2, 3] = -1.0
    for bad, words in ((underground, "above the ground"), (np.full((4, 4), np.nan), "not finite")):
        with pytest.raises(TransformError, match=words):
            mapper.update(mask, mask, CAMERA, bad, HERE, 0.0)


def with_depth(lift: float, clearance: float = 2.0) -> GridMapper:
    mapper = GridMapper(TABLE, replace(EXACT, clearance=clearance))
    mask, depth = trace(CAMERA, MOUNT, [BOX], lift)
    mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0, depth=depth)
    return mapper


def occupied_x(mapper: GridMapper) -> np.ndarray:
    spec, grid = mapper.occupancy(0.0)
    return spec.centres()[0][np.argwhere(grid >= 65)[:, 1]]


def test_depth_places_an_obstacle_that_does_not_touch_the_ground() -> None:
    lifted, blind = with_depth(lift=0.4), GridMapper(TABLE, EXACT)
    mask, _ = trace(CAMERA, MOUNT, [BOX], 0.4)
    blind.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0)
    assert np.abs(occupied_x(lifted) - 8.1).max() < 0.31
    assert occupied_x(blind).min() > 9.0  # where its lower edge seems to meet the ground


@pytest.mark.parametrize("roll", [np.pi / 2, -np.pi / 2, np.pi])
def test_depth_places_an_obstacle_however_the_camera_is_turned(roll: float) -> None:
    mapper, mount = GridMapper(TABLE, EXACT), pose.base_from_optical([1.5, 0.0, 1.45], roll, np.radians(4), 0.0)
    mask, depth = trace(CAMERA, mount, [BOX])
    told = pose.from_rpy([0, 0, 0], 0.0, -0.012, 0.0) @ mount  # so that a foot that is looked for is found elsewhere
    mapper.update(mask, np.full_like(mask, 255), CAMERA, told, HERE, 0.0, depth=depth)
    assert np.abs(occupied_x(mapper) - 8.1).max() < 0.31


def test_ground_that_depth_measures_far_below_is_not_free() -> None:
    mapper = GridMapper(TABLE, EXACT)
    mask, depth = trace(CAMERA, MOUNT, [])
    rays = CAMERA.pixel_rays @ MOUNT[:3, :3].T
    beyond = (mask == ROAD) & (MOUNT[0, 3] + rays[..., 0] * depth > 6.0)
    depth[beyond] *= (1.45 + 1.0) / 1.45  # the edge of a dock, 1 m high; of what is far, the depth is out of range
    mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0, depth=depth)
    assert 0 <= at(mapper, 5.0, 0.0) < 25
    assert [at(mapper, x, 0.0) for x in (7.0, 12.0, 16.0, 20.0)] == [-1] * 4


def test_an_obstacle_that_depth_measures_out_of_range_stands_nowhere() -> None:
    mapper = GridMapper(TABLE, replace(EXACT, max_range=15.0))
    mask, depth = trace(CAMERA, MOUNT, [BOX])
    depth[mask == CAR] *= 3.0
    mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0, depth=depth)
    assert len(occupied_x(mapper)) == 0


@pytest.mark.parametrize("offset", [(0.0, 0.0), (500_000.0, 5_400_000.0)], ids=["origin", "utm"])
def test_far_from_the_worlds_origin_depth_places_obstacles_as_well(offset: tuple[float, float]) -> None:
    there = pose.from_rpy((*offset, 0.0), 0.0, 0.0, 0.0)
    mask, depth = trace(CAMERA, MOUNT, [BOX])
    mapper = GridMapper(TABLE, EXACT)
    mapper.update(mask, np.full_like(mask, 255), CAMERA, there @ MOUNT, there, 0.0, depth=depth)
    spec, grid = mapper.occupancy(0.0)
    rows, columns = np.argwhere(grid >= 65).T
    x, y = spec.origin_x - offset[0] + 0.2 * columns, spec.origin_y - offset[1] + 0.2 * rows
    assert np.abs(x + 0.1 - 8.1).max() < 0.41
    np.testing.assert_allclose(np.unique(np.rint(y / 0.2)), np.arange(-5, 5))  # all of it, without holes


def test_depth_knows_what_one_can_pass_under() -> None:
    assert len(occupied_x(with_depth(lift=0.4, clearance=0.3))) == 0
    assert len(occupied_x(with_depth(lift=0.4, clearance=1.0))) > 0


@pytest.mark.parametrize("bleeding", [1, 4])
@pytest.mark.parametrize("clearance", [0.3, 2.0], ids=["passable", "in-the-way"])
def test_ground_within_the_outline_of_a_hanging_thing_is_no_foot_of_it(bleeding: int, clearance: float) -> None:
    mask, depth = trace(CAMERA, MOUNT, [BOX], 0.4)
    above = np.roll(mask, bleeding, axis=0)
    mask[(above == CAR) & (mask == ROAD)] = CAR
    mapper = GridMapper(TABLE, replace(EXACT, clearance=clearance))
    mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0, depth=depth)
    assert (np.abs(occupied_x(mapper) - 8.1) < 0.31).all()
    assert bool(len(occupied_x(mapper))) == (clearance > 0.4)


def test_a_low_thing_below_a_hanging_one_keeps_its_foot() -> None:
    mask, depth = trace(CAMERA, MOUNT, [(5.0, -1.0, 5.2, 1.0, 0.3)], 0.7)
    low, low_depth = trace(CAMERA, MOUNT, [(7.0, -1.0, 7.5, 1.0, 0.12)])
    nearer = low_depth < depth
    mask[nearer], depth[nearer] = low[nearer], low_depth[nearer]
    mapper = GridMapper(TABLE, replace(EXACT, clearance=0.5))
    mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0, depth=depth)
    assert all(at(mapper, 7.1, y) >= 65 for y in np.arange(-0.7, 0.8, 0.2))
    assert occupied_x(mapper).min() > 6.5


@pytest.mark.parametrize("pitch", [3.5, 4.5])
def test_depth_places_what_a_misstated_pitch_would_have_misplaced(pitch: float) -> None:
    mask, depth = trace(CAMERA, MOUNT, [BOX])
    believed = pose.base_from_optical([1.5, 0.0, 1.45], 0.0, np.radians(pitch), 0.0)
    mapper = GridMapper(TABLE, EXACT)
    mapper.update(mask, np.full_like(mask, 255), CAMERA, believed, HERE, 0.0, depth=depth)
    assert (np.abs(occupied_x(mapper) - 8.1) < 0.31).all()


LOW = (8.0, -1.0, 10.0, 1.0)
CLOSE_BEHIND = (10.0, -6.0, 10.5, 6.0, 3.0)


@pytest.mark.parametrize("height", [0.08, 0.12, 0.14])
@pytest.mark.parametrize("others", [[], [CLOSE_BEHIND]], ids=["alone", "before-a-wall"])
@pytest.mark.parametrize("roll", [0.0, 0.15])
def test_depth_loses_no_low_obstacle(height: float, others: list[Box], roll: float) -> None:
    mount = pose.base_from_optical([1.5, 0.0, 1.45], roll, np.radians(4), 0.0)
    mask, depth = trace(CAMERA, mount, [(*LOW, height), *others])
    feet = []
    for known in (None, depth):
        mapper = GridMapper(TABLE, EXACT)
        mapper.update(mask, np.full_like(mask, 255), CAMERA, mount, HERE, 0.0, depth=known)
        feet.append([at(mapper, 8.1, y) >= 65 for y in np.arange(-0.7, 0.8, 0.2)])
    assert all(feet[0])
    assert feet[1] == feet[0]


def test_ground_off_the_plane_is_not_free() -> None:
    mask, depth = trace(CAMERA, MOUNT, [])
    nearer = GridMapper(TABLE, EXACT)
    nearer.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0, depth=depth * np.float32(0.8))
    assert (nearer.occupancy(0.0)[1] == -1).all()
    missing = GridMapper(TABLE, EXACT)
    missing.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0, depth=np.full_like(depth, np.nan))
    assert 0 <= at(missing, 8.0, 0.0) < 25


def test_depth_of_another_size_is_refused() -> None:
    mask = np.full((360, 640), ROAD, np.uint8)
    with pytest.raises(ImageError, match="aligned"):
        GridMapper(TABLE, EXACT).update(mask, mask, CAMERA, MOUNT, HERE, 0.0, depth=np.ones((90, 160), np.float32))


def test_what_an_obstacle_comes_to_hide_is_soon_unknown() -> None:
    mapper = GridMapper(TABLE, EXACT)
    far, near = (12.0, -1.0, 12.5, 1.0, 1.6), (6.0, -2.0, 6.5, 2.0, 1.6)
    for step in range(5):
        see(mapper, [far], HERE, 0.1 * step)
    assert at(mapper, 12.1, 0.0, 0.4) >= 65 and 0 <= at(mapper, 9.0, 0.0, 0.4) < 25
    for step in range(5, 12):
        see(mapper, [far, near], HERE, 0.1 * step)
    assert at(mapper, 6.1, 0.0, 1.1) >= 65
    assert at(mapper, 9.0, 0.0, 1.1) == -1 and at(mapper, 12.1, 0.0, 1.1) == -1
