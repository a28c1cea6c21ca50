"""What the grid remembers of the classes in its cells."""

from dataclasses import replace
from typing import Any

import numpy as np
from test_mapping import BOX, CAMERA, CAR, EXACT, HERE, MOUNT, NOTHING, PAVEMENT, ROAD, SKY, TABLE, render, see, trace

from seg_perception.core import pose
from seg_perception.core.classes import ClassTable
from seg_perception.core.mapping import GridMapper

COLORS = {entry.id: entry.color for entry in TABLE.classes}


def keeping(**config: Any) -> GridMapper:
    mapper = GridMapper(TABLE, replace(EXACT, **config))
    mapper.keeps_classes = True
    return mapper


def seen(mapper: GridMapper, x: float, y: float, stamp: float = 0.0) -> tuple[int, tuple[int, ...]] | None:
    """Id and colour of the cell at a place; None where there is none."""
    cells = mapper.class_cells(stamp)
    near = np.flatnonzero((np.abs(cells.centres[:, :2] - (x, y)) <= mapper.config.resolution / 2).all(axis=1))
    return (int(cells.ids[near[0]]), tuple(cells.colors[near[0]].tolist())) if len(near) else None


def shown_as(class_id: int) -> tuple[int, tuple[int, ...]]:
    return class_id, COLORS[class_id]


def halves(left: int, right: int) -> np.ndarray:
    """Open ground: one class on the left of the camera, another one on its right."""
    ground = render(CAMERA, MOUNT, [])
    ground[ground == ROAD] = right
    half = ground[:, : CAMERA.width // 2]
    half[half == right] = left
    return ground


def fuse(mapper: GridMapper, mask: np.ndarray, stamp: float = 0.0, base: np.ndarray = HERE) -> None:
    mapper.update(mask, np.full_like(mask, 255), CAMERA, base @ MOUNT, base, stamp)


def test_ground_and_the_feet_of_obstacles_have_their_class_and_colour() -> None:
    mapper = keeping()
    mask = halves(ROAD, PAVEMENT)
    mask[render(CAMERA, MOUNT, [BOX]) == CAR] = CAR
    fuse(mapper, mask)
    assert seen(mapper, 6.1, 1.5) == shown_as(ROAD)
    assert seen(mapper, 6.1, -1.5) == shown_as(PAVEMENT)
    assert seen(mapper, 8.1, 0.5) == shown_as(CAR)


def test_exactly_the_known_cells_are_shown_and_each_at_its_place() -> None:
    mapper = keeping()
    see(mapper, [BOX], pose.from_rpy([0.0, 0.0, 0.3], 0.0, 0.0, 0.0))
    spec, occupancy = mapper.occupancy(0.0)
    centres, ids, _ = mapper.class_cells(0.0)
    columns, rows = np.floor((centres[:, :2] - (spec.origin_x, spec.origin_y)) / spec.resolution).astype(int).T
    shown = np.zeros_like(occupancy, bool)
    shown[rows, columns] = True
    np.testing.assert_array_equal(shown, occupancy != -1)
    np.testing.assert_array_equal(ids == CAR, occupancy[rows, columns] >= 50)
    assert np.allclose(centres[:, 2], 0.3)


def test_the_newest_class_counts() -> None:
    mapper = keeping()
    fuse(mapper, halves(ROAD, PAVEMENT), 0.0)
    fuse(mapper, halves(PAVEMENT, ROAD), 0.1)
    assert seen(mapper, 8.1, 1.5, 0.1) == shown_as(PAVEMENT)
    assert seen(mapper, 8.1, -1.5, 0.1) == shown_as(ROAD)


def test_what_proves_nothing_changes_no_class() -> None:
    mapper = keeping()
    fuse(mapper, halves(ROAD, ROAD), 0.0)
    for unproving in (NOTHING, SKY):
        fuse(mapper, halves(unproving, unproving), 0.1)
    doubtful = halves(PAVEMENT, PAVEMENT)
    mapper.update(doubtful, np.full_like(doubtful, 60), CAMERA, MOUNT, HERE, 0.2)
    assert seen(mapper, 8.1, 0.5, 0.2) == shown_as(ROAD)


def test_classes_keep_their_place_while_the_window_moves() -> None:
    mapper = keeping()
    far = (20.0, -1.0, 22.0, 1.0, 1.6)
    for step in range(8):
        see(mapper, [far], pose.from_rpy([step * 1.3, 0.0, 0.0], 0.0, 0.0, 0.0), 0.1 * step)
    assert seen(mapper, 20.1, 0.1, 0.7) == shown_as(CAR)
    assert seen(mapper, 17.1, 0.1, 0.7) == shown_as(ROAD)


def test_classes_age_and_are_forgotten_with_their_cells() -> None:
    mapper = keeping(half_life=1.0)
    see(mapper, [BOX], HERE)
    assert len(mapper.class_cells(0.0).ids)
    assert not len(mapper.class_cells(20.0).ids)
    see(mapper, [BOX], HERE, 21.0)
    mapper.reset()
    assert not len(mapper.class_cells(21.0).ids)
    fuse(mapper, halves(PAVEMENT, PAVEMENT), 1.0)
    assert set(mapper.class_cells(1.0).ids.tolist()) == {PAVEMENT}


def test_they_are_kept_from_the_moment_they_are_asked_for() -> None:
    mapper = GridMapper(TABLE, EXACT)
    fuse(mapper, halves(ROAD, ROAD), 0.0)
    assert not len(mapper.class_cells(0.0).ids)
    mapper.keeps_classes = True
    left_only = halves(PAVEMENT, NOTHING)
    fuse(mapper, left_only, 0.1)
    assert seen(mapper, 8.1, 1.5, 0.1) == shown_as(PAVEMENT)
    assert seen(mapper, 8.1, -1.5, 0.1) is None
    mapper.keeps_classes = False
    assert not len(mapper.class_cells(0.1).ids)


def test_keeping_classes_changes_nothing_in_the_grid() -> None:
    plain, keeps = GridMapper(TABLE, EXACT), keeping()
    for step in range(4):
        for mapper in (plain, keeps):
            see(mapper, [BOX], pose.from_rpy([step * 0.7, 0.0, 0.0], 0.0, 0.0, 0.1 * step), 0.1 * step)
    np.testing.assert_array_equal(plain.occupancy(0.4)[1], keeps.occupancy(0.4)[1])


def test_cameras_with_different_models_show_their_own_colours() -> None:
    mirrored = ClassTable.from_dicts(
        [{**entry, "id": 20 - entry["id"], "color": entry["color"][::-1]} for entry in TABLE.to_dicts()]
    )
    rear_mount = pose.base_from_optical([-1.5, 0.0, 1.45], 0.0, np.radians(4), np.pi)
    mapper = keeping()
    fuse(mapper, halves(ROAD, ROAD))
    mapper.table = mirrored
    mask = np.where(render(CAMERA, rear_mount, []) == ROAD, 20 - ROAD, 20 - SKY).astype(np.uint8)
    mapper.update(mask, np.full_like(mask, 255), CAMERA, rear_mount, HERE, 0.0, source="rear")
    assert seen(mapper, 8.1, 0.5) == shown_as(ROAD)
    assert seen(mapper, -8.1, 0.5) == (20 - ROAD, COLORS[ROAD][::-1])


def test_an_obstacle_placed_by_depth_has_its_class_there() -> None:
    mapper = keeping()
    mask, depth = trace(CAMERA, MOUNT, [BOX], 0.4)
    mapper.update(mask, np.full_like(mask, 255), CAMERA, MOUNT, HERE, 0.0, depth=depth)
    assert seen(mapper, 8.1, 0.5) == shown_as(CAR)
