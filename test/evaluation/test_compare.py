"""Two evaluations of the same frames: figures, intervals, and what is called better."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browse, needs_browser
from evaluated_run import TABLE, frames_of, metrics_of, write_run

from seg_perception.cli import main
from seg_perception.core.errors import DataError
from seg_perception.evaluation.compare import Difference, differences
from seg_perception.evaluation.compare_frames import pair

IDS = {c.name: c.id for c in TABLE.classes}


def write_frames(folder: Path, frames: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    (folder / "frames.jsonl").write_text("".join(json.dumps(frame) + "\n" for frame in frames))
    (folder / "metrics.json").write_text(json.dumps(metrics_of(frames)))
    return folder


def compared(tmp_path: Path, a: list[dict[str, Any]], b: list[dict[str, Any]]) -> dict[str, Difference]:
    pairs = pair(write_frames(tmp_path / "a", a), write_frames(tmp_path / "b", b))
    return {difference.figure: difference for difference in differences(pairs, IDS)}


def flickering(values: np.ndarray) -> list[dict[str, Any]]:
    """Frames that have nothing but this flicker of the mask."""
    return [
        {"bag": "b", "camera": "", "stamp_ns": index, "flicker": {"mask": value, "grid": None}, "latency_ms": {}}
        for index, value in enumerate(values.tolist())
    ]


def flicker_difference(tmp_path: Path, a: np.ndarray, b: np.ndarray) -> Difference:
    folders = []
    for name, values in (("a", a), ("b", b)):
        (tmp_path / name).mkdir()
        lines = [json.dumps(frame) + "\n" for frame in flickering(values)]
        (tmp_path / name / "frames.jsonl").write_text("".join(lines))
        folders.append(tmp_path / name)
    (found,) = differences(pair(*folders), {})
    return found


def _spread(frame: dict[str, Any]) -> dict[str, Any]:
    """With ids 0, 2, 4, … in place of 0, 1, 2, …"""
    if "confusion" not in frame:
        return frame
    confusion = np.zeros((2 * len(IDS), 2 * len(IDS)), int)
    confusion[::2, ::2] = frame["confusion"]
    return {**frame, "confusion": confusion.tolist()}


def test_classes_are_found_where_their_ids_leave_gaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, folders = frames_of(12), []
    metrics = metrics_of(frames)
    for name in ("a", "b"):
        folders.append(write_frames(tmp_path / name, frames_of(12)))
        wider = [{**c, "id": 2 * c["id"]} for c in metrics["classes"]]
        (folders[-1] / "metrics.json").write_text(json.dumps({**metrics, "classes": wider}))
        (folders[-1] / "frames.jsonl").write_text("".join(json.dumps(_spread(frame)) + "\n" for frame in frames))
    assert main(["compare", *(str(folder / "metrics.json") for folder in folders)]) == 0
    shown = next(line.split() for line in capsys.readouterr().out.splitlines() if "mask.iou.road" in line)
    assert float(shown[1]) == pytest.approx(metrics["mask"]["iou"]["road"], abs=1e-4)


def test_figures_of_all_frames_are_those_of_metrics_json(tmp_path: Path) -> None:
    frames = frames_of(60)
    metrics = metrics_of(frames)
    found = compared(tmp_path, frames, frames_of(60, seed=1))
    for name in ("mask.miou", "mask.pixel_accuracy", "mask.iou.pole", "flicker.mask", "flicker.grid"):
        value: Any = metrics
        for key in name.split("."):
            value = value[key]
        assert found[name].a == pytest.approx(value, rel=1e-5)
    for name in ("false_free", "occupied_recall", "false_occupied", "free_recall", "hidden_unknown"):
        assert found[f"grid.0-15.{name}"].a == pytest.approx(metrics["grid"]["0-15"][name])
    for name in ("p50", "p95", "p99"):
        assert found[f"latency_ms.total.{name}"].a == pytest.approx(metrics["latency_ms"]["total"][name])
    assert found["latency_ms.infer.p50"].a == pytest.approx(metrics["latency_ms"]["infer"]["p50"])


def test_a_class_that_the_labels_lack_is_not_in_the_mean(tmp_path: Path) -> None:
    frames, stray = frames_of(60), frames_of(60)
    scored = [(a, b) for a, b in zip(frames, stray, strict=True) if "confusion" in a]
    for one, other in scored:
        one["confusion"][6] = other["confusion"][6] = [0] * len(IDS)
        for row in (*one["confusion"], *other["confusion"]):
            row[6] = 0
    scored[0][1]["confusion"][0][6] = 1
    found = compared(tmp_path, frames, stray)["mask.miou"]
    assert 0 < found.a - found.b < 1e-4
    iou = metrics_of(frames)["mask"]["iou"].values()
    assert found.a == pytest.approx(np.nanmean(list(iou)), rel=1e-5)


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    frames = frames_of(60)
    for difference in compared(tmp_path, frames, frames).values():
        assert difference.low == difference.high == 0.0 and difference.better is None


def test_the_better_run_is_found_whichever_way_the_figure_goes(tmp_path: Path) -> None:
    found = compared(tmp_path, frames_of(300, seed=1, error=0.2), frames_of(300, seed=2, error=0.1))
    for name in ("mask.miou", "grid.0-15.false_free", "grid.0-15.false_occupied", "flicker.mask"):
        assert found[name].better == "B"
    assert found["mask.miou"].low > 0 and found["grid.0-15.false_free"].high < 0  # type: ignore[operator]
    swapped = compared(tmp_path / "swapped", frames_of(300, seed=2, error=0.1), frames_of(300, seed=1, error=0.2))
    assert swapped["mask.miou"].better == swapped["flicker.mask"].better == "A"


def test_the_interval_of_independent_frames_is_that_of_the_normal_distribution(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    a, gain = rng.normal(10, 5, 400), rng.normal(0.1, 1.0, 400)
    found = flicker_difference(tmp_path, a, a + gain)
    half = 1.96 * gain.std() / np.sqrt(400)
    assert found.low == pytest.approx(gain.mean() - half, abs=0.25 * half)
    assert found.high == pytest.approx(gain.mean() + half, abs=0.25 * half)


def test_frames_that_only_repeat_their_neighbours_do_not_make_it_surer(tmp_path: Path) -> None:
    gain = np.repeat(np.random.default_rng(4).normal(0.0, 1.0, 200), 5)
    found = flicker_difference(tmp_path, np.zeros(1000), gain)
    naive = 2 * 1.96 * gain.std() / np.sqrt(1000)
    assert found.low is not None and found.high is not None
    assert found.high - found.low > 1.6 * naive  # √5 = 2.2 times, were the blocks endless


def test_a_few_frames_give_no_interval(tmp_path: Path) -> None:
    found = compared(tmp_path, frames_of(7, error=0.2), frames_of(7, error=0.01))
    assert all(difference.low is None and difference.better is None for difference in found.values())
    assert found["mask.miou"].b > found["mask.miou"].a


def test_frames_are_paired_by_recording_camera_and_stamp(tmp_path: Path) -> None:
    frames = frames_of(40, cameras=("front", "left"))
    elsewhere = [{**frame, "bag": "/other/place/drive"} for frame in reversed(frames[:30])]
    pairs = pair(write_frames(tmp_path / "a", frames), write_frames(tmp_path / "b", elsewhere))
    assert (pairs.count, pairs.only_a, pairs.only_b) == (30, 10, 0)
    np.testing.assert_array_equal(pairs.a.flicker["mask"], pairs.b.flicker["mask"])
    stampless = [{**frame, "stamp_ns": 0} for frame in frames]
    pairs = pair(write_frames(tmp_path / "c", stampless), write_frames(tmp_path / "d", stampless))
    assert pairs.count == 40


def images_of(count: int) -> list[dict[str, Any]]:
    """Frames of a folder of images, whose stamps only count."""
    return [
        {**frame, "bag": "/data/images", "name": f"{index:03d}.png", "stamp_ns": (index + 1) * 10**8}
        for index, frame in enumerate(frames_of(count))
    ]


def test_images_of_folders_are_paired_by_name(tmp_path: Path) -> None:
    frames = images_of(13)
    fewer = [{**frame, "index": i, "stamp_ns": (i + 1) * 10**8} for i, frame in enumerate(frames[1:])]
    pairs = pair(write_frames(tmp_path / "a", frames), write_frames(tmp_path / "b", fewer))
    assert (pairs.count, pairs.only_a, pairs.only_b) == (12, 1, 0)
    assert pairs.a.confusion is not None
    np.testing.assert_array_equal(pairs.a.confusion, pairs.b.confusion)


def test_images_without_names_are_refused_and_recordings_are_not(tmp_path: Path) -> None:
    nameless = [{key: value for key, value in frame.items() if key != "name"} for frame in images_of(5)]
    named, old = write_frames(tmp_path / "a", images_of(5)), write_frames(tmp_path / "b", nameless)
    for folders in ((named, old), (old, named), (old, old)):
        with pytest.raises(DataError, match=r"b: an older version did not note which images it has; remove it and"):
            pair(*folders)
    simulated = [{**frame, "name": ""} for frame in nameless]  # time that begins at 0
    assert pair(write_frames(tmp_path / "c", simulated), write_frames(tmp_path / "d", simulated)).count == 5


def test_several_recordings_are_told_apart(tmp_path: Path) -> None:
    twice = [{**frame, "bag": f"/x/{name}/bag"} for name in ("one", "two") for frame in frames_of(20)]
    moved = [{**frame, "bag": frame["bag"].replace("/x", "/y/z")} for frame in twice]
    pairs = pair(write_frames(tmp_path / "a", twice), write_frames(tmp_path / "b", moved))
    assert (pairs.count, pairs.only_a, pairs.only_b) == (40, 0, 0)


def test_runs_without_a_common_frame_are_refused(tmp_path: Path) -> None:
    late = [{**frame, "stamp_ns": frame["stamp_ns"] + 1} for frame in frames_of(5)]
    with pytest.raises(DataError, match="no frame of the same recording, camera and stamp"):
        pair(write_frames(tmp_path / "a", frames_of(5)), write_frames(tmp_path / "b", late))


def test_models_of_other_classes_are_compared_in_what_they_share(tmp_path: Path) -> None:
    frames = frames_of(30)
    fewer = [{**f, "confusion": np.array(f["confusion"])[:5, :5].tolist()} if "confusion" in f else f for f in frames]
    a, b = write_frames(tmp_path / "a", frames), tmp_path / "b"
    b.mkdir()
    (b / "frames.jsonl").write_text("".join(json.dumps(frame) + "\n" for frame in fewer))
    names = [difference.figure for difference in differences(pair(a, b), {})]
    assert "grid.0-15.false_free" in names and "latency_ms.total.p50" in names and "mask.miou" not in names


def test_the_command_prints_a_table_and_writes_a_page_always_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_run(tmp_path / "a", frames_of(120, seed=1, error=0.2))
    b = write_run(tmp_path / "b<i>", frames_of(100, seed=2, error=0.1))
    arguments = ["compare", str(a / "metrics.json"), str(b / "metrics.json"), "--out", str(tmp_path / "page.html")]
    assert main(arguments) == 0
    text, page = capsys.readouterr().out, (tmp_path / "page.html").read_text()
    assert "100 frames in both (20 only in A, left out)" in text
    row = re.search(r"^mask\.miou +([0-9.]+) +([0-9.]+) +\+[0-9.]+ +\+[0-9.]+ \.\. \+[0-9.]+  B is better$", text, re.M)
    assert row is not None and row[1] in page and row[2] in page
    assert "b&lt;i&gt;" in page and "<i>" not in page.partition("<main>")[2].partition("<section")[0]
    assert "http://" not in page and "https://" not in page
    assert main(arguments) == 0
    assert capsys.readouterr().out == text and (tmp_path / "page.html").read_text() == page


@needs_browser
def test_a_browser_shows_the_page_without_a_complaint(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, frames_of(30, seed=seed)) for seed, name in enumerate("ab")]
    assert main(["compare", *(str(f / "metrics.json") for f in folders), "--out", str(tmp_path / "page.html")]) == 0
    assert browse(tmp_path / "page.html", f"--screenshot={tmp_path / 'page.png'}") == ""
    assert (tmp_path / "page.png").is_file()


def test_what_cannot_be_read_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write_frames(tmp_path / "a", frames_of(5))
    (tmp_path / "b").mkdir()
    assert main(["compare", str(a / "metrics.json"), str(tmp_path / "b" / "metrics.json")]) == 2
    (tmp_path / "b" / "metrics.json").write_text("[]")
    assert main(["compare", str(a / "metrics.json"), str(tmp_path / "b" / "metrics.json")]) == 2
    (tmp_path / "b" / "metrics.json").write_text("{}")
    assert main(["compare", str(a / "metrics.json"), str(tmp_path / "b" / "metrics.json")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "b/metrics.json: cannot be read" in errors[0]
    assert "is not the metrics.json of an evaluation" in errors[1]
    assert "b/frames.jsonl: cannot be read" in errors[2]


def _compare(capsys: pytest.CaptureFixture[str], *folders: Path) -> str:
    assert main(["compare", *(str(folder / "metrics.json") for folder in folders)]) == 0
    return capsys.readouterr().out


def test_grids_are_not_compared_against_different_truths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_frames(tmp_path / name, frames_of(20)) for name in ("a", "b")]
    for folder, truth in zip(folders, ("truth_grid", "hindsight"), strict=True):
        (folder / "metrics.json").write_text(json.dumps(metrics_of(frames_of(20)) | {"grid_truth": truth}))
    shown = _compare(capsys, *folders)
    assert "the truth of A is truth_grid, that of B hindsight" in shown and "grid.0-15" not in shown
    assert "mask.miou" in shown and "grid.0-15" in _compare(capsys, folders[0], folders[0])


def test_other_labels_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, other = frames_of(20), frames_of(20)
    labelled = [frame for frame in other if "confusion" in frame]
    for frame in labelled[:3]:
        frame["confusion"][0], frame["confusion"][1] = frame["confusion"][1], frame["confusion"][0]
    folders = [write_frames(tmp_path / "a", frames), write_frames(tmp_path / "b", other)]
    assert f"in 3 of {len(labelled)} labelled frames" in _compare(capsys, *folders)
    assert "labelled frames" not in _compare(capsys, folders[0], folders[0])
