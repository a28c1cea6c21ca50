"""Reading rosbag2 (db3 or mcap) without ROS."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from seg_perception.core.errors import DataError

_DAMAGED = (AnyReaderError, OSError, AssertionError, ValueError, EOFError)


class Bag:
    """An open bag."""

    def __init__(self, reader: AnyReader, path: Path) -> None:
        self._reader = reader
        self._path = path
        self.topics: dict[str, str] = {c.topic: c.msgtype for c in reader.connections}
        """Topic → message type, e.g. sensor_msgs/msg/Image."""

    def count(self, topic: str) -> int:
        """Number of messages of a topic."""
        return sum(c.msgcount for c in self._reader.connections if c.topic == topic)

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """(topic, time of recording in ns, message) of some topics, in the order of recording. Raises DataError."""
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:
            return
        stored = iter(self._reader.messages(connections=connections))
        while True:
            try:
                connection, received, data = next(stored)
                message = self._reader.deserialize(data, connection.msgtype)
            except StopIteration:
                return
            except _DAMAGED as error:
                raise _unreadable(self._path, error) from error
            yield connection.topic, received, message


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a rosbag2 folder, or a file of one. Raises DataError when it is missing or damaged."""
    folder = path.parent if path.is_file() else path
    try:
        reader = AnyReader([folder], default_typestore=get_typestore(Stores.LATEST))
        reader.open()
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    try:
        yield Bag(reader, path)
    finally:
        reader.close()


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as a rosbag2 ({error}); was its recording closed?")


def stamp_ns(header: Any) -> int:
    """Stamp of a std_msgs/Header, ns."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
