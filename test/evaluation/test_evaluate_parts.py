"""What evaluations count with: sight, flicker, heights above the ground, remaps, robots."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError, EngineError
from seg_perception.core.grid import GridSpec
from seg_perception.core.ground import Viewpoint
from seg_perception.core.poses import CameraPose
from seg_perception.core.waiting import NotYetError
from seg_perception.engines.base import Segmentation
from seg_perception.engines.resize import LETTERBOX, Resize
from seg_perception.evaluation.evaluate_flicker import GridFlicker, MaskFlicker
from seg_perception.evaluation.evaluate_frame import BAD_LABEL, Frame
from seg_perception.evaluation.evaluate_ground import TruthGrids, TruthLidar, above_ground
from seg_perception.evaluation.evaluate_masks import segment_images
from seg_perception.evaluation.evaluate_pictures import snapshot_indices, worst_of
from seg_perception.evaluation.evaluate_resume import EarlierMasks
from seg_perception.evaluation.evaluate_robot import Robot
from seg_perception.evaluation.evaluate_source import TRUTH, Event
from seg_perception.evaluation.evaluate_truth import Hindsight, LabelFiles, Truth
from seg_perception.evaluation.sight import SeenInWindow, Sight, overlap

SPEC = GridSpec(0.2, 200, 200, -20.0, -20.0)
CAMERA = Camera(320, 240, np.array([[160.0, 0.0, 159.5], [0.0, 160.0, 119.5], [0.0, 0.0, 1.0]]))


def looking(yaw, x=0.0, y=0.0):
    """45 degrees to either side, from a height of 1.5 m and 0.3 rad down."""
    base = pose.from_rpy((x, y, 0.0), 0.0, 0.0, yaw)
    mount = pose.base_from_optical((0.0, 0.0, 1.5), 0.0, 0.3, 0.0)
    return Sight(CAMERA, Viewpoint.of(base @ mount, 0.0), 15.0)


class Slow:
    """An engine that takes the longer, the darker the image, and knows how many of its kind work at the same time."""

    together = threading.Barrier(2, timeout=10.0)
    resize = Resize(4, 4)

    def infer(self, image):
        if image[0, 0, 0] in (0, 1):
            self.together.wait()
        time.sleep(0.05 if image[0, 0, 0] == 0 else 0.0)
        if image[0, 0, 0] == 9:
            raise EngineError("broken")
        return Segmentation(image[:, :, 0], image[:, :, 0])


def driven_over(stamps_ms, turned_at_ms=10**9, anew_at_ms=10**9):
    """Cells that hindsight finds free, frame by frame, for a robot at 2 m/s that goes aside from some moment on.

    anew_at_ms: when its odometry begins anew.
    """
    truth, frames = Hindsight(), []
    for index, stamp_ms in enumerate(stamps_ms):
        frame = Frame(index, "bag", "", stamp_ms * 10**6, 0, "camera", None, ())
        ahead, aside = min(stamp_ms, turned_at_ms), max(0, stamp_ms - turned_at_ms)
        base = pose.from_rpy((0.002 * ahead, 0.002 * aside, 0.0), 0.0, 0.0, 0.0)
        frame.pose, frame.grid = CameraPose(base, base), (SPEC, np.zeros((SPEC.height, SPEC.width), np.int8))
        if stamp_ms == anew_at_ms:
            truth.start_anew()
        truth.score(frame, looking(0.0, 0.002 * stamp_ms), None)
        frames.append(frame)
    truth.finish()
    return [frame.grid_scores["0-15"].counts["free"] for frame in frames]


def images(values):
    for index, value in enumerate(values):
        frame = Frame(index, "bag", "", index, index, "camera", None, ())
        frame.image = np.full((4, 4, 3), value, np.uint8)
        yield frame
        yield Event("odometry", None, index)


def test_engines_work_side_by_side_and_frames_stay_in_order(tmp_path):
    done = list(segment_images(images(range(8)), [Slow(), Slow()], EarlierMasks(tmp_path)))
    assert [item.index for item in done[::2]] == list(range(8))
    assert [item.received_ns for item in done[1::2]] == list(range(8))
    assert [item.segmentation.mask[0, 0] for item in done[::2]] == list(range(8))
    assert all(item.masked and item.image is None and item.picture is not None for item in done[::2])


class Letterboxed:
    resize = Resize(4, 4, LETTERBOX)

    def infer(self, image):
        red = self.resize.apply(image)[:, :, 2]
        return Segmentation(red, red).within(self.resize, *image.shape[1::-1])


def test_a_mask_is_unlabelled_where_a_letterboxed_image_has_no_pixel(tmp_path):
    frame = next(images([5]))
    frame.image = frame.image[:2]
    [done] = segment_images([frame], [Letterboxed()], EarlierMasks(tmp_path))
    assert done.picture[:, 0, 0].tolist() == [0, 5, 5, 0]
    assert done.segmentation.mask[:, 0].tolist() == [255, 5, 5, 255]
    assert done.segmentation.confidence[:, 0].tolist() == [0, 5, 5, 0]


def test_what_an_engine_raises_comes_after_the_frames_before(tmp_path):
    items = segment_images(images([2, 3, 9, 4]), [Slow(), Slow()], EarlierMasks(tmp_path))
    assert [next(items).received_ns for _ in range(4)] == [0, 0, 1, 1]
    with pytest.raises(EngineError, match="broken"):
        next(items)


def test_hindsight_needs_no_order_of_the_cameras():
    front = range(1000, 11000, 100)
    stamps = [stamp for pair in zip(front, [stamp - 20 for stamp in front], strict=True) for stamp in pair]
    cells = dict(zip(stamps, driven_over(stamps), strict=True))
    in_order = dict(zip(sorted(stamps), driven_over(sorted(stamps)), strict=True))
    assert cells == in_order and min(cells[stamp] for stamp in front[:50]) > 20


@pytest.mark.parametrize("pause_ms", [5_000, 600_000])
def test_in_hindsight_nothing_is_known_of_the_way_through_a_pause(pause_ms):
    before, after = list(range(0, 3000, 100)), [3000 + pause_ms + later for later in range(0, 1000, 100)]
    assert driven_over(before + after, turned_at_ms=3000)[:30] == driven_over(before, turned_at_ms=3000)


def test_hindsight_ends_after_its_horizon():
    stamps = list(range(0, 12_000, 500))
    assert driven_over(stamps)[0] == driven_over(stamps[:17])[0] > 20, "8 s"


def test_in_hindsight_nothing_is_known_of_a_world_that_has_begun_anew():
    stamps = list(range(0, 5000, 100))
    assert driven_over(stamps, anew_at_ms=3000)[:30] == driven_over(stamps[:30])


def test_ground_above_the_image_is_not_in_view():
    mount = pose.base_from_optical((0.0, 0.0, 1.5), 0.0, 1.0, 0.0)
    sight = Sight(CAMERA, Viewpoint.of(mount, 0.0), 15.0)
    nearest, farthest = (1.5 / np.tan(1.0 + side * np.arctan(120 / 160)) for side in (1, -1))
    x, y = np.meshgrid(*SPEC.centres())
    seen = sight.visible(SPEC, np.zeros(x.shape, np.bool_))
    assert seen[abs(y) < 0.3].any() and not seen[(x > farthest + 0.2) | (x < nearest - 0.2)].any()
    assert seen[(abs(y) < 0.3) & (x > nearest + 0.2) & (x < farthest - 0.2)].all()


def test_of_a_mask_from_before_an_interruption_no_total_is_told():
    frame = Frame(0, "bag", "", 0, 0, "", None, ())
    frame.latency_ms, frame.masked = {"decode": 1.0, "infer": 2.0}, True
    assert frame.record()["latency_ms"] == {"decode": 1.0, "infer": 2.0, "total": 3.0}
    del frame.latency_ms["infer"]
    assert frame.record()["latency_ms"] == {"decode": 1.0}


class Still:
    """The world is the map; poses are known up to some time."""

    def __init__(self, until_ns=10**12):
        self._until_ns = until_ns

    def at(self, stamp_ns, frame_id, mount):
        if stamp_ns > self._until_ns:
            raise NotYetError("later")
        return CameraPose(np.eye(4), np.eye(4))

    def world_from(self, frame_id, stamp_ns):
        return self.at(stamp_ns, frame_id, None).world_from_base


def stamped(stamp_ns, **fields):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="map")
    return SimpleNamespace(header=header, **fields)


def truth_grid(stamp_ns, cells, resolution):
    place = SimpleNamespace(
        position=SimpleNamespace(x=-20.0, y=-20.0, z=0.0), orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
    )
    height, width = cells.shape
    info = SimpleNamespace(width=width, height=height, resolution=resolution, origin=place)
    return stamped(stamp_ns, info=info, data=cells.ravel())


def scored_frame(stamp_ns):
    frame = Frame(0, "bag", "", stamp_ns, 0, "", None, ())
    frame.grid = SPEC, np.zeros((SPEC.height, SPEC.width), np.int8)
    return frame


@pytest.mark.parametrize("later_ns", [0, -3 * 10**9], ids=["in time", "of a clock that was set back since"])
def test_a_thin_thing_in_a_fine_truth_occupies_its_cell(later_ns):
    fine = np.zeros((800, 800), np.int8)
    fine[401, 600] = fine[437, 603] = 100
    fine[460, 602] = -1
    frame, truth = scored_frame(5 * 10**9 + later_ns), TruthGrids()
    truth.note(Event(TRUTH, truth_grid(5 * 10**9, fine, float(np.float32(0.05))), 0), Still())
    truth.score(frame, looking(0.0), Still())
    occupied, free, _ = frame.truth
    assert np.argwhere(occupied).tolist() == [[100, 150], [109, 150]]
    assert np.argwhere(~free).tolist() == [[100, 150], [109, 150], [115, 150]]


@pytest.mark.parametrize(("size", "side"), [(403, 100), (0, 0)])
def test_a_cell_that_reaches_beyond_the_truth_is_not_free(size, side):
    frame, truth = scored_frame(5), TruthGrids()
    truth.note(Event(TRUTH, truth_grid(5, np.zeros((size, size), np.int8), float(np.float32(0.05))), 0), Still())
    truth.score(frame, looking(0.0), Still())
    assert np.count_nonzero(frame.truth[1]) == side**2


@pytest.mark.parametrize(
    ("truth", "message"),
    [(TruthGrids(), truth_grid(5, np.zeros((2, 2), np.int8), 0.1)), (TruthLidar(), stamped(5))],
)
def test_truth_waits_for_what_tells_where_it_lies(truth, message):
    frame = scored_frame(5)
    assert truth.pending(frame, Still())
    truth.note(Event(TRUTH, message, 0), Still())
    assert truth.pending(frame, Still(until_ns=4)) and not truth.pending(frame, Still())


@pytest.mark.parametrize(("size", "unusable"), [((160, 120), False), ((107, 80), False), ((240, 320), True)])
def test_labels_of_another_aspect_than_the_image_are_of_something_else(size, unusable):
    class Folder:
        def read(self, stem):
            return np.zeros(size[::-1], np.uint8)

    table = ClassTable.from_dicts([{"id": 0, "name": "road", "color": [1, 2, 3], "kind": "ground", "cost": 0}])
    frame = Frame(0, "bag", "", 0, 0, "", None, ("a",))
    frame.size, frame.segmentation = (320, 240), Segmentation(*np.zeros((2, 24, 32), np.uint8))
    Truth(table, Resize(32, 24), 15.0, LabelFiles({"": Folder()}), Hindsight()).score(frame, Still())
    assert (BAD_LABEL in frame.problems, frame.confusion is None) == (unusable, unusable)


@given(st.floats(-4.0, 4.0), st.floats(-3.0, 3.0))
def test_the_field_of_view_is_where_the_camera_looks(yaw, x):
    sight = looking(yaw, x)

    def sees(distance, bearing):
        return bool(sight.contains(np.array(x + distance * np.cos(bearing)), np.array(distance * np.sin(bearing))))

    assert sees(8.0, yaw) and sees(8.0, yaw + 0.6) and sees(8.0, yaw - 0.6)
    assert not sees(8.0, yaw + 0.95) and not sees(8.0, yaw - 0.95) and not sees(8.0, yaw + np.pi)
    assert not sees(16.0, yaw), "too far"
    assert not sees(0.8, yaw), "below the image"


@given(st.floats(-3.0, 3.0))
def test_nothing_is_seen_behind_what_stands(yaw):
    sight = looking(yaw)
    x, y = (values.astype(np.float64) for values in np.meshgrid(*SPEC.centres()))
    forward, left = x * np.cos(yaw) + y * np.sin(yaw), y * np.cos(yaw) - x * np.sin(yaw)
    wall = (abs(forward - 6.0) < 0.4) & (abs(left) < 2.0)
    visible = sight.visible(SPEC, wall)
    assert visible[(abs(left) < 1.0) & (forward > 3.0) & (forward < 5.3)].all()
    assert not visible[(abs(left) < 1.8) & (forward > 6.9)].any()
    assert visible[wall & (abs(left) < 1.8)].any()
    inside = sight.contains(x, y)
    nearly = cv2.dilate(inside.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert not (visible & ~nearly).any()
    free = sight.visible(SPEC, np.zeros_like(wall))
    assert (free & inside).sum() > 0.97 * inside.sum()


@given(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_windows_overlap_where_their_cells_are_the_same(before, now):
    rows, columns = np.meshgrid(np.arange(7), np.arange(7), indexing="ij")
    ours, theirs = overlap(before, now, (7, 7))
    for axis, places in enumerate((rows, columns)):
        np.testing.assert_array_equal(places[ours] + now[axis], places[theirs] + before[axis])
    shared = max(0, 7 - abs(now[0] - before[0])) * max(0, 7 - abs(now[1] - before[1]))
    assert rows[ours].size == shared


def test_what_was_seen_is_remembered_while_it_stays_in_the_window():
    seen, nothing = SeenInWindow(), np.zeros((4, 4), np.bool_)
    here = nothing.copy()
    here[1, 2] = True
    assert seen.update(GridSpec(1.0, 4, 4, 0.0, 0.0), here).sum() == 1
    later = seen.update(GridSpec(1.0, 4, 4, 1.0, 1.0), nothing)
    assert later[0, 1] and later.sum() == 1
    seen.update(GridSpec(1.0, 4, 4, 9.0, 1.0), nothing)
    assert not seen.update(GridSpec(1.0, 4, 4, 1.0, 1.0), nothing).any()


def test_what_comes_back_flickers_and_what_moves_on_does_not():
    a, b = np.zeros((2, 5), np.uint8), np.ones((2, 5), np.uint8)
    half = a.copy()
    half[0] = 1
    flicker = MaskFlicker()
    assert [flicker.update(mask) for mask in (a, a, half, b, b)] == [None, None, 0.0, 0.0, 0.0]
    flicker = MaskFlicker()
    assert [flicker.update(mask) for mask in (a, half, a, a)] == [None, None, 0.5, 0.0]
    assert flicker.update(np.zeros((3, 3), np.uint8)) is None


def test_the_flicker_of_a_grid_follows_its_window():
    flicker = GridFlicker()
    world = np.full((6, 6), -1, np.int8)
    world[2, 1:5] = 0
    grids = []
    for corner, value in ((0, 0), (1, 100), (2, 0)):
        now = world.copy()
        now[2, 3] = value
        grids.append((GridSpec(0.5, 4, 4, 0.5 * corner, 0.0), now[:4, corner : corner + 4]))
    assert [flicker.update(*grid) for grid in grids] == [None, None, 0.5]


@given(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(-0.1, 0.1))
def test_heights_are_above_the_ground_however_it_tilts(a, b, offset):
    random = np.random.default_rng(0)
    xy = random.uniform(-10, 10, (3000, 2))
    height = np.where(np.arange(3000) % 10 == 0, random.uniform(0.5, 2.0, 3000), 0.0)
    z = a * xy[:, 0] + b * xy[:, 1] + offset + height
    np.testing.assert_allclose(above_ground(np.column_stack([xy, z]), 0.0), height, atol=0.05)


def test_without_points_there_are_no_heights():
    assert above_ground(np.zeros((0, 3)), 0.0).shape == (0,)


def test_a_robot_reads_what_the_nodes_would(tmp_path):
    path = tmp_path / "robot.yaml"
    document = {
        "/**/segmenter": {"ros__parameters": {"model": "x", "precision": "fp32", "device": "cuda:1"}},
        "/**/grid_mapper": {
            "ros__parameters": {
                "cameras": ["front", "rear"],
                "resolution": 0.1,
                "pose_source": "tf",
                "front": {"mount": {"x": 1.0, "yaw": 0.5}},
                "rear.mount.z": 2.0,
            }
        },
    }
    path.write_text(yaml.safe_dump(document))
    robot = Robot.load(path)
    assert robot.mapper.resolution == 0.1 and robot.pose_source == "tf" and robot.world_frame == "odom"
    assert (robot.model, robot.precision, robot.device) == ("x", "fp32", "cuda:1")
    front, rear = robot.camera("front"), robot.camera("rear")
    np.testing.assert_allclose(front.base_from_optical, pose.base_from_optical((1.0, 0.0, 0.0), 0.0, 0.0, 0.5))
    np.testing.assert_allclose(rear.base_from_optical, pose.base_from_optical((0.0, 0.0, 2.0), 0.0, 0.0, 0.0))
    assert robot.camera("left") is None


def test_sections_of_a_robot_complete_each_other_parameter_by_parameter(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(
        "/**:\n  ros__parameters: {mount: {x: 1.0, z: 1.5}}\n"
        "grid_mapper:\n  ros__parameters: {mount: {x: 2.0}, mount.y: 0.5}\n"
    )
    (camera,) = Robot.load(path).cameras
    assert camera.base_from_optical[:3, 3].tolist() == [2.0, 0.5, 1.5]


def test_a_robot_may_be_below_a_namespace_beside_other_nodes_and_name_its_one_camera(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(
        "robot:\n  grid_mapper:\n    ros__parameters: {cameras: front, front.mount.z: 2.0}\n"
        "  costmap:\n    costmap:\n      ros__parameters: {cameras: [other]}\n"
    )
    (front,) = Robot.load(path).cameras
    assert front.name == "front" and front.base_from_optical[2, 3] == 2.0


@pytest.mark.parametrize(
    "text", ["- 1", "grid_mapper: 3", "grid_mapper: {ros__parameters: {pose_source: gps}}", "a: ["]
)
def test_a_robot_that_is_none_is_refused_by_name(tmp_path, text):
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match="robot.yaml"):
        Robot.load(path)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("resolution: 0.0", "resolution is 0; allowed: 0.02 to 5"),
        ("max_range: -3", "max_range is -3; allowed: 0.5 to 200"),
        ("half_life: .nan", "half_life is nan"),
        ("resolution: 0.02, size_x: 500, size_y: 500", "make 625000000 cells"),
        ("known_log_odds: 4", "no cell is ever known"),
    ],
)
def test_values_that_the_node_refuses_are_refused(tmp_path, values, reason):
    path = tmp_path / "robot.yaml"
    path.write_text(f"grid_mapper: {{ros__parameters: {{{values}}}}}")
    with pytest.raises(DataError, match=rf"robot\.yaml: .*{reason}"):
        Robot.load(path)


def test_the_defaults_of_a_robot_are_those_of_the_node(tmp_path):
    pytest.importorskip("rclpy", reason="needs ROS 2")
    from seg_perception.nodes.grid_mapper_parameters import GridMapperParameters

    path = tmp_path / "robot.yaml"
    path.write_text("grid_mapper: {ros__parameters: {}}")
    robot, node = Robot.load(path), GridMapperParameters()
    for name in ("pose_source", "max_odometry_gap", "world_frame", "base_frame"):
        assert getattr(robot, name) == getattr(node, name)
    assert robot.mapper == node.mapper_config()
    assert tuple(camera.name for camera in robot.cameras) == node.camera_names()
    np.testing.assert_array_equal(robot.cameras[0].base_from_optical, node.base_from_optical())


@given(st.integers(0, 200))
def test_snapshots_are_spread_over_all_frames(count):
    indices = snapshot_indices(count)
    assert len(indices) == min(6, count) and indices == sorted(set(indices))
    assert all(0 <= index < count for index in indices)


def test_the_worst_frames_of_several_recordings():
    entries = [
        {"kind": kind, "index": index, "value": value, "view": view}
        for kind, index, value in [("lowest_miou", i, i / 20) for i in range(12, 0, -1)]
        + [("most_false_free", i, i / 20) for i in range(12)]
        + [("snapshot", i, None) for i in range(12)]
        for view in ("camera", "overlay")
    ]
    chosen = worst_of(entries)
    by_kind = {
        kind: [e["index"] for e in chosen if e["kind"] == kind and e["view"] == "camera"]
        for kind in ("lowest_miou", "most_false_free", "snapshot")
    }
    assert by_kind["lowest_miou"] == [1, 2, 3, 4, 5, 6]
    assert by_kind["most_false_free"] == [11, 10, 9, 8, 7, 6]
    assert len(by_kind["snapshot"]) == 6 and len(chosen) == 36
