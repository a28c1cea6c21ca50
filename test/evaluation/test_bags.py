"""Bags that this package writes are read back, by topic, with types of its own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seg_perception.core.errors import DataError
from seg_perception.core.messages import stamp_to_ns
from seg_perception.core.share import share_folder
from seg_perception.evaluation.bag_writer import BagWriter, define
from seg_perception.evaluation.bags import open_bag

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
    assert [stamp_to_ns(message.header.stamp) for *_, message in found] == [i * 1_000_000_000 + 5 for i in range(3)]
    assert [int(message.data[0]) for *_, message in found] == [0, 10, 20]


def test_an_empty_bag_is_readable(tmp_path: Path) -> None:
    BagWriter(tmp_path / "bag").close()
    with open_bag(tmp_path / "bag") as opened:
        assert opened.topics == {}
        assert list(opened.messages(["/image"])) == []


def test_a_bag_is_not_overwritten(bag: Path) -> None:
    with pytest.raises(DataError, match="exists already"):
        BagWriter(bag)


@pytest.mark.parametrize("damage", ["missing", "cut", "nothing there"])
def test_a_bag_of_which_nothing_can_be_read_is_refused_by_name(bag: Path, damage: str) -> None:
    recording = bag / "bag.mcap"
    if damage == "missing":
        recording.unlink()
    elif damage == "cut":
        recording.write_bytes(recording.read_bytes()[:40])
    else:
        bag = bag / "elsewhere"
    with pytest.raises(DataError, match=str(bag)), open_bag(bag) as opened:
        list(opened.messages(["/image"]))


def values(path: Path, topic: str = "/image") -> list[int]:
    """First pixels of the images."""
    with open_bag(path) as opened:
        return [int(message.data[0]) for *_, message in opened.messages([topic])]


def test_one_file_and_a_folder_without_metadata_are_read(bag: Path) -> None:
    assert values(bag / "bag.mcap") == [0, 10, 20]
    (bag / "metadata.yaml").unlink()
    assert values(bag) == [0, 10, 20]


@pytest.mark.parametrize("text", ["", "nonsense: [", "rosbag2_bagfile_information: {}"], ids=["empty", "yaml", "keys"])
def test_useless_metadata_is_named_and_the_files_are_read(bag: Path, text: str) -> None:
    (bag / "metadata.yaml").write_text(text)
    assert values(bag) == [0, 10, 20]
    with open_bag(bag) as opened:
        assert len(opened.damage) == 1 and "metadata.yaml" in opened.damage[0]


def long_bag(path: Path, count: int, *, compressed: bool) -> Path:
    writer = BagWriter(path, compressed=compressed)
    writer.add_topic("/image", "sensor_msgs/msg/Image")
    noise = np.random.default_rng(0).integers(0, 256, 120_000, np.uint8)
    for index in range(count):
        noise[0] = index
        message = Image(Header(Time(index, 0), ""), 300, 400, "mono8", 0, 400, noise)
        writer.write_message("/image", 1000 + index, message)
    writer.close()
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_what_was_written_before_a_crash_is_read(tmp_path: Path, compressed: bool, kept: float) -> None:
    bag = long_bag(tmp_path / "bag", 60, compressed=compressed)
    recording = bag / "bag.mcap"
    whole = recording.read_bytes()
    recording.write_bytes(whole[: int(kept * len(whole))])
    (bag / "metadata.yaml").unlink()
    found = values(bag)
    assert found == list(range(len(found)))
    assert 60 * kept - 30 < len(found) < 60
    with open_bag(bag) as opened:
        assert "cut off" in opened.damage[0]


def test_messages_before_a_damaged_part_are_read(tmp_path: Path) -> None:
    bag = long_bag(tmp_path / "bag", 60, compressed=True)
    recording = bag / "bag.mcap"
    data = bytearray(recording.read_bytes())
    middle = data.index(b"\x28\xb5\x2f\xfd", len(data) // 3)  # where a compressed chunk begins
    data[middle : middle + 200] = bytes(200)
    recording.write_bytes(data)
    found = []
    with open_bag(bag) as opened, pytest.raises(DataError, match="from here on"):
        for *_, message in opened.messages(["/image"]):
            found.append(int(message.data[0]))
    assert found == list(range(len(found))) and 0 < len(found) < 60


def test_a_message_that_is_none_is_left_out_and_named(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/image", "sensor_msgs/msg/Image")
    for data in (image(0, 0), b"\x00\x01\x00\x00junk", image(2, 20)):
        writer.write("/image", 1000, data)
    writer.close()
    bad = []
    with open_bag(tmp_path / "bag") as opened:
        found = list(opened.messages(["/image"], lambda topic, reason: bad.append(topic)))
        with pytest.raises(DataError):
            list(opened.messages(["/image"]))
    assert [int(message.data[0]) for *_, message in found] == [0, 20]
    assert bad == ["/image"]


def sqlite_bag(path: Path) -> Path:
    with Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=STORE)
        for index in range(3):
            writer.write(connection, 1000 + index, image(index, 10 * index))
    return path


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("metadata", [True, False])
def test_compressed_bags_are_read(tmp_path: Path, mode: CompressionMode, metadata: bool) -> None:
    path = tmp_path / "bag"
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=STORE)
        for index in range(3):
            writer.write(connection, 1000 + index, image(index, 10 * index))
    if not metadata:
        (path / "metadata.yaml").unlink()
    assert values(path) == [0, 10, 20]


def test_types_as_old_recorders_named_them_are_read(tmp_path: Path) -> None:
    bag = sqlite_bag(tmp_path / "bag")
    with sqlite3.connect(bag / "bag.db3") as database:
        database.execute("UPDATE topics SET type = 'sensor_msgs/Image'")
        database.execute("DELETE FROM message_definitions")
    (bag / "metadata.yaml").unlink()
    with open_bag(bag) as opened:
        assert opened.topics == {"/image": "sensor_msgs/msg/Image"}
    assert values(bag) == [0, 10, 20]


def test_a_database_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=STORE)
        for index in range(200):
            writer.write(connection, 1000 + index, image(0, index) + bytes(4000))
    data = (path / "bag.db3").read_bytes()
    (path / "bag.db3").write_bytes(data[: len(data) // 2])
    (path / "metadata.yaml").unlink()
    found = []
    with pytest.raises(DataError, match=str(path)), open_bag(path) as opened:
        found += [message for *_, message in opened.messages(["/image"])]


def test_parts_of_a_bag_are_read_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for part in (9, 10):
        writer = BagWriter(tmp_path / f"split_{part}")
        writer.add_topic("/image", "sensor_msgs/msg/Image")
        writer.write("/image", part, image(part, part))
        writer.close()
        (tmp_path / f"split_{part}" / f"split_{part}.mcap").rename(folder / f"split_{part}.mcap")
    assert values(folder) == [9, 10]


def test_files_that_the_metadata_does_not_name_are_not_of_the_bag(bag: Path) -> None:
    (bag / "bag.mcap.copy.mcap").write_bytes((bag / "bag.mcap").read_bytes())
    assert values(bag) == [0, 10, 20]
    (bag / "metadata.yaml").unlink()
    assert len(values(bag)) == 6


@pytest.mark.parametrize("metadata", [False, True])
def test_a_damaged_part_of_a_bag_does_not_end_the_others(tmp_path: Path, metadata: bool) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for part in (0, 1):
        name = f"split_{part}.mcap"
        (long_bag(tmp_path / str(part), 20, compressed=True) / f"{part}.mcap").rename(folder / name)
    if metadata:
        written = (tmp_path / "0" / "metadata.yaml").read_text()
        assert "- 0.mcap" in written
        named = "- split_0.mcap\n  - split_1.mcap"
        (folder / "metadata.yaml").write_text(written.replace("- 0.mcap", named))
    first = bytearray((folder / "split_0.mcap").read_bytes())
    middle = first.index(b"\x28\xb5\x2f\xfd", len(first) // 3)
    first[middle : middle + 200] = bytes(200)
    (folder / "split_0.mcap").write_bytes(first)
    found = []
    with open_bag(folder) as opened, pytest.raises(DataError, match=r"split_0\.mcap: cannot be read .* from here on"):
        for *_, message in opened.messages(["/image"]):
            found.append(int(message.data[0]))
    assert 20 < len(found) < 40 and set(found) == set(range(20))


@pytest.mark.parametrize(
    ("topics", "chosen"),
    [
        (("/camera/odom", "/odom"), "/odom"),
        (("/b/odometry", "/a/vio"), "/a/vio"),
        (("/r/camera/odom", "/r/odom"), "/r/odom"),
    ],
)
def test_the_odometry_is_the_robots(tmp_path: Path, topics: tuple[str, ...], chosen: str) -> None:
    writer = BagWriter(tmp_path / "bag")
    for topic in topics:
        writer.add_topic(topic, "nav_msgs/msg/Odometry")
        writer.write(topic, 1, b"")
    writer.close()
    with open_bag(tmp_path / "bag") as opened:
        assert opened.odometry() == chosen


def test_ros_1_bags_are_read_with_the_names_of_ros_2(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    header = types["std_msgs/msg/Header"](0, types["builtin_interfaces/msg/Time"](7, 8), "camera")
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    info = types["sensor_msgs/msg/CameraInfo"](
        header, 4, 6, "plumb_bob", np.zeros(5), np.arange(9.0), np.eye(3).ravel(), np.zeros(12), 0, 0, roi
    )
    picture = types["sensor_msgs/msg/Image"](header, 2, 3, "mono8", 0, 3, np.full(6, 9, np.uint8))
    path = tmp_path / "old.bag"
    with Ros1Writer(path) as writer:
        for topic, kind, message in (("/camera_info", "CameraInfo", info), ("/image", "Image", picture)):
            name = f"sensor_msgs/msg/{kind}"
            writer.write(writer.add_connection(topic, name, typestore=store), 5, store.serialize_ros1(message, name))
    assert values(path) == values(tmp_path) == [9]
    with open_bag(path) as opened:
        assert opened.topics["/camera_info"] == "sensor_msgs/msg/CameraInfo"
        (_, received, message) = next(opened.messages(["/camera_info"]))
    assert received == 5 and stamp_to_ns(message.header.stamp) == 7_000_000_008
    assert message.k[8] == 8.0 and message.width == 6


def test_own_messages_are_defined_with_what_they_contain() -> None:
    store = get_typestore(Stores.LATEST)
    define(store, "seg_perception/msg/PipelineStatus")
    text = (share_folder() / "msg" / "StageLatency.msg").read_text(encoding="utf-8")
    expected = get_types_from_msg(text, "seg_perception/msg/StageLatency")
    assert store.fielddefs["seg_perception/msg/StageLatency"] == expected["seg_perception/msg/StageLatency"]


def test_a_message_without_definition_is_refused() -> None:
    with pytest.raises(DataError, match="nowhere_msgs/msg/Nothing"):
        define(get_typestore(Stores.LATEST), "nowhere_msgs/msg/Nothing")
