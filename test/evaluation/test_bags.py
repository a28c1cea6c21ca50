"""Bags that this package writes are read back, by topic, with types of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seg_perception.core.errors import DataError
from seg_perception.evaluation.bag_writer import BagWriter, define
from seg_perception.evaluation.bags import open_bag, stamp_ns
from seg_perception.evaluation.share import share_folder

STORE = get_typestore(Stores.LATEST)
Header, Time = STORE.types["std_msgs/msg/Header"], STORE.types["builtin_interfaces/msg/Time"]
Image = STORE.types["sensor_msgs/msg/Image"]


def image(stamp_s: int, value: int) -> bytes:
    message = Image(Header(Time(stamp_s, 5), "camera"), 2, 3, "mono8", 0, 3, np.full(6, value, np.uint8))
    return bytes(STORE.serialize_cdr(message, "sensor_msgs/msg/Image"))


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/image", "sensor_msgs/msg/Image")
    writer.add_topic("/never", "sensor_msgs/msg/Image")
    for index in range(3):
        writer.write("/image", 1000 + index, image(index, 10 * index))
    writer.close()
    return tmp_path / "bag"


def test_messages_come_back_in_order_with_their_times(bag: Path) -> None:
    with open_bag(bag) as opened:
        assert opened.topics == {"/image": "sensor_msgs/msg/Image", "/never": "sensor_msgs/msg/Image"}
        assert (opened.count("/image"), opened.count("/never"), opened.count("/unknown")) == (3, 0, 0)
        found = list(opened.messages(["/image", "/never"]))
    assert [(topic, received) for topic, received, _ in found] == [("/image", 1000 + i) for i in range(3)]
    assert [stamp_ns(message.header) for *_, message in found] == [i * 1_000_000_000 + 5 for i in range(3)]
    assert [int(message.data[0]) for *_, message in found] == [0, 10, 20]


def test_an_empty_bag_is_readable(tmp_path: Path) -> None:
    BagWriter(tmp_path / "bag").close()
    with open_bag(tmp_path / "bag") as opened:
        assert opened.topics == {}
        assert list(opened.messages(["/image"])) == []


def test_a_bag_is_not_overwritten(bag: Path) -> None:
    with pytest.raises(DataError, match="exists already"):
        BagWriter(bag)


@pytest.mark.parametrize("damage", ["missing", "cut", "no metadata"])
def test_a_damaged_bag_is_refused_by_name(bag: Path, damage: str) -> None:
    recording = bag / "bag.mcap"
    if damage == "missing":
        recording.unlink()
    elif damage == "cut":
        recording.write_bytes(recording.read_bytes()[:40])
    else:
        (bag / "metadata.yaml").unlink()
    with pytest.raises(DataError, match=str(bag)), open_bag(bag) as opened:
        list(opened.messages(["/image"]))


def test_own_messages_are_defined_with_what_they_contain() -> None:
    store = get_typestore(Stores.LATEST)
    define(store, "seg_perception/msg/PipelineStatus")
    text = (share_folder() / "msg" / "StageLatency.msg").read_text(encoding="utf-8")
    expected = get_types_from_msg(text, "seg_perception/msg/StageLatency")
    assert store.fielddefs["seg_perception/msg/StageLatency"] == expected["seg_perception/msg/StageLatency"]


def test_a_message_without_definition_is_refused() -> None:
    with pytest.raises(DataError, match="nowhere_msgs/msg/Nothing"):
        define(get_typestore(Stores.LATEST), "nowhere_msgs/msg/Nothing")
