"""Reading recordings without ROS: rosbag2 (db3 or mcap) and ROS 1 bags, old, odd and damaged ones as far as they go."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from heapq import merge
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from seg_perception.core.errors import DataError, one_line
from seg_perception.core.yaml_file import load_yaml
from seg_perception.evaluation.bag_rescue import ZSTD_SUFFIXES, RescuedMcap, decompress_file, decompress_message

_FILES = (".mcap", ".db3")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

Stored = tuple[Connection, int, bytes]
"""Whose message, the time of its recording in ns, and the message as it lies in the file."""

BadMessage = Callable[[str, str], None]
"""Called with topic and reason for a message that cannot be read."""


class Bag:
    """An open bag."""

    def __init__(self, readers: dict[Path, Any], path: Path, damage: list[str]) -> None:
        """readers: by what they read, in its order."""
        self._readers = readers
        self._path = path
        self._ros1 = isinstance(next(iter(readers.values())), Ros1Reader)
        self._connections: list[Connection] = [c for reader in readers.values() for c in reader.connections]
        self._types = _typestore(self._connections, ros1=self._ros1)
        self.damage = damage
        """What is wrong with its files, where it could be read nevertheless; one line each."""
        self.topics: dict[str, str] = {c.topic: _type_name(c.msgtype) for c in self._connections}
        """Topic → message type, e.g. sensor_msgs/msg/Image."""

    def count(self, topic: str) -> int:
        """Number of messages of a topic."""
        return sum(c.msgcount for c in self._connections if c.topic == topic)

    def odometry(self) -> str | None:
        """The topic of the odometry: the one with the shortest path that is called `odom`, else the first by name;
        None where there is none.
        """
        topics = sorted(t for t, kind in self.topics.items() if kind == "nav_msgs/msg/Odometry" and self.count(t))
        called = [topic for topic in topics if topic.rsplit("/", 1)[-1] == "odom"]
        return min(called, key=lambda topic: topic.count("/"), default=topics[0] if topics else None)

    def messages(self, topics: Collection[str], on_bad: BadMessage | None = None) -> Iterator[tuple[str, int, Any]]:
        """(topic, time of recording in ns, message) of some topics, in the order of recording.

        A message that cannot be read is left out where `on_bad` takes note of it. Raises DataError where a file is
        damaged, after all messages before, and those of the other files.
        """
        for connection, received, data in self._stored(topics):
            try:
                message = self._deserialize(data, connection.msgtype)
            except Exception as error:
                if on_bad is None:
                    raise _unreadable(self._path, error) from error
                on_bad(connection.topic, str(error) or repr(error))
                continue
            yield connection.topic, received, message

    def _stored(self, topics: Collection[str]) -> Iterator[Stored]:
        damage: list[str] = []
        streams = []
        for path, reader in self._readers.items():
            if chosen := [connection for connection in reader.connections if connection.topic in topics]:
                streams.append(_until_damaged(reader.messages(connections=chosen), path, damage))
        yield from merge(*streams, key=lambda entry: entry[1])
        if damage:
            raise DataError("; ".join(damage))

    def _deserialize(self, data: bytes, msgtype: str) -> Any:
        name = _type_name(msgtype)
        if not self._ros1:
            if data[:4] == _ZSTD_MAGIC:  # without metadata.yaml, nobody says that messages are compressed
                data = decompress_message(data)
            return self._types.deserialize_cdr(data, name)
        message: Any = self._types.deserialize_ros1(data, name)
        if name == "sensor_msgs/msg/CameraInfo":  # D, K, R, P in ROS 1
            return SimpleNamespace(**{field.lower(): value for field, value in vars(message).items()})
        return message


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a rosbag2 folder, with or without metadata.yaml, one file of it, or a ROS 1 bag.

    Raises DataError when there is nothing that can be read.
    """
    with ExitStack() as stack:
        damage: list[str] = []
        # Of several files, one that is damaged is not to end the others.
        if path.is_dir() and (path / "metadata.yaml").is_file() and len(_files(path)) < 2:
            try:
                reader = stack.enter_context(Ros2Reader(path))
            except Exception as error:  # noqa: BLE001 (rosbags raises what it likes for a damaged file)
                damage.append(f"{path / 'metadata.yaml'} does not help ({one_line(error)}); read its files instead")
            else:
                yield Bag({path: reader}, path, damage)
                return
        readers = {file: reader for file in _files(path) if (reader := _open_file(file, stack, damage)) is not None}
        if not readers:
            raise DataError(f"{path}: cannot be read as a bag ({'; '.join(damage) or 'it has no .mcap, .db3 or .bag'})")
        yield Bag(readers, path, damage)


def _files(path: Path) -> list[Path]:
    """The files of a bag, in their order."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: there is no such bag; check the path")
    if listed := _listed(path):
        return listed
    there = list(path.iterdir())
    found = [p for p in there if p.suffix in _FILES or "".join(p.suffixes[-2:]) in ZSTD_SUFFIXES]
    found = found or [p for p in there if p.suffix == ".bag"]
    return sorted(found, key=lambda p: (len(p.name), p.name))  # part_9 before part_10


def _listed(path: Path) -> list[Path]:
    """Those that metadata.yaml names, as far as they are there: beside them may lie copies, or what was unpacked."""
    try:
        named = load_yaml(path / "metadata.yaml")["rosbag2_bagfile_information"]["relative_file_paths"]
        return [file for name in named if (file := path / Path(name).name).is_file()]  # old ones begin with the folder
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _open_file(path: Path, stack: ExitStack, damage: list[str]) -> Any:
    """A reader of one file; None, with the reason in `damage`, when nothing of it can be read."""
    try:
        if path.suffix == ".bag":
            return stack.enter_context(Ros1Reader(path))
        if "".join(path.suffixes[-2:]) in ZSTD_SUFFIXES:
            path = decompress_file(path, Path(stack.enter_context(tempfile.TemporaryDirectory())), damage)
        if path.suffix == ".mcap" and (rescued := RescuedMcap.of(path)):
            damage.append(f"{path}: {rescued.lost}; was its recording closed?")
            return stack.enter_context(Ros2Reader(rescued))  # type: ignore[arg-type]  # only its open() is used
        return stack.enter_context(Ros2Reader(path))
    except Exception as error:  # noqa: BLE001 (as above)
        damage.append(f"{path}: cannot be read ({one_line(error)})")
        return None


def _typestore(connections: Collection[Connection], *, ros1: bool) -> Typestore:
    """The types of the standard packages, overruled by what the bag says of its own."""
    types = dict(get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.LATEST).fielddefs)
    for connection in connections:
        definition = connection.msgdef
        try:
            if definition.format == MessageDefinitionFormat.MSG:
                types.update(get_types_from_msg(definition.data, _type_name(connection.msgtype)))
            elif definition.format == MessageDefinitionFormat.IDL:
                parts = definition.data.split("=" * 80 + "\n")
                for part in parts if len(parts) == 1 else [part.split("\n", 1)[1] for part in parts[1:]]:
                    types.update(get_types_from_idl(part))
        except Exception:  # noqa: BLE001 (a definition that cannot be parsed: its messages fail if anybody reads them)
            continue
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return store


def _type_name(msgtype: str) -> str:
    """sensor_msgs/Image, as old recorders wrote it, → sensor_msgs/msg/Image."""
    package, _, name = msgtype.partition("/")
    return msgtype if "/" in name else f"{package}/msg/{name}"


def _until_damaged(stored: Iterator[Stored], path: Path, damage: list[str]) -> Iterator[Stored]:
    try:
        yield from stored
    except Exception as error:  # noqa: BLE001 (as above)
        damage.append(str(_unreadable(path, error)))


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as a bag from here on ({one_line(error)}); was its recording closed?")
