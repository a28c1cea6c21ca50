"""Thresholds on figures: what passes, what is missed and why, and the junit.xml that says so."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_perception.core.errors import DataError
from seg_perception.evaluation.verdict import check, load_thresholds, read_outcomes

METRICS = {
    "mask": {"miou": 0.65, "iou": {"road": 0.9, "traffic.light": 0.25, "pole": None, "tree": float("nan")}},
    "grid": {"0-15": {"false_free": 0.004}},
    "latency_ms": {"total": {"p99": 41}},
    "frames": {"skipped": {}},
}


def verdict(tmp_path: Path, yaml: str) -> bool:
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    (tmp_path / "thresholds.yaml").write_text(yaml)
    return check(tmp_path, tmp_path / "thresholds.yaml")


def failures(tmp_path: Path) -> list[str]:
    return [node.attrib["message"] for node in ElementTree.parse(tmp_path / "junit.xml").iter("failure")]


def test_figures_within_their_bounds_pass(tmp_path: Path) -> None:
    assert verdict(
        tmp_path,
        "mask.miou: {min: 0.65}\ngrid.0-15.false_free: {max: 0.01}\nlatency_ms.total.p99: {min: 1, max: 41.0}\n"
        "mask.iou.traffic.light: {min: 0.2}",
    )
    suite = ElementTree.parse(tmp_path / "junit.xml").find("testsuite")
    assert suite is not None and (suite.attrib["tests"], suite.attrib["failures"]) == ("4", "0")
    assert [case.attrib["name"] for case in suite.iter("testcase")] == [
        "mask.miou >= 0.65",
        "grid.0-15.false_free <= 0.01",
        "1 <= latency_ms.total.p99 <= 41",
        "mask.iou.traffic.light >= 0.2",
    ]
    outcomes = read_outcomes(tmp_path)
    assert outcomes is not None and [outcome.measured for outcome in outcomes] == [0.65, 0.004, 41.0, 0.25]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("mask.miou: {min: 0.7}", "mask.miou is 0.65, wanted mask.miou >= 0.7"),
        ("grid.0-15.false_free: {max: 0.001}", "grid.0-15.false_free is 0.004, wanted grid.0-15.false_free <= 0.001"),
        ("mask.mIoU: {min: 0.1}", "mask.mIoU is missing: mask has miou, iou"),
        ("grid.5-10.false_free: {max: 1}", "grid.5-10.false_free is missing: it was not measured"),
        ("flicker.mask: {max: 1}", "flicker.mask is missing: it was not measured"),
        ("flicker: {max: 1}", "flicker is missing: metrics.json has mask, grid, latency_ms, frames"),
        ("frames.skipped.no pos: {max: 5}", "frames.skipped.no pos is missing: frames.skipped has nothing"),
        ("mask.iou.pole: {min: 0}", "mask.iou.pole is missing: it was not measured"),
        ("mask.iou.tree: {min: 0}", "mask.iou.tree is missing: it was not measured"),
        ("latency_ms.total: {max: 50}", "latency_ms.total is missing: it has the parts p99; name one"),
    ],
)
def test_a_missed_or_missing_figure_fails_and_says_so(tmp_path: Path, yaml: str, message: str) -> None:
    assert not verdict(tmp_path, f"{yaml}\nmask.iou.road: {{min: 0}}")
    assert failures(tmp_path) == [message]
    outcomes = read_outcomes(tmp_path)
    assert outcomes is not None and [outcome.failure for outcome in outcomes] == [message, None]


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_bound_is_kept_exactly_when_the_figure_is_on_its_side(
    tmp_path_factory: pytest.TempPathFactory, value: float, low: float, high: float
) -> None:
    low, high = min(low, high), max(low, high)
    out = tmp_path_factory.mktemp("out")
    (out / "metrics.json").write_text(json.dumps({"a": value}))
    (out / "t.yaml").write_text(json.dumps({"a": {"min": low, "max": high}}))  # 1e-05 is a word to YAML 1.1
    assert check(out, out / "t.yaml") == (low <= value <= high)


def test_a_reason_that_did_not_occur_was_counted_zero_times(tmp_path: Path) -> None:
    assert verdict(tmp_path, "frames.skipped.no pose: {max: 0}\nframes.skipped.undecodable image: {max: 3}")


def test_without_thresholds_there_is_no_verdict_not_even_an_old_one(tmp_path: Path) -> None:
    verdict(tmp_path, "mask.miou: {min: 0.7}")
    assert check(tmp_path, None)
    assert read_outcomes(tmp_path) is None and not (tmp_path / "junit.xml").exists()


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("mask.miou: {min: 0.6", "cannot be read as YAML"),
        ("mask.miou: {min: 2024-13-45}", "cannot be read as YAML"),
        ("", "has no thresholds; write lines like"),
        ("- mask.miou", "has no thresholds"),
        ("mask.miou: 0.6", "mask.miou: 0.6 gives no bounds; write mask.miou: {min: 0.6}"),
        ("mask.miou: {}", "gives no bounds"),
        ("mask.miou: {least: 1}", "gives no bounds"),
        ("mask.miou: {min: high}", "gives no bounds"),
        ("mask.miou: {min: true}", "gives no bounds"),
        ("mask.miou: {min: .nan}", "gives no bounds"),
        ("mask.miou: {min: 2, max: 1}", "min 2 is above max 1"),
        ("mask.miou: {min: 0.5}\nmask.miou: {max: 1}", "mask.miou is listed twice"),
    ],
)
def test_thresholds_that_mean_nothing_are_refused_in_one_line(tmp_path: Path, yaml: str, words: str) -> None:
    path = tmp_path / "thresholds.yaml"
    path.write_text(yaml)
    with pytest.raises(DataError, match=words) as caught:
        load_thresholds(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_absent_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent.yaml"):
        check(tmp_path, tmp_path / "absent.yaml")
    (tmp_path / "t.yaml").write_text("mask.miou: {min: 0}")
    with pytest.raises(DataError, match="metrics.json: cannot be read"):
        check(tmp_path, tmp_path / "t.yaml")
    assert not (tmp_path / "junit.xml").exists()
