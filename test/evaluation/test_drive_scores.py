"""Scores of a recorded run, on recordings made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.core.grid import GridSpec
from seg_perception.engines.resize import Resize
from seg_perception.evaluation.drive_scores import SeenCells, grid_figures, mask_miou, not_in_model
from seg_perception.evaluation.recording import GridMessage

SIZE = 40
RESOLUTION = 0.5


def table(*names: str) -> ClassTable:
    entries = [{"id": i, "name": n, "color": [i, 0, 0], "cost": 0, "kind": "ground"} for i, n in enumerate(names)]
    return ClassTable.from_dicts(entries)


@dataclass
class FakeRecording:
    """Stands for a bag: what it yields is all that the scores ask for."""

    stamped_masks: list[tuple[int, NDArray[np.uint8]]]
    messages: list[GridMessage]

    def masks(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        return iter(self.stamped_masks)

    def grids(self) -> Iterator[GridMessage]:
        return iter(self.messages)


@dataclass
class Planes:
    occupied: NDArray[np.bool_]
    free: NDArray[np.bool_]
    visible: NDArray[np.bool_]


class Street:
    """A wall across x = 6 m; frame i stands at x = i and sees 4 m ahead."""

    def truth(self, index: int, spec: GridSpec) -> Planes:
        x, _ = spec.centres()
        ahead = np.broadcast_to((x >= index) & (x < index + 4), (spec.height, spec.width))
        wall = np.broadcast_to((x > 6.0) & (x < 6.5), ahead.shape)
        return Planes(wall, ~wall, ahead)

    def camera_position(self, index: int) -> tuple[float, float]:
        return float(index), 0.0


def spec(shift: int = 0) -> GridSpec:
    return GridSpec(RESOLUTION, SIZE, SIZE, shift * RESOLUTION - 5.0, -10.0)


def perfect(stamp: int, index: int, grid: GridSpec) -> GridMessage:
    """Knows everything that frames 0..index saw, and nothing else."""
    cells = np.full((grid.height, grid.width), -1, np.int8)
    for frame in range(index + 1):
        truth = Street().truth(frame, grid)
        cells[truth.visible & truth.free] = 0
        cells[truth.visible & truth.occupied] = 100
    return GridMessage(stamp, grid, cells)


def figures(messages: list[GridMessage], frames: dict[int, int]) -> dict[str, float]:
    result = grid_figures(FakeRecording([], messages), frames, Street())  # type: ignore[arg-type]
    assert result is not None
    return result


def test_a_perfect_grid_has_perfect_figures_also_when_frames_led_to_no_grid() -> None:
    frames = {10 + i: i for i in range(5)}
    result = figures([perfect(11, 1, spec(1)), perfect(14, 4, spec(3))], frames)
    assert (result["false_free"], result["occupied_recall"], result["free_recall"]) == (0.0, 1.0, 1.0)
    assert result["hidden_unknown"] == 1.0


def test_a_grid_that_calls_everything_free_is_found_out() -> None:
    cells = np.zeros((SIZE, SIZE), np.int8)
    result = figures([GridMessage(14, spec(), cells)], {10 + i: i for i in range(5)})
    assert (result["false_free"], result["occupied_recall"], result["hidden_unknown"]) == (1.0, 0.0, 0.0)


def test_grids_of_no_frame_and_repeated_ones_are_not_scored() -> None:
    frames = {10: 3}
    once = figures([perfect(10, 3, spec())], frames)
    again = figures([perfect(9, 3, spec()), perfect(10, 3, spec()), perfect(10, 3, spec())], frames)
    assert once == again


def test_without_grids_there_are_no_figures() -> None:
    assert grid_figures(FakeRecording([], []), {10: 0}, Street()) is None  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=6))
def test_what_was_seen_stays_seen_wherever_the_window_moves(shifts: list[tuple[int, int]]) -> None:
    seen_cells, world = SeenCells(), set()
    rng = np.random.default_rng(0)
    for left, bottom in shifts:
        visible = rng.random((5, 7)) < 0.3
        world |= {(bottom + int(row), left + int(column)) for row, column in zip(*np.nonzero(visible), strict=True)}
        seen = seen_cells.update(GridSpec(0.2, 7, 5, left * 0.2, bottom * 0.2), visible)
        expected = [[(bottom + row, left + column) in world for column in range(7)] for row in range(5)]
        np.testing.assert_array_equal(seen, expected)


def test_classes_are_matched_by_name_and_masks_may_have_another_size() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[:, :, 2:] = 1
    labels[1, 0, 0] = 255
    mask = np.repeat(np.repeat(np.array([[1, 0]], np.uint8), 2, axis=0), 1, axis=1)
    recording = FakeRecording([(7, mask), (8, mask), (9, mask)], [])
    miou = mask_miou(recording, {7: 0, 8: 1}, labels, Resize(2, 2), table("wall", "road"), table("road", "wall"))  # type: ignore[arg-type]
    assert miou == 1.0


def test_masks_are_compared_where_the_model_has_seen_the_image() -> None:
    labels = np.array([[[1, 1, 0, 1, 1, 1]]], np.uint8).repeat(2, axis=1)
    recording = FakeRecording([(7, np.array([[0, 1], [0, 1]], np.uint8))], [])
    classes = table("road", "wall")
    miou = mask_miou(recording, {7: 0}, labels, Resize(2, 2, "crop"), classes, classes)  # type: ignore[arg-type]
    assert miou == 1.0


def test_classes_that_occur_and_that_the_model_lacks_are_known() -> None:
    labels = np.array([[[0, 1, 255]]], np.uint8)
    truth = table("road", "grass", "wall")
    assert not_in_model(labels, table("road"), truth) == ["grass"]
    assert not_in_model(labels, table("grass", "road"), truth) == []


def test_a_class_that_the_street_lacks_is_not_in_the_mean() -> None:
    labels = np.array([[[0, 0, 1, 1]]], np.uint8)
    recording = FakeRecording([(7, np.array([[0, 2, 1, 1]], np.uint8))], [])
    classes = table("road", "wall", "grass")
    miou = mask_miou(recording, {7: 0}, labels, Resize(4, 1), classes, classes)  # type: ignore[arg-type]
    assert miou == pytest.approx((1 / 2 + 1) / 2)


def test_without_masks_there_is_no_score() -> None:
    labels = np.zeros((1, 2, 2), np.uint8)
    assert mask_miou(FakeRecording([], []), {7: 0}, labels, Resize(2, 2), table("road"), table("road")) is None  # type: ignore[arg-type]
