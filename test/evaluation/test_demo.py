"""The demo with real nodes: what it leaves behind, also when it is interrupted or cannot run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("seg_perception.msg", reason="needs the built messages: make setup")

from test_material import BagMaker

from seg_perception.core import pose
from seg_perception.evaluation.bags import open_bag
from seg_perception.evaluation.recording import GRID, MASK, ODOMETRY, OVERLAY, TRUTH_GRID, TRUTH_LABELS

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 240


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "seg_perception.cli", "demo", *map(str, arguments)]


def demo(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def summary_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


def pictures_in(video: Path) -> int:
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:03}.png"), rng.integers(0, 256, (90, 160, 3), np.uint8))
    return folder


def test_a_folder_of_images_gives_a_mask_for_each_and_says_why_no_grid(tmp_path: Path) -> None:
    done = demo("--images", write_images(tmp_path / "images", 3), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "masks and overlays only: a folder of images" in done.stdout
    summary = summary_of(tmp_path / "out")
    assert (summary["frames_in"], summary["masks_out"], summary["grids_out"], summary["dropped"]) == (3, 3, 0, 0)
    assert summary["grid"] is None and "folder of images" in summary["why_no_grid"]
    assert pictures_in(tmp_path / "out" / "drive.mp4") == 3
    assert cv2.imread(str(tmp_path / "out" / "overview.png")) is not None


def test_a_bag_with_odometry_and_mount_gives_grids(tmp_path: Path) -> None:
    maker = BagMaker(tmp_path / "bag")
    maker.static("base_link", "optical", pose.base_from_optical((0.5, 0.0, 1.2), 0.0, 0.1, 0.0))
    maker.camera_info("/front/camera_info")
    for index in range(6):
        stamp_ns = (1 + index) * 100_000_000
        maker.odometry(stamp_ns, pose.from_rpy((0.2 * index, 0.0, 0.0), 0.0, 0.0, 0.0), speed=2.0)
        maker.image("/front/image", stamp_ns, 40 * index)
    maker.close()
    done = demo("--bag", tmp_path / "bag", "--out", tmp_path / "out", "--rate", 2)
    assert done.returncode == 0, done.stderr
    summary = summary_of(tmp_path / "out")
    assert summary["frames_in"] == 6 and summary["masks_out"] > 0 and summary["grids_out"] > 0
    with open_bag(tmp_path / "out" / "bag") as bag:
        assert bag.count(GRID) > 0 and bag.count(ODOMETRY) == 6
        assert bag.count("/tf") == (6 if find_spec("tf2_msgs") else 0)


def test_a_simulated_drive_is_scored_and_rendered_only_once(tmp_path: Path) -> None:
    arguments = ("--frames", 4, "--rate", 2, "--out", tmp_path / "out")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = demo(*arguments, **cache)
    assert first.returncode == 0, first.stderr
    summary = summary_of(tmp_path / "out")
    assert (summary["frames_in"], summary["masks_out"]) == (4, 4) and summary["grids_out"] > 0
    assert set(summary["latency_ms"]) == {"image_to_mask", "image_to_grid"}
    assert set(summary["latency_ms"]["image_to_grid"]) == {"p50", "p95", "p99"}
    assert 0.0 < summary["mask"]["miou"] <= 1.0
    assert {"false_free", "occupied_recall", "free_recall", "hidden_unknown", "cells"} <= set(summary["grid"])
    assert summary["grid"]["cells"] > 0 and summary["grid"]["hidden_unknown"] > 0.5
    assert len(summary["model"]["sha256"]) == 64 and summary["model"]["bundle"] and summary["model"]["precision"]
    assert summary["device"] == "cpu"
    with open_bag(tmp_path / "out" / "bag") as bag:
        assert (bag.count(TRUTH_GRID), bag.count(TRUTH_LABELS)) == (4, 4)
        values = np.concatenate([np.asarray(message.data) for *_, message in bag.messages([TRUTH_GRID])])
    assert set(np.unique(values)) == {-1, 0, 100}
    second = demo(*arguments, **cache)
    assert second.returncode == 0 and "rendering" in first.stderr and "rendering" not in second.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_its_nodes_and_leaves_a_readable_bag(tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    images = write_images(tmp_path / "images", 200)
    log = tmp_path / "stderr.txt"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command("--images", images, "--out", out, "--rate", 4), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors
        )
    deadline = time.monotonic() + TIMEOUT_S
    while frames_played(log) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(number)
    assert process.wait(TIMEOUT_S) == 0, log.read_text(encoding="utf-8")
    assert summary_of(out)["masks_out"] > 0
    with open_bag(out / "bag") as bag:
        assert bag.count(MASK) > 0 and bag.count(OVERLAY) > 0
    assert not nodes_started_with(out)


def frames_played(log: Path) -> int:
    """According to the progress bar."""
    return max(map(int, re.findall(r"(\d+)/200 ", log.read_text(encoding="utf-8"))), default=0)


def nodes_started_with(out: Path) -> list[str]:
    """Command lines of processes that got their parameters from `out`."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if f"--params-file {out}" in line]


@pytest.mark.parametrize("kept", ["bag/bag.mcap", "drive.mp4", "parameters.yaml"])
def test_what_no_demo_has_made_is_left_alone(tmp_path: Path, kept: str) -> None:
    mine = tmp_path / "out" / kept
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    done = demo("--images", write_images(tmp_path / "images", 1), "--out", tmp_path / "out")
    assert done.returncode == 2 and mine.read_text() == "mine"
    assert f"{tmp_path / 'out' / Path(kept).parts[0]} was not made here by a demo" in done.stderr
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]


def test_a_demo_replaces_an_earlier_one_but_not_the_bag_that_it_plays(tmp_path: Path) -> None:
    out, images = tmp_path / "out", write_images(tmp_path / "images", 2)
    for frames in (1, 2):
        done = demo("--images", images, "--out", out, "--frames", frames)
        assert done.returncode == 0, done.stderr
        assert summary_of(out)["frames_in"] == frames
    recorded = next((out / "bag").glob("*.mcap"))
    before = recorded.read_bytes()
    for played in (out / "bag", recorded):
        done = demo("--bag", played, "--out", out)
        assert done.returncode == 2 and "is where the demo would record to" in done.stderr
    assert recorded.read_bytes() == before


def test_a_node_that_cannot_start_is_named_with_its_reason(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 1)
    done = demo("--images", images, "--out", tmp_path / "out", "--device", "cuda:7")
    assert done.returncode == 2
    assert "segmenter" in done.stderr and "configure failed" in done.stderr
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_demo_without_a_mask_is_an_error_with_the_reason(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "0.png").write_bytes(b"no picture")
    done = demo("--images", images, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "segmenter has published nothing" in done.stderr and "neither JPEG nor PNG" in done.stderr
