"""Writing rosbag2 (mcap) without ROS, with the message definitions inside, so that any tool can open it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Nodetype,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from seg_perception.core.errors import DataError
from seg_perception.core.share import share_folder

_BAG_VERSION: Literal[8] = 8
_FOREVER = QosTime(9223372036, 854775807)


class BagWriter:
    """An mcap bag being written: messages in, a closed and readable bag after `close`. compressed: with zstd."""

    def __init__(self, path: Path, *, compressed: bool = False) -> None:
        if path.exists():
            raise DataError(f"{path} exists already; remove it or choose another folder")
        self._writer = Writer(path, version=_BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        if compressed:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._typestore = get_typestore(Stores.LATEST)
        self._connections: dict[str, Connection] = {}

    def add_topic(self, topic: str, msgtype: str, *, latched: bool = False) -> None:
        """Announce a topic, msgtype e.g. nav_msgs/msg/OccupancyGrid; latched: played back transient_local."""
        define(self._typestore, msgtype)
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=self._typestore, offered_qos_profiles=[_qos(latched)]
        )

    def write(self, topic: str, received_ns: int, data: bytes) -> None:
        """Append one serialised (CDR) message."""
        self._writer.write(self._connections[topic], received_ns, data)

    @property
    def types(self) -> Mapping[str, Any]:
        """Classes of the messages by name, of what is announced and what it contains."""
        return self._typestore.types

    def write_message(self, topic: str, received_ns: int, message: Any) -> None:
        """Append a message of the class that `types` has for the topic."""
        self.write(topic, received_ns, self._typestore.serialize_cdr(message, self._connections[topic].msgtype))

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        self._writer.close()


def define(typestore: Typestore, msgtype: str) -> None:
    """Make a message type known, from the .msg file of its package. Raises DataError when there is none."""
    if msgtype in typestore.fielddefs:
        return
    package, _, name = msgtype.split("/")
    types = get_types_from_msg(_definition(package, name), msgtype)
    typestore.register(types)
    for _, fields in types.values():
        for _, description in fields:
            for nested in _nested(description):
                define(typestore, nested)


def _nested(description: Any) -> list[str]:
    """Names of the message types in a field description of rosbags: a base type, a name, or an array of either."""
    kind, content = description
    if kind == Nodetype.NAME:
        return [content]
    return [] if kind == Nodetype.BASE else _nested(content[0])


def _definition(package: str, name: str) -> str:
    prefixes = filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    folders = [Path(prefix) / "share" / package / "msg" for prefix in prefixes]
    if package == "seg_perception":
        folders.append(share_folder() / "msg")
    for folder in folders:
        path = folder / f"{name}.msg"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise DataError(f"{package}/msg/{name}: no .msg file below AMENT_PREFIX_PATH; source the package it comes from")


def _qos(latched: bool) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 5,
        QosReliability.RELIABLE,
        durability,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        avoid_ros_namespace_conventions=False,
    )
