"""The evaluation of grids: its baseline, its scores by distance, its real scenes and the command itself."""

from __future__ import annotations

import json
from dataclasses import replace
from math import radians
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("trimesh", reason="the simulation needs trimesh")
pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from seg_perception.cli import main
from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.errors import DataError
from seg_perception.core.grid import GridSpec
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.metrics import GRID_SHARES
from seg_perception.evaluation import grid_kitti, grid_nuscenes, grid_rellis
from seg_perception.evaluation.grid_bands import BANDS, BandScores, nested
from seg_perception.evaluation.grid_nuscenes import BOX_TABLE, Box, Sample, Shot
from seg_perception.evaluation.grid_pose_error import DISTURBANCES
from seg_perception.evaluation.grid_table import tables
from seg_perception.evaluation.ipm_baseline import InversePerspectiveMapper

DATA = Path(__file__).parents[3] / "shared" / "data"
ROAD, WALL = 1, 2
CAMERA = Camera(320, 200, np.array([[200.0, 0.0, 160.0], [0.0, 200.0, 80.0], [0.0, 0.0, 1.0]]))
MOUNT = pose.base_from_optical((1.0, 0.0, 1.5), 0.0, 0.1, 0.0)


def data(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


def mask_with_wall(distance: float) -> np.ndarray:
    """What CAMERA at MOUNT shows of an endless road and a wall across it, `distance` m ahead of base_link."""
    (pixel,), _ = CAMERA.project(pose.apply(pose.inverse(MOUNT), [(distance, 0.0, 0.0)]))
    mask = np.full((CAMERA.height, CAMERA.width), ROAD, np.uint8)
    mask[: round(float(pixel[1]))] = WALL
    return mask


def ahead(mapper: InversePerspectiveMapper, world_from_base: np.ndarray, distances: list[float]) -> list[int]:
    """Cells straight ahead of the vehicle."""
    spec, cells = mapper.occupancy()
    points = pose.apply(world_from_base, [(distance, 0.0, 0.0) for distance in distances])
    columns, rows = np.floor((points[:, :2] - (spec.origin_x, spec.origin_y)) / spec.resolution).astype(int).T
    return cells[rows, columns].tolist()


@given(x=st.floats(-500, 500), y=st.floats(-500, 500), yaw=st.floats(-3.1, 3.1))
@settings(max_examples=15)
def test_baseline_smears_what_stands_behind_its_foot(x: float, y: float, yaw: float) -> None:
    mapper = InversePerspectiveMapper(BOX_TABLE, MapperConfig(), CAMERA, MOUNT)
    world_from_base = pose.from_rpy((x, y, 0.0), 0.0, 0.0, yaw)
    mapper.update(mask_with_wall(10.0), world_from_base)
    assert ahead(mapper, world_from_base, [7.0, 9.0, 11.0, 20.0, 27.0, -5.0]) == [0, 0, 100, 100, -1, -1]


def test_baseline_believes_the_newest_mask_and_knows_no_roll_or_pitch() -> None:
    mapper = InversePerspectiveMapper(BOX_TABLE, MapperConfig(), CAMERA, MOUNT)
    mapper.update(mask_with_wall(8.0), np.eye(4))
    mapper.update(mask_with_wall(12.0), pose.from_rpy((0.0, 0.0, 0.0), 0.02, 0.03, 0.0))
    assert ahead(mapper, np.eye(4), [9.0, 11.0, 13.0]) == [0, 0, 100]


def test_scores_fall_into_their_bands() -> None:
    spec = GridSpec(1.0, 60, 60, -30.0, -30.0)
    x, y = spec.centres()
    distance = np.hypot(x[None, :] - 2.0, y[:, None])
    everywhere = np.ones((60, 60), bool)
    occupied = distance > 10.0
    scores = BandScores()
    occupancy = np.where(distance > 15.0, 0, 100).astype(np.int8)
    scores.update(occupancy, occupied, ~occupied, everywhere, everywhere, distance)
    figures = scores.figures()
    assert list(figures) == list(BANDS) and all(set(band) == set(GRID_SHARES) for band in figures.values())
    assert figures["10-15"]["occupied_recall"] == 1.0 and figures["15-25"]["false_free"] == 1.0
    assert figures["5-10"]["false_occupied"] == 1.0 and figures["5-10"]["occupied_recall"] is None
    assert figures["0-15"]["false_free"] == 0.0 and figures["0-15"]["hidden_unknown"] is None


@pytest.mark.parametrize("name", DISTURBANCES)
@given(yaw=st.floats(-3.1, 3.1), forward=st.floats(4.0, 25.0), left=st.floats(-2.0, 2.0))
@settings(max_examples=20)
def test_misstated_poses_move_the_ground_the_way_they_say(name: str, yaw: float, forward: float, left: float) -> None:
    true = pose.from_rpy((30.0, -7.0, 0.0), 0.0, 0.0, yaw) @ MOUNT
    point = pose.apply(pose.from_rpy((30.0, -7.0, 0.0), 0.0, 0.0, yaw), (1.0 + forward, left, 0.0))
    ray = pose.apply(pose.inverse(true), point)

    def seeming_distance(stated: np.ndarray) -> float:
        direction = stated[:3, :3] @ ray
        if direction[2] >= 0:
            return float("inf")
        return float(np.hypot(*(direction[:2] * -stated[2, 3] / direction[2])))

    disturbance, distance = DISTURBANCES[name], float(np.hypot(forward, left))
    assert seeming_distance(disturbance.nearer(true)) < distance < seeming_distance(disturbance.farther(true))


def test_matching_configurations_state_the_error() -> None:
    assert DISTURBANCES["2"].matching(MapperConfig()).pitch_error == pytest.approx(radians(2.0))
    assert DISTURBANCES["height_5_percent"].matching(MapperConfig()).height_error == pytest.approx(0.05)


def test_kitti_lane_keeps_its_width() -> None:
    lane = grid_kitti.measure_lane(data("kitti_road"))
    for ahead_m, width in grid_kitti.TRUE_WIDTH_M.items():
        assert lane.width_m[ahead_m] == pytest.approx(width, abs=0.101), ahead_m


def test_kitti_without_calibration(tmp_path: Path) -> None:
    for name in ("image.png", "gt_ego_lane.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="calib.txt"):
        grid_kitti.measure_lane(tmp_path)


def box(x: float, y: float, length: float = 2.0, width: float = 2.0, label: str = "car") -> Box:
    entry = {"label": label, "center": (x, y, 0.75), "size_lwh": (length, width, 1.5), "yaw": 0.0, "lidar_points": 5}
    return Box.of(entry)


def shot() -> Shot:
    return Shot("front", np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), CAMERA, MOUNT)


def test_masks_of_boxes_reach_from_the_sky_to_the_camera() -> None:
    mask, _, _ = grid_nuscenes.box_masks([box(10.0, 0.0), box(-10.0, 0.0), box(1.0, 4.0, length=8.0)])(shot())
    columns, rows = np.nonzero(mask == WALL)[::-1]
    middle = rows[(columns > 150) & (columns < 170)]
    (foot,), _ = CAMERA.project(pose.apply(pose.inverse(MOUNT), [(9.0, 0.0, 0.0)]))
    assert middle.max() == pytest.approx(foot[1], abs=1.5)
    assert (mask[0] == 0).any() and (mask[-1, 160] == ROAD)
    assert (mask[60:120, 0] == WALL).any()  # beside the camera and partly behind it, yet drawn to the border


def test_boxes_and_free_cells_of_a_sample_are_scored() -> None:
    rng = np.random.default_rng(1)
    ground = np.column_stack([rng.uniform(3, 18, 4000), rng.uniform(-5, 5, 4000), np.zeros(4000)])
    post = np.array([[6.05, -2.05, 1.0]])
    sample = Sample([shot()], [box(10.0, 0.0), box(30.0, 0.0)], np.vstack([ground, post]).astype(np.float32))
    grid = grid_nuscenes.map_sample(sample, grid_nuscenes.box_masks(sample.boxes), BOX_TABLE, MapperConfig())
    scores = grid_nuscenes.score_sample(sample, *grid)
    assert scores["boxes"] == 1 and scores["box_recall"] == 1.0 and scores["missed"] == []
    assert scores["free_not_occupied"] > 0.97
    spec, cells = grid
    free = grid_nuscenes.lidar_free(sample, spec)
    column, row = int((6.05 - spec.origin_x) / spec.resolution), int((-2.05 - spec.origin_y) / spec.resolution)
    assert free.any() and not free[row, column] and not (free & grid_nuscenes.footprint(sample.boxes[0], spec)).any()
    nothing = grid_nuscenes.score_sample(sample, spec, np.full_like(cells, -1))
    assert nothing["box_recall"] == 0.0 and [entry["label"] for entry in nothing["missed"]] == ["car"]


def test_nuscenes_boxes_come_to_lie_where_they_are() -> None:
    sample = grid_nuscenes.read_sample(data("nuscenes"))
    assert len(sample.shots) == 6
    grid = grid_nuscenes.map_sample(sample, grid_nuscenes.box_masks(sample.boxes), BOX_TABLE, MapperConfig())
    scores = grid_nuscenes.score_sample(sample, *grid)
    assert scores["box_recall"] >= 0.75 and scores["free_not_occupied"] >= 0.98


def test_rellis_ground_off_by_more_than_stated_is_unknown() -> None:
    ground = grid_rellis.read_ground(data("rellis"))
    assert 1.0 < ground.world_from_optical[2, 3] < 1.3
    config = replace(MapperConfig(), pitch_error=radians(1.0))
    cells = grid_rellis.cells_of(ground, *grid_rellis.map_ground(ground, config), config.max_range)
    beyond = cells.displacement > config.max_range_error
    assert beyond.sum() > 50 and (cells.values[beyond] < 0).mean() > 0.95
    right = cells.displacement < config.resolution
    assert (cells.values[right] >= 0).mean() > 0.5


def test_flat_ground_is_where_it_seems() -> None:
    points = np.array([(3.0, 0.0, 0.0), (9.0, 2.0, 0.0)])
    image = np.zeros((4, 4, 3), np.uint8)
    ground = grid_rellis.Ground(CAMERA, MOUNT, image, image[..., 0], points, points[:, :2])
    assert ground.displacement.tolist() == [0.0, 0.0] and ground.distance.tolist() == pytest.approx([2.0, 8.2462113])


def test_rellis_frame_that_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="RELLIS-3D"):
        grid_rellis.read_ground(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    out = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(out / "cache"))
        arguments = ["--out", str(out), "--data", str(out / "nowhere"), "--seeds", "1", "--frames", "2"]
        return out, main(["evaluate-grid", *arguments])


def test_command_writes_every_figure_and_says_what_it_skipped(finished: tuple[Path, int]) -> None:
    out, code = finished
    assert code == 0
    metrics = json.loads((out / "grid_metrics.json").read_text(encoding="utf-8"))
    assert set(metrics) == {"simulation", "kitti", "nuscenes", "rellis", "pitch_error"}
    assert set(metrics["simulation"]) == {"true_masks", "bundle_masks"}
    for masks in metrics["simulation"].values():
        assert set(masks) == {"ours", "baseline"}
        for bands in masks.values():
            assert list(bands) == ["0-5", "5-10", "10-15", "15-25", "0-15"]
            assert all(set(band) == set(GRID_SHARES) for band in bands.values())
    assert metrics["simulation"]["true_masks"]["ours"]["0-15"]["free_recall"] > 0.5
    assert list(metrics["pitch_error"]) == ["0.5", "1", "2", "height_5_percent"]
    for part in ("kitti", "nuscenes", "rellis"):
        assert "nowhere" in metrics[part]["skipped"]
    picture = cv2.imread(str(out / "simulation.jpg"))
    assert picture is not None and picture.std() > 10


def test_tables_hold_the_figures(finished: tuple[Path, int]) -> None:
    metrics = json.loads((finished[0] / "grid_metrics.json").read_text(encoding="utf-8"))
    metrics["kitti"] = {"lane_width_m": {str(ahead_m): 2.5 for ahead_m in grid_kitti.TRUE_WIDTH_M}}
    text = tables(metrics)
    recall = metrics["simulation"]["bundle_masks"]["ours"]["0-15"]["free_recall"]
    assert f"{100 * recall:.1f} %" in text and "| on the grid, m | 2.50 |" in text and "skipped: " in text


def test_command_refuses_nonsense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate-grid", "--out", str(tmp_path), "--seeds", "0"]) == 2
    assert "--seeds 0" in capsys.readouterr().err


def test_nested_names() -> None:
    assert nested({"a/b": {}, "a/c/d": {}}) == {"a": {"b": {}, "c": {"d": {}}}}


@pytest.mark.parametrize("command", [["evaluate-grid"], ["benchmark", "--compare", "road_lite"]])
def test_a_place_that_cannot_be_written_is_known_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([*command, "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'file'}: cannot be written (")
