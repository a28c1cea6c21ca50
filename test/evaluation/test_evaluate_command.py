"""`seg-perception evaluate` as it is typed: one bag, many bags, thresholds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from driving_bags import write_drive, write_robot
from threshold_bundle import write_threshold_bundle

from seg_perception.cli import main


@pytest.fixture(scope="module")
def common(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("common")
    model, robot = write_threshold_bundle(folder / "bundle"), write_robot(folder / "robot.yaml")
    return ["evaluate", "--model", str(model), "--robot", str(robot), "--threads", "1"]


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    write_drive(folder / "one", 4)
    write_drive(folder / "two", 6)
    shutil.copytree(folder / "one", folder / "three")
    (folder / "three" / "one.mcap").write_bytes(b"no bag at all")
    return folder


def test_a_bag_in_and_a_verdict_out(common, bags, tmp_path, capsys):
    out, thresholds = tmp_path / "out", tmp_path / "thresholds.yaml"
    thresholds.write_text("mask.miou: {min: 0.9}\n")
    command = [*common, "--bag", str(bags / "two"), "--labels", "/truth/labels", "--out", str(out)]
    assert main([*command, "--thresholds", str(thresholds)]) == 0
    assert {path.name for path in out.iterdir()} >= {"metrics.json", "frames.jsonl", "junit.xml", "report.html", "bag"}
    printed = capsys.readouterr().out
    assert "6 masks and 6 grids of 6 frames" in printed and "mIoU" in printed
    thresholds.write_text("mask.miou: {min: 0.9}\nfrom nowhere: {min: 1}\n")
    assert main([*command, "--thresholds", str(thresholds)]) == 1, "judged anew, not evaluated anew"


def test_the_model_is_the_robots_unless_another_is_named(common, bags, tmp_path):
    model, robot = common[2], tmp_path / "robot.yaml"
    robot.write_text(Path(common[4]).read_text() + f"/**/segmenter: {{ros__parameters: {{model: {model}}}}}\n")
    assert main(["evaluate", "--bag", str(bags / "one"), "--robot", str(robot), "--out", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["model"]["bundle"].startswith(Path(model).name)


def test_the_precision_is_the_robots_unless_another_is_named(common, bags, tmp_path, capsys):
    robot = tmp_path / "robot.yaml"
    robot.write_text(Path(common[4]).read_text() + "/**/segmenter: {ros__parameters: {precision: int8}}\n")
    command = [*common[:3], "--robot", str(robot), "--bag", str(bags / "one"), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "precision is 'int8'" in capsys.readouterr().err
    assert main([*command, "--precision", "fp32"]) == 0


def test_results_of_before_are_said_to_be(common, bags, tmp_path, capsys):
    command = [*common, "--bag", str(bags / "one"), "--out", str(tmp_path / "out")]
    for again in (False, True):
        assert main(command) == 0
        assert ("results of before" in capsys.readouterr().out) == again


def test_a_recording_counts_once_whatever_names_it(common, bags, tmp_path):
    (tmp_path / "latest").symlink_to(bags / "one")
    (tmp_path / "run[2]").symlink_to(bags / "two")
    named = [str(bags / "one"), str(tmp_path / "latest"), str(bags / "on?"), str(tmp_path / "run[2]")]
    assert main([*common, "--out", str(tmp_path / "out"), "--bags", *named]) == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["frames"]["read"] == 10


def test_a_recording_that_is_missing_is_not_left_out_unnoticed(common, bags, tmp_path, capsys):
    assert main([*common, "--out", str(tmp_path / "out"), "--bags", str(bags / "one"), str(bags / "onw")]) == 2
    assert "onw" in capsys.readouterr().err


def test_labels_without_a_labelled_pixel_are_no_crash(common, bags, tmp_path, capsys):
    labels = tmp_path / "labels"
    labels.mkdir()
    cv2.imwrite(str(labels / "000000.png"), np.full((96, 128), 255, np.uint8))
    command = [*common, "--bag", str(bags / "one"), "--labels", str(labels), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "mask mIoU - on 1 labelled frames" in capsys.readouterr().out


def test_images_of_which_none_can_be_used_are_an_error(common, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    (images / "0.png").write_bytes(b"no image")
    assert main([*common, "--images", str(images), "--out", str(tmp_path / "out")]) == 2
    assert "none of the images" in capsys.readouterr().err


def test_many_bags_give_one_result_and_one_that_fails_is_named(common, bags, tmp_path, capsys):
    out = tmp_path / "out"
    command = [*common, "--bags", str(bags / "*"), "--workers", "2", "--labels", "/truth/labels", "--out", str(out)]
    assert main(command) == 1
    metrics = json.loads((out / "metrics.json").read_text())
    assert [failed["bag"] for failed in metrics["failed"]] == [str(bags / "three")]
    assert "three" in capsys.readouterr().out
    assert metrics["inputs"] == [str(bags / "one"), str(bags / "two")]
    assert metrics["frames"]["read"] == metrics["frames"]["labelled"] == 10
    frames = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]
    assert [frame["index"] for frame in frames] == list(range(10))
    assert [frame["bag"] for frame in frames] == [str(bags / "one")] * 4 + [str(bags / "two")] * 6
    for entry in json.loads((out / "pictures.json").read_text()):
        assert (out / entry["file"]).is_file()
    [single] = (out / "bags").glob("two-*")
    single = json.loads((single / "metrics.json").read_text())
    assert single["frames"]["read"] == 6
    assert (out / "report.html").is_file()


def test_a_recording_that_is_added_leaves_the_others_as_they_are(common, bags, tmp_path):
    out, recordings = tmp_path / "out", tmp_path / "recordings"
    named = [str(recordings / year / "drive") for year in ("*", "2025")]
    for year, frames in (("2025", 4), ("2024", 8)):
        shutil.copytree(bags / "one", recordings / year / "drive")
        finished = {path: path.stat().st_mtime_ns for path in out.glob("bags/*/metrics.json")}
        assert main([*common, "--bags", *named, "--out", str(out)]) == 0
        assert json.loads((out / "metrics.json").read_text())["frames"]["read"] == frames
        assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in finished.items())


def test_many_recordings_may_have_their_results_among_the_labels(common, bags, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    cv2.imwrite(str(labels / "000000.png"), np.zeros((60, 80), np.uint8))
    command = [*common, "--labels", str(labels), "--out", str(labels / "out")]
    for recordings in (["one"], ["one", "two"], ["one", "two"]):
        assert main([*command, "--bags", *(str(bags / name) for name in recordings)]) == 0


def test_a_mistake_in_the_options_can_be_corrected_in_the_same_place(common, bags, tmp_path, capsys):
    command = [*common, "--bags", str(bags / "one"), "--out", str(tmp_path)]
    assert main([*command, "--topics", "/nothing"]) == 2
    assert "/nothing" in capsys.readouterr().err
    assert main(command) == 0


def test_many_recordings_and_another_evaluation_do_not_share_a_folder(common, bags, tmp_path, capsys):
    single, many = ["--bag", str(bags / "two")], ["--bags", str(bags / "one")]
    other_options, other_bag = [*many, "--truth-lidar", "/lidar"], ["--bags", str(bags / "two")]
    for first, second, reason in (
        (single, many, "holds an evaluation with other bag"),
        (many, single, "holds an evaluation with other bag"),
        (many, other_options, "holds an evaluation with other truth_lidar"),
        (many, other_bag, "--bags does not name its recording"),
    ):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        assert main([*common, *first, "--out", str(out)]) == 0
        before = contents(out)
        assert main([*common, *second, "--out", str(out)]) == 2
        assert reason in capsys.readouterr().err
        assert contents(out) == before
        assert main([*common, *first, "--out", str(out)]) == 0, "the same again is welcome"


def test_when_no_bag_can_be_evaluated_that_is_an_error(common, bags, tmp_path, capsys):
    assert main([*common, "--bags", str(bags / "three"), "--out", str(tmp_path / "out")]) == 2
    assert "three" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--bags", "/nowhere/*"], "/nowhere/*"),
        (["--images", "/nowhere"], "/nowhere"),
        (["--bag", "/nowhere", "--workers", "0"], "--workers"),
        (["--bag", "/nowhere", "--workers", "2"], "--workers is for many recordings"),
        (["--images", "/nowhere", "--ray", "auto"], "--ray is for many recordings"),
        (["--images", "/nowhere", "--topics", "/image"], "--topics is for recordings"),
        (["--images", "/nowhere", "--truth-grid", "/grid"], "--truth-grid is for recordings"),
        (["--images", "/", "--label-remap", "remap.yaml"], "--label-remap is for labels"),
        (["--images", "/", "--label-form", "voc"], "--label-form is for labels"),
        (["--bag", "/nowhere", "--labels", "/topic", "--label-form", "voc"], "--label-form is for a folder"),
        (["--bag", "/nowhere", "--thresholds", "/none.yaml"], "/none.yaml"),
        (["--bag", "/nowhere", "--robot", "hovercraft"], "hovercraft"),
    ],
)
def test_a_mistake_is_one_line(common, tmp_path, capsys, arguments, reason):
    assert main([*common, "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and reason in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["--images", "--bags"])
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere/out"])
def test_a_place_that_cannot_be_written_is_one_line(common, tmp_path, capsys, source, place):
    (tmp_path / "file").write_text("what was there")
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "0.png"), np.zeros((60, 80, 3), np.uint8))
    out = tmp_path / place
    assert main([*common, source, str(tmp_path / "images"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"error: {out}: cannot be written (")
    assert (tmp_path / "file").read_text() == "what was there"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--images", "images"], "bag/one.mcap"),
        (["--images", "images"], "pictures/mine.txt"),
        (["--bag", "bag"], "bag/one.mcap"),
        (["--bags", "drive"], "pictures/mine.txt"),
        (["--bags", "bags/drive"], "bags/drive/one.mcap"),
        (["--bags", "drive"], "interrupted/mine.txt"),
    ],
)
def test_what_is_not_its_own_is_left_alone_by_an_evaluation(common, bags, tmp_path, capsys, arguments, kept):
    option, given = arguments
    mine = tmp_path / kept
    if mine.suffix == ".mcap":
        shutil.copytree(bags / "one", mine.parent)
    else:
        mine.parent.mkdir()
        mine.write_text("mine")
    if given == "images":
        (tmp_path / given).mkdir()
        cv2.imwrite(str(tmp_path / given / "0.png"), np.zeros((60, 80, 3), np.uint8))
    elif not (tmp_path / given).exists():
        shutil.copytree(bags / "one", tmp_path / given)
    before = contents(tmp_path)
    for _ in range(2):
        assert main([*common, option, str(tmp_path / given), "--out", str(tmp_path)]) == 2
        assert f"{tmp_path / Path(kept).parts[0]} was not made by this evaluation" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_recording_that_came_after_an_evaluation_failed_is_left_alone(common, bags, tmp_path, capsys):
    command = [*common, "--bag", str(bags / "one"), "--out", str(tmp_path)]
    assert main([*command, "--precision", "int8"]) == 2, "a variant that the bundle lacks"
    shutil.copytree(bags / "two", tmp_path / "bag")
    before = contents(tmp_path)
    assert main([*command, "--precision", "int8"]) == 2
    assert "was not made by this evaluation" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_ray_is_asked_for_only_where_it_is(common, bags, tmp_path, capsys):
    try:
        import ray  # noqa: F401
    except ImportError:
        assert main([*common, "--bags", str(bags / "one"), "--ray", "auto", "--out", str(tmp_path)]) == 2
        assert "pip install ray" in capsys.readouterr().err
    else:
        assert main([*common, "--bags", str(bags / "one"), "--ray", "auto", "--out", str(tmp_path)]) == 2
        assert "address of a running cluster" in capsys.readouterr().err


def test_a_killed_evaluation_goes_on(common, tmp_path):
    bag, whole, killed = write_drive(tmp_path / "bag", 150), tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-m", "seg_perception.cli", *common, "--bag", str(bag)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, "--out", str(killed)], env=environment, stderr=subprocess.DEVNULL) as process:
        recording, deadline = killed / "bag" / "bag.mcap", time.monotonic() + 60.0
        while not (recording.exists() and recording.stat().st_size > 40_000) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not (killed / "metrics.json").exists(), "it was killed too late for this test"
    for out in (killed, whole):
        assert main([*common, "--bag", str(bag), "--out", str(out)]) == 0
    results = [json.loads((out / "metrics.json").read_text()) for out in (killed, whole)]
    for section in ("grid", "flicker", "frames"):
        assert results[0][section] == results[1][section]
