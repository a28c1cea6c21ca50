"""Frames of a rosbag2 as training samples: extracted once into a folder, then read like any other."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from seg_perception.core.errors import DataError
from seg_perception.core.messages import compressed_to_bgr, image_to_bgr, image_to_mask, stamp_to_ns
from seg_perception.evaluation.bags import Bag, open_bag
from seg_perception.training.samples import write_picture

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def extract_missing(path: Path, image_topic: str, label_topic: str, cache: Path) -> Path:
    """Folder with images/<stamp in ns>.png and, for a label topic, labels/ of the same names, whole or not at all.

    Raises DataError: no such topic, another type of it, or no image that has labels.
    """
    target = cache / f"{path.stem}_{_fingerprint(path, image_topic, label_topic)}"
    if target.is_dir():
        return target
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with open_bag(path) as bag:
        _check(bag, path, image_topic, (_IMAGE, _COMPRESSED))
        stamps = None
        if label_topic:
            _check(bag, path, label_topic, (_IMAGE,))
            stamps = _extract_labels(bag, label_topic, partial)
        count = _extract_images(bag, image_topic, partial, stamps)
    if not count:
        wanted = f" with the stamp of one on {label_topic}" if label_topic else ""
        raise DataError(f"{path}: no image on {image_topic}{wanted}; check the topics")
    partial.replace(target)
    return target


def _extract_labels(bag: Bag, topic: str, folder: Path) -> set[int]:
    stamps = set()
    for _, _, message in bag.messages([topic]):
        stamps.add(stamp_to_ns(message.header.stamp))
        write_picture(folder / "labels" / f"{stamp_to_ns(message.header.stamp)}.png", image_to_mask(message))
    return stamps


def _extract_images(bag: Bag, topic: str, folder: Path, stamps: set[int] | None) -> int:
    decode = compressed_to_bgr if bag.topics[topic] == _COMPRESSED else image_to_bgr
    count = 0
    for _, _, message in bag.messages([topic]):
        stamp = stamp_to_ns(message.header.stamp)
        if stamps is None or stamp in stamps:
            write_picture(folder / "images" / f"{stamp}.png", decode(message))
            count += 1
    return count


def _check(bag: Bag, path: Path, topic: str, types: tuple[str, ...]) -> None:
    if bag.topics.get(topic) not in types:
        found = ", ".join(f"{name} ({kind})" for name, kind in sorted(bag.topics.items()))
        raise DataError(f"{path}: {topic} is no topic of {' or '.join(types)}; topics: {found or 'none'}")


def _fingerprint(path: Path, *topics: str) -> str:
    """Of what the frames depend on; the bag itself is told by the sizes and times of its files."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats: list[Any] = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists()]
    return hashlib.sha256(repr((str(path), topics, stats)).encode()).hexdigest()[:8]
