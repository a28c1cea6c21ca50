"""Class tables: lookups, colours, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from seg_perception.core.classes import ClassTable, Kind
from seg_perception.core.errors import ClassTableError

CAMVID = Path(__file__).parents[2] / "config" / "classes" / "camvid.yaml"
ROAD = {"id": 3, "name": "road", "color": [128, 64, 127], "cost": 5, "kind": "ground"}


def test_the_shipped_table_survives_a_round_trip() -> None:
    table = ClassTable.load(CAMVID)
    assert ClassTable.from_dicts(table.to_dicts()) == table
    assert [c.name for c in table.classes][3:5] == ["road", "pavement"]


def test_lookups_cover_every_mask_value() -> None:
    table = ClassTable.from_dicts([ROAD])
    assert table.kinds[3] == Kind.GROUND and table.costs[3] == 5
    assert (np.delete(table.kinds, 3) == Kind.IGNORE).all() and table.kinds.shape == (256,)


def test_colours_come_out_as_bgr() -> None:
    mask = np.array([[3, 255]], np.uint8)
    np.testing.assert_array_equal(ClassTable.from_dicts([ROAD]).colorize(mask)[0], [[127, 64, 128], [0, 0, 0]])


def test_an_overlay_has_the_size_of_the_mask() -> None:
    table = ClassTable.from_dicts([ROAD])
    overlay = table.overlay(np.full((100, 200, 3), 200, np.uint8), np.full((10, 20), 3, np.uint8))
    np.testing.assert_array_equal(overlay, np.broadcast_to([164, 132, 164], (10, 20, 3)))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "no classes"),
        ([ROAD, ROAD | {"name": "other"}], "id 3 used twice"),
        ([ROAD, ROAD | {"id": 4}], "name road used twice"),
        ([ROAD | {"id": 255}], "255 means unlabelled"),
        ([ROAD | {"cost": 80}], "allowed are 0..60"),
        ([ROAD | {"kind": "water"}], "entry 0"),
        ([ROAD | {"color": [1, 2]}], "entry 0"),
        ([ROAD | {"color": [1, 2, 300]}], "0..255"),
        ([{"id": 1}], "needs id, name, color"),
        ([7], "entry 0"),
    ],
)
def test_wrong_tables_are_refused_by_name(entries: list, words: str) -> None:
    with pytest.raises(ClassTableError, match=words):
        ClassTable.from_dicts(entries)


def test_a_network_needs_the_ids_in_order() -> None:
    table = ClassTable.load(CAMVID)
    assert table.for_network(CAMVID) is table
    with pytest.raises(
        ClassTableError, match=r"t\.yaml: class 0 of the network is road, but has id 3; list the ids 0\.\.1"
    ):
        ClassTable.from_dicts([ROAD, {**ROAD, "id": 1, "name": "rest"}]).for_network("t.yaml")


def test_a_network_of_one_class_would_call_everything_that() -> None:
    with pytest.raises(ClassTableError, match=r"t\.yaml: .* two classes at least, and there is only road"):
        ClassTable.from_dicts([{**ROAD, "id": 0}]).for_network("t.yaml")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    with pytest.raises(ClassTableError, match=path.name):
        ClassTable.load(path)
    twice, latin = b"classes: []\nclasses: []\n", "classes: Straße".encode("latin-1")
    for content in (b"classes: [", twice, latin, b"classes: 2024-13-45"):
        path.write_bytes(content)
        with pytest.raises(ClassTableError, match=path.name):
            ClassTable.load(path)
