"""Frames of a bag become samples: labels from a topic or from a folder, matched by their stamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")
pytest.importorskip("rosbags", reason="bags need rosbags: pip install -r requirements/runtime.txt")

from box_scenes import CLASSES, HEIGHT, WIDTH
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import Source, load_sources
from seg_perception.training.import_frames import load_frames

STORE = get_typestore(Stores.LATEST)
IMAGE = "sensor_msgs/msg/Image"


def _image(second: int, pixels: np.ndarray, encoding: str) -> bytes:
    types = STORE.types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](second, 7), "camera")
    height, width = pixels.shape[:2]
    message = types[IMAGE](header, height, width, encoding, 0, pixels.strides[0], np.ravel(pixels))
    return bytes(STORE.serialize_cdr(message, IMAGE))


def _frame(second: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(second)
    labels = rng.integers(0, 3, (HEIGHT, WIDTH), dtype=np.uint8)
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), labels


@pytest.fixture()
def bag(tmp_path: Path) -> Path:
    """Four images, labels for the second and the fourth, which come late."""
    path = tmp_path / "drive"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection("/camera/image", IMAGE, typestore=STORE)
        labels = writer.add_connection("/labels", IMAGE, typestore=STORE)
        for second in range(4):
            writer.write(images, second * 10**9, _image(second, _frame(second)[0], "bgr8"))
        for second in (1, 3):
            writer.write(labels, (second + 9) * 10**9, _image(second, _frame(second)[1], "mono8"))
    return path


def _load(document: dict[str, Any], bag: Path, **options: Any) -> list[Source]:
    entry = {"path": str(bag), "image_topic": "/camera/image", "cache": str(bag.parent / "cache"), **options}
    document["train"] = {"bags": [entry]}
    config = TrainingConfig.from_dict(document)
    return load_sources(config, config.train, ClassTable.from_dicts(CLASSES))


def _assert_frames(source: Source, seconds: list[int]) -> None:
    assert len(source.samples) == len(seconds)
    for second, (image, labels) in zip(seconds, source.samples, strict=True):
        np.testing.assert_array_equal(image, _frame(second)[0])
        np.testing.assert_array_equal(labels, _frame(second)[1])


def test_labels_of_an_import_are_matched_by_stamp(bag: Path) -> None:
    for_ranges, for_gate = load_frames(bag, 64, {"1000000007", "3000000007", "5000000007"})
    assert [frame.name for frame in for_ranges] == ["7", "2000000007"]
    assert [frame.name for frame in for_gate] == ["1000000007", "3000000007"]
    for second, frame in zip((1, 3), for_gate, strict=True):
        np.testing.assert_array_equal(frame.image, _frame(second)[0])
    with pytest.raises(DataError, match=r"drive: 4 images, of which none has labels of its name, e\.g\. 7\.png"):
        load_frames(bag, 64, {"image"})


def test_labels_of_a_topic(document: dict[str, Any], bag: Path) -> None:
    for _ in range(2):  # the second time from the cache
        (source,) = _load(document, bag, label_topic="/labels")
        _assert_frames(source, [1, 3])


def test_labels_of_a_folder(document: dict[str, Any], bag: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    cv2.imwrite(str(tmp_path / "mine" / "2000000007.png"), _frame(2)[1])
    (source,) = _load(document, bag, labels=str(tmp_path / "mine"))
    _assert_frames(source, [2])


def test_another_bag_of_the_same_name_is_extracted_again(document: dict[str, Any], bag: Path) -> None:
    _load(document, bag, label_topic="/labels")
    for path in bag.iterdir():
        path.unlink()
    bag.rmdir()
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, part, encoding in (("/camera/image", 0, "bgr8"), ("/labels", 1, "mono8")):
            connection = writer.add_connection(topic, IMAGE, typestore=STORE)
            writer.write(connection, 10**9, _image(6, _frame(6)[part], encoding))
    (source,) = _load(document, bag, label_topic="/labels")
    _assert_frames(source, [6])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_topic": "/none"}, r"drive: /none is no topic of sensor_msgs/msg/Image; topics: /camera/image"),
        ({"label_topic": "/labels", "image_topic": "/image"}, "drive: /image is no topic"),
    ],
)
def test_wrong_topics_are_named(document: dict[str, Any], bag: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _load(document, bag, **options)


def test_labels_of_other_stamps_are_told(document: dict[str, Any], bag: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    cv2.imwrite(str(tmp_path / "mine" / "5.png"), _frame(2)[1])
    with pytest.raises(DataError, match="no label of an image on /camera/image; name them <stamp in ns>.png"):
        _load(document, bag, labels=str(tmp_path / "mine"))
