"""Evaluations of recorded drives whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from driving_bags import NS, stamp_ns, write_drive, write_robot
from test_material import BagMaker
from threshold_bundle import write_threshold_bundle

from seg_perception.core.errors import DataError
from seg_perception.evaluation import evaluate_run
from seg_perception.evaluation.bags import open_bag
from seg_perception.evaluation.evaluate_run import Request, evaluate


@pytest.fixture(scope="module")
def common(tmp_path_factory) -> Request:
    folder = tmp_path_factory.mktemp("common")
    model, robot = write_threshold_bundle(folder / "bundle"), write_robot(folder / "robot.yaml")
    return Request(out="", model=str(model), robot=str(robot), threads=1)


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:
    return write_drive(tmp_path_factory.mktemp("drive") / "bag")


def run(request: Request) -> dict:
    return evaluate(request, lambda count: None, lambda frames: None)


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]


def stored(out: Path) -> list[tuple[str, int, bytes]]:
    """Masks, confidences, cameras and grids of the output bag."""
    found = []
    with open_bag(out / "bag") as bag:
        for topic, received, message in bag.messages([name for name in bag.topics if "overlay" not in name]):
            data = getattr(message, "data", getattr(message, "k", np.zeros(0)))
            found.append((topic, received, bytes(data)))
    return found


def test_masks_and_grids_of_every_frame_with_their_figures(common, drive, tmp_path):
    request = replace(common, bag=str(drive), out=str(tmp_path), labels="/truth/labels", truth_grid="/truth/grid")
    metrics = run(request)
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["frames"] == {"read": 20, "masks": 20, "grids": 20, "labelled": 20, "skipped": {}}
    assert metrics["mask"]["classes"] == ["dark", "bright"]
    assert metrics["mask"]["miou"] > 0.95
    matrix = np.array(metrics["mask"]["confusion"])
    assert matrix.sum() == 20 * 128 * 96
    hit = np.diag(matrix)
    np.testing.assert_allclose(
        list(metrics["mask"]["dice"].values()), 2 * hit / (matrix.sum(0) + matrix.sum(1)), atol=1e-6
    )
    near = metrics["grid"]["0-15"]
    assert metrics["grid_truth"] == "truth_grid"
    assert near["occupied_recall"] > 0.7 and near["false_free"] < 0.1
    assert near["free_recall"] > 0.5 and near["false_occupied"] < 0.2
    assert near["hidden_unknown"] > 0.95
    assert near["cells"] == sum(metrics["grid"][band]["cells"] for band in ("0-5", "5-10", "10-15"))
    assert all(stage in metrics["latency_ms"] for stage in ("decode", "infer", "grid", "write", "total"))
    frames = lines(tmp_path)
    assert [frame["stamp_ns"] for frame in frames] == [stamp_ns(index) for index in range(20)]
    assert all(frame["skipped"] is None and frame["mask"]["miou"] > 0.9 for frame in frames)
    total = frames[7]["latency_ms"]
    assert total["total"] == pytest.approx(total["decode"] + total["infer"] + total["grid"] + total["write"], abs=1e-2)


def test_a_truth_that_says_otherwise_gives_bad_figures(common, tmp_path):
    def spoil(index, messages):
        messages["/truth/grid"].data.reshape(300, 200)[85:95] = 100  # another wall, from x = 5.5 m to 6.5 m
        messages["/truth/labels"].data = 1 - messages["/truth/labels"].data

    bag = write_drive(tmp_path / "bag", 8, spoil)
    metrics = run(
        replace(common, bag=str(bag), out=str(tmp_path / "out"), labels="/truth/labels", truth_grid="/truth/grid")
    )
    assert metrics["mask"]["miou"] < 0.05
    assert metrics["grid"]["0-15"]["false_free"] > 0.5


def test_a_lidar_tells_the_truth_as_well(common, drive, tmp_path):
    near = run(replace(common, bag=str(drive), out=str(tmp_path), truth_lidar="/lidar"))["grid"]["0-15"]
    assert near["occupied_recall"] > 0.7 and near["false_free"] < 0.1
    assert near["free_recall"] > 0.5 and near["false_occupied"] < 0.2


def test_in_hindsight_the_ground_driven_over_was_free(common, tmp_path):
    seeing = write_drive(tmp_path / "seeing", 30)
    metrics = run(replace(common, bag=str(seeing), out=str(tmp_path / "good")))
    assert metrics["grid_truth"] == "hindsight" and metrics["mask"] is None
    assert metrics["grid"]["0-5"]["free_recall"] > 0.7 and metrics["grid"]["0-5"]["false_occupied"] == 0.0
    assert metrics["grid"]["0-5"]["false_free"] is None
    blind = write_drive(tmp_path / "bag", 30, dark=255)  # all looks like an obstacle
    metrics = run(replace(common, bag=str(blind), out=str(tmp_path / "bad")))
    assert metrics["grid"]["0-5"]["free_recall"] == 0.0


def test_the_same_bag_gives_the_same_bytes(common, drive, tmp_path):
    for name in ("a", "b"):
        run(replace(common, bag=str(drive), out=str(tmp_path / name), labels="/truth/labels"))
    first = stored(tmp_path / "a")
    assert first == stored(tmp_path / "b")
    assert {topic for topic, *_ in first} == {
        "/segmentation/mask",
        "/segmentation/confidence",
        "/segmentation/camera_info",
        "/segmentation/classes",
        "/occupancy_grid",
    }
    with_latency = [lines(tmp_path / name) for name in ("a", "b")]
    assert [[{**line, "latency_ms": None} for line in found] for found in with_latency][0] == [
        {**line, "latency_ms": None} for line in with_latency[1]
    ]


def test_frames_that_cannot_be_used_are_counted_with_their_reasons(common, tmp_path):
    def spoil(index, messages):
        if index < 3:
            del messages["/camera_info"]  # until the first one is there a frame waits for it, at most a second
        if index == 5:
            messages["/image"].encoding = "nonsense"
        if index == 6:
            messages["/image"].header.stamp.sec = messages["/image"].header.stamp.nanosec = 0
        if index == 7:
            stamp = messages["/image"].header.stamp
            stamp.sec, stamp.nanosec = divmod(stamp_ns(4), NS)
        if index == 8:
            del messages["/truth/labels"]
        if index == 9:
            messages["/truth/labels"].encoding = "rgb8"

    bag = write_drive(tmp_path / "bag", 12, spoil)
    metrics = run(replace(common, bag=str(bag), out=str(tmp_path / "out"), labels="/truth/labels"))
    assert metrics["frames"]["skipped"] == {
        "no label": 2,  # the label of the image without a stamp has none either
        "stale stamp": 1,
        "undecodable image": 1,
        "unusable label": 1,
        "zero stamp": 1,
    }
    assert metrics["frames"]["masks"] == 10 and metrics["frames"]["grids"] == 9
    found = lines(tmp_path / "out")
    assert "nonsense" in found[5]["detail"] and "behind" in found[7]["detail"]
    assert found[6]["stamp_ns"] == stamp_ns(6), "the time of its recording"


def test_rectified_images_give_the_grids_of_the_projection_matrix(common, drive, tmp_path):
    def bend(index, messages):
        info = messages["/camera_info"]
        info.p = np.hstack([info.k.reshape(3, 3), np.zeros((3, 1))]).ravel()
        info.k, info.d = info.k * np.array([0.7, 1, 1, 1, 0.7, 1, 1, 1, 1]), np.array([-0.3, 0.1, 0.0, 0.0, 0.0])

    run(replace(common, bag=str(drive), out=str(tmp_path / "straight")))
    for name, image in (("rectified", "/image_rect"), ("raw", "/image")):
        bent = write_drive(tmp_path / f"{name}.bag", spoil=bend, image=image)
        run(replace(common, bag=str(bent), out=str(tmp_path / name)))
    grids = {name: _grids(stored(tmp_path / name)) for name in ("straight", "rectified", "raw")}
    assert len(grids["straight"]) == 20
    assert grids["rectified"] == grids["straight"] != grids["raw"]


def _grids(messages: list[tuple[str, int, bytes]]) -> list[bytes]:
    return [data for topic, _, data in messages if topic == "/occupancy_grid"]


@pytest.mark.parametrize(("topic", "reason"), [("/camera_info", "no camera_info"), ("/odom", "no pose")])
def test_without_calibration_or_odometry_there_are_masks_alone(common, tmp_path, topic, reason):
    bag = write_drive(tmp_path / "bag", 5, without=("/tf", topic))
    metrics = run(replace(common, bag=str(bag), out=str(tmp_path / "out")))
    assert metrics["frames"] == {"read": 5, "masks": 5, "grids": 0, "labelled": 0, "skipped": {reason: 5}}
    assert metrics["grid"] is None and metrics["grid_truth"] is None


@pytest.mark.parametrize(
    ("size", "grids", "skipped"),
    [((256, 192), 5, {}), ((256, 144), 0, {"unusable ego_mask": 5})],
    ids=["aligned", "another-aspect"],
)
def test_an_ego_mask_hides_what_it_shows_or_is_refused(common, tmp_path, size, grids, skipped):
    ego = tmp_path / "ego.png"
    cv2.imwrite(str(ego), np.full(size[::-1], 255, np.uint8))
    robot = write_robot(tmp_path / "robot.yaml", ego_mask=str(ego))
    bag = write_drive(tmp_path / "bag", 5)
    metrics = run(replace(common, bag=str(bag), robot=str(robot), out=str(tmp_path / "out")))
    assert metrics["frames"]["grids"] == grids and metrics["frames"]["skipped"] == skipped
    found = [np.frombuffer(data, np.int8) for topic, _, data in stored(tmp_path / "out") if topic == "/occupancy_grid"]
    assert len(found) == grids and all((grid == -1).all() for grid in found)
    assert grids or "ego_mask is 256x144" in lines(tmp_path / "out")[0]["detail"]


def test_poses_and_mount_from_tf_need_no_odometry(common, tmp_path):
    bag = write_drive(tmp_path / "bag", without=("/odom",))
    robot = write_robot(tmp_path / "robot.yaml", pose_source="auto", mount={"z": 9.0})
    request = replace(common, bag=str(bag), robot=str(robot), out=str(tmp_path / "out"), truth_grid="/truth/grid")
    metrics = run(request)
    assert metrics["poses"] == "TF" and metrics["frames"]["grids"] == 20
    assert metrics["grid"]["0-15"]["occupied_recall"] > 0.7


def test_a_drive_that_was_played_twice_starts_anew(common, tmp_path):
    bag = write_drive(tmp_path / "bag", 20, times=2)
    metrics = run(replace(common, bag=str(bag), out=str(tmp_path / "out")))
    assert metrics["frames"] == {"read": 40, "masks": 40, "grids": 40, "labelled": 0, "skipped": {}}
    grids = [data for topic, _, data in stored(tmp_path / "out") if topic == "/occupancy_grid"]
    assert grids[:20] == grids[20:]


def test_labels_of_a_topic_are_remapped(common, drive, tmp_path):
    request = replace(common, bag=str(drive), out=str(tmp_path), labels="/truth/labels", label_remap=((0, 1), (1, 0)))
    assert run(request)["mask"]["miou"] < 0.05
    with pytest.raises(DataError, match="wall"):
        run(replace(request, out=str(tmp_path / "other"), label_remap=(("wall", 1),)))


def test_ids_of_a_label_topic_that_are_no_class_are_unlabelled(common, drive, tmp_path):
    def spoil(index, messages):
        messages["/truth/labels"].data[:1280] = 7  # the sky, with an id that the model lacks

    bag = write_drive(tmp_path / "bag", 3, spoil)
    metrics = run(replace(common, bag=str(bag), out=str(tmp_path / "out"), labels="/truth/labels"))
    assert np.sum(metrics["mask"]["confusion"]) == 3 * (128 * 96 - 1280)


def test_a_remap_of_a_label_topic_knows_other_ids(common, tmp_path):
    def spoil(index, messages):
        messages["/truth/labels"].data = messages["/truth/labels"].data + np.uint8(100)

    bag = write_drive(tmp_path / "bag", 3, spoil)
    request = replace(common, bag=str(bag), labels="/truth/labels", label_remap=((100, 0), (101, 1)))
    assert run(replace(request, out=str(tmp_path / "out")))["mask"]["miou"] > 0.95


def test_a_lost_gpu_is_in_the_results(common, drive, tmp_path, monkeypatch):
    load = evaluate_run.load_engine

    def lost(*args):
        engine = load(*args)
        engine.degraded = "the GPU is gone; now running another engine"
        return engine

    monkeypatch.setattr(evaluate_run, "load_engine", lost)
    metrics = run(replace(common, bag=str(drive), out=str(tmp_path)))
    assert metrics["damage"] == ["the GPU is gone; now running another engine"]


def _cut_cloud(messages):
    messages["/lidar"].data = messages["/lidar"].data[:-1]


def _short_rows(messages):
    messages["/lidar"].row_step = 0


def _strange_types(messages):
    messages["/lidar"].fields[0].datatype = 99


def _cut_grid(messages):
    messages["/truth/grid"].data = messages["/truth/grid"].data[:-1]


@pytest.mark.parametrize("spoiled", [_cut_cloud, _short_rows, _strange_types, _cut_grid])
def test_a_broken_truth_costs_its_frame_alone(common, tmp_path, spoiled):
    def spoil(index, messages):
        if index == 2:
            spoiled(messages)

    bag = write_drive(tmp_path / "bag", 5, spoil)
    truth = {"truth_grid": "/truth/grid"} if spoiled is _cut_grid else {"truth_lidar": "/lidar"}
    metrics = run(replace(common, bag=str(bag), out=str(tmp_path / "out"), **truth))
    assert metrics["frames"]["skipped"] == {"no truth of the ground": 1}
    assert "correct its publisher" in lines(tmp_path / "out")[2]["detail"]


@pytest.mark.parametrize("change", ["ego mask", "bundle"])
def test_what_the_robot_file_and_the_model_name_is_part_of_the_evaluation(common, drive, tmp_path, change):
    ego, model = tmp_path / "ego.png", write_threshold_bundle(tmp_path / "bundle")
    cv2.imwrite(str(ego), np.zeros((96, 128), np.uint8))
    robot = write_robot(tmp_path / "robot.yaml", ego_mask=str(ego))
    request = replace(common, bag=str(drive), robot=str(robot), model=str(model), out=str(tmp_path / "out"))
    run(request)
    if change == "ego mask":
        cv2.imwrite(str(ego), np.full((96, 128), 255, np.uint8))
    else:
        manifest = model / "bundle.yaml"
        manifest.write_text(manifest.read_text().replace("kind: ground", "kind: obstacle"))
    with pytest.raises(DataError, match="other (ego_mask|model)"):
        run(request)


@pytest.mark.parametrize("text", ["{", "[]", '"text"'])
def test_a_request_that_cannot_be_read_is_named(common, drive, tmp_path, text):
    (tmp_path / "request.json").write_text(text)
    with pytest.raises(DataError, match="request.json"):
        run(replace(common, bag=str(drive), out=str(tmp_path)))


def test_two_topics_of_one_camera_are_refused(common, tmp_path):
    maker = BagMaker(tmp_path / "bag")
    for topic in ("/front/image_raw", "/front/image_rect"):
        maker.image(topic, 100, 1)
    maker.close()
    request = replace(common, bag=str(tmp_path / "bag"), out=str(tmp_path / "out"))
    with pytest.raises(DataError, match="/front/image_raw and /front/image_rect are of one camera"):
        run(replace(request, topics=("/front/image_raw", "/front/image_rect")))
    assert run(replace(request, topics=("/front/image_raw", "/front/image_raw")))["frames"]["read"] == 1


@pytest.mark.parametrize("rule", ["crop", "letterbox", "stretch"])
def test_the_picture_of_differences_is_right_where_the_mask_is(common, tmp_path, rule):
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder in (images, labels):
        folder.mkdir()
    truth = np.zeros((60, 200), np.uint8)
    truth[:, 80:] = 1
    cv2.imwrite(str(images / "0.png"), np.repeat(truth[:, :, None] * 255, 3, axis=2))
    cv2.imwrite(str(labels / "0.png"), truth)
    model = write_threshold_bundle(tmp_path / "bundle", resize=rule)
    run(replace(common, images=str(images), labels=str(labels), model=str(model), out=str(tmp_path / "out")))
    entries = json.loads((tmp_path / "out" / "pictures.json").read_text())
    (picture,) = {entry["file"] for entry in entries if entry["view"] == "difference" and entry["kind"] == "snapshot"}
    blue, green, red = cv2.imread(str(tmp_path / "out" / picture)).transpose(2, 0, 1).astype(int)
    assert np.mean(green > red + 20) > 0.2 and np.mean(red > green + 20) < 0.02


def test_an_interrupted_evaluation_goes_on_without_asking_the_model_again(common, drive, tmp_path, monkeypatch):
    whole, halves = (replace(common, bag=str(drive), out=str(tmp_path / name)) for name in ("whole", "halves"))
    run(whole)
    load, asked = evaluate_run.load_engine, []

    class Counting:
        def __init__(self, engine, last):
            self._engine, self._last = engine, last
            self.resize, self.description, self.degraded = engine.resize, engine.description, ""

        def infer(self, image):
            asked.append(1)
            if len(asked) > self._last:
                raise KeyboardInterrupt
            return self._engine.infer(image)

    monkeypatch.setattr(evaluate_run, "load_engine", lambda *args: Counting(load(*args), 12))
    with pytest.raises(KeyboardInterrupt):
        run(halves)
    assert not (tmp_path / "halves" / "metrics.json").exists()
    asked.clear()
    monkeypatch.setattr(evaluate_run, "load_engine", lambda *args: Counting(load(*args), 1000))
    again = run(halves)
    assert 0 < len(asked) < 20
    assert stored(tmp_path / "halves") == stored(tmp_path / "whole")
    assert again["grid"] == json.loads((tmp_path / "whole" / "metrics.json").read_text())["grid"]
    assert not (tmp_path / "halves" / "interrupted").exists()
    asked.clear()
    assert run(halves) == again and not asked, "it is finished already"


def test_results_of_another_evaluation_are_not_overwritten(common, drive, tmp_path):
    run(replace(common, bag=str(drive), out=str(tmp_path)))
    with pytest.raises(DataError, match="truth_lidar"):
        run(replace(common, bag=str(drive), out=str(tmp_path), truth_lidar="/lidar"))


@pytest.mark.parametrize("below", ["out", "results/of/today", "bags/today", "."])
def test_results_below_what_was_evaluated_do_not_change_it(common, tmp_path, below):
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((60, 80, 3), 200 * index, np.uint8))
    request = replace(common, images=str(tmp_path), labels=str(tmp_path), out=str(tmp_path / below))
    assert run(request) == run(request)
    cv2.imwrite(str(tmp_path / "2.png"), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match="other images, labels"):
        run(request)


def test_images_beside_a_folder_called_bags_are_no_results(common, tmp_path):
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "0.png"), np.zeros((60, 80, 3), np.uint8))
    request = replace(common, images=str(tmp_path / "pictures"), out=str(tmp_path / "bags" / "today"))
    run(request)
    cv2.imwrite(str(tmp_path / "pictures" / "1.png"), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match="other images"):
        run(request)


def test_images_below_the_results_are_no_results(common, tmp_path):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "0.png"), np.zeros((60, 80, 3), np.uint8))
    request = replace(common, images=str(tmp_path / "images"), out=str(tmp_path))
    assert run(request) == run(request)
    cv2.imwrite(str(tmp_path / "images" / "1.png"), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match="other images"):
        run(request)


def test_a_folder_of_images_with_labels(common, tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for index, suffix in enumerate((".png", ".jpg", ".bmp")):
        picture = np.zeros((60, 80, 3), np.uint8)
        picture[:, 40:] = 255
        cv2.imwrite(str(images / f"{index}{suffix}"), picture)
        if index:
            cv2.imwrite(str(labels / f"{index}.png"), (picture[..., 0] > 127).astype(np.uint8))
    (images / "3.png").write_bytes(b"no picture")
    (images / "4.png").symlink_to("nowhere.png")
    metrics = run(replace(common, images=str(images), labels=str(labels), out=str(tmp_path / "out")))
    assert metrics["frames"] == {
        "read": 5,
        "masks": 3,
        "grids": 0,
        "labelled": 2,
        "skipped": {"no label": 1, "undecodable image": 2},
    }
    assert metrics["mask"]["miou"] > 0.98 and metrics["grid"] is None
    assert [line["name"] for line in lines(tmp_path / "out")] == ["0.png", "1.jpg", "2.bmp", "3.png", "4.png"]
    assert json.loads((tmp_path / "out" / "pictures.json").read_text())[0]["kind"] == "lowest_miou"


def test_an_image_does_not_get_the_label_of_the_one_whose_name_is_its_number(common, tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(images / f"{number:06}.png"), np.zeros((60, 80, 3), np.uint8))
    cv2.imwrite(str(labels / "000001.png"), np.zeros((60, 80), np.uint8))
    run(replace(common, images=str(images), labels=str(labels), out=str(tmp_path / "out")))
    assert [frame["skipped"] for frame in lines(tmp_path / "out")] == [None, "no label", "no label"]


def test_two_images_for_one_label_are_refused(common, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in ("images/0.png", "images/0.bmp", "labels/0.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((60, 80), np.uint8))
    request = replace(common, images=str(tmp_path / "images"), out=str(tmp_path / "out"))
    with pytest.raises(DataError, match="0.png and .*0.bmp: have one name"):
        run(replace(request, labels=str(tmp_path / "labels")))
    assert run(request)["frames"]["masks"] == 2, "without labels a name means nothing"


def test_labels_of_a_recording_are_found_by_stamp_or_number(common, tmp_path):
    bag, labels = write_drive(tmp_path / "bag", 4), tmp_path / "labels"
    labels.mkdir()
    for name in (stamp_ns(0), "000002"):
        cv2.imwrite(str(labels / f"{name}.png"), np.zeros((96, 128), np.uint8))
    run(replace(common, bag=str(bag), labels=str(labels), out=str(tmp_path / "out")))
    assert [frame["skipped"] for frame in lines(tmp_path / "out")] == [None, "no label", None, "no label"]


def test_each_of_several_cameras_has_labels_of_its_own(common, tmp_path):
    maker = BagMaker(tmp_path / "bag")
    for index in range(2):
        for camera in ("front", "rear"):
            maker.image(f"/{camera}/image", stamp_ns(index), 0)
    maker.close()
    labels = tmp_path / "labels"
    labels.mkdir()
    cv2.imwrite(str(labels / f"{stamp_ns(0)}.png"), np.zeros((2, 2), np.uint8))
    request = replace(common, bag=str(tmp_path / "bag"), topics=("all",), labels=str(labels), out=str(tmp_path / "out"))
    with pytest.raises(DataError, match="front, rear"):
        run(request)
    assert not (tmp_path / "out").exists()
    (labels / "front").mkdir()
    (labels / f"{stamp_ns(0)}.png").rename(labels / "front" / f"{stamp_ns(0)}.png")
    run(request)
    labelled = [(f["camera"], f["stamp_ns"]) for f in lines(tmp_path / "out") if "confusion" in f]
    assert labelled == [("front", stamp_ns(0))]


def test_pictures_of_the_worst_frames_are_kept_and_no_others(common, drive, tmp_path):
    run(replace(common, bag=str(drive), out=str(tmp_path), labels="/truth/labels", truth_grid="/truth/grid"))
    entries = json.loads((tmp_path / "pictures.json").read_text())
    assert {entry["file"] for entry in entries} == {f"pictures/{p.name}" for p in (tmp_path / "pictures").iterdir()}
    frames = lines(tmp_path)
    worst = sorted(frames, key=lambda frame: (frame["mask"]["miou"], frame["index"]))[:6]
    shown = [entry for entry in entries if entry["kind"] == "lowest_miou" and entry["view"] == "overlay"]
    assert [entry["index"] for entry in shown] == [frame["index"] for frame in worst]
    assert [entry["value"] for entry in shown] == [frame["mask"]["miou"] for frame in worst]
    snapshots = [e["index"] for e in entries if e["kind"] == "snapshot" and e["view"] == "truth"]
    assert len(snapshots) == 6 and snapshots == sorted(snapshots)
    for entry in entries:
        assert cv2.imread(str(tmp_path / entry["file"])) is not None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bag": "/nowhere"}, "no such bag"),
        ({"truth_grid": "/nothing"}, "/truth/grid"),
        ({"labels": "/nothing"}, "/truth/labels"),
        ({"topics": ("/nothing",)}, "/image"),
    ],
    ids=["bag", "truth", "labels", "topics"],
)
def test_what_is_asked_for_in_vain_is_said_at_once(common, drive, tmp_path, change, reason):
    with pytest.raises(DataError, match=reason):
        run(replace(common, **{"bag": str(drive), "out": str(tmp_path / "out"), **change}))
    assert not (tmp_path / "out").exists()
