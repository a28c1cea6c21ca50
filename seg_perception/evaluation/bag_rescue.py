"""What is left of recordings that were cut off, and files that were compressed as a whole."""

from __future__ import annotations

import io
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd  # comes with rosbags

ZSTD_SUFFIXES = (".mcap.zstd", ".db3.zstd", ".mcap.zst", ".db3.zst")

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _DATA_END = 0x02, 0x0F
_RECORD = struct.Struct("<BQ")  # opcode, length; see mcap.dev/spec
_END = _RECORD.pack(_DATA_END, 4) + bytes(4) + _RECORD.pack(_FOOTER, 20) + bytes(20) + _MAGIC


@dataclass(frozen=True)
class RescuedMcap:
    """The complete records of an mcap file without an end, to be read as if they were all of it.

    Takes the place of a Path for a reader that only opens it. intact: bytes up to the end of the last complete record.
    """

    path: Path
    intact: int
    size: int
    suffix = ".mcap"

    @classmethod
    def of(cls, path: Path) -> RescuedMcap | None:
        """None where the file ends as it should, or does not even begin so."""
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            file.seek(max(0, size - len(_MAGIC)))
            if size > 2 * len(_MAGIC) and file.read() == _MAGIC:
                return None
            return cls(path, _end_of_records(file, size), size)

    @property
    def lost(self) -> str:
        """What is missing, for people."""
        return f"is cut off: the last {self.size - self.intact} of {self.size} bytes and the index are lost"

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file as it would be if recording had ended there."""
        return io.BufferedReader(_Spliced(self.path, self.intact))

    def exists(self) -> bool:
        return self.path.exists()

    def is_dir(self) -> bool:
        return False

    def __str__(self) -> str:
        return str(self.path)


class _Spliced(io.RawIOBase):
    """The beginning of a file, then the records that end an mcap file without an index."""

    def __init__(self, path: Path, intact: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._intact = intact
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._intact + len(_END)}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._position < self._intact:
            self._file.seek(self._position)
            data = self._file.read(min(len(view), self._intact - self._position)) or b""
        else:
            start = self._position - self._intact
            data = _END[start : start + len(view)]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _end_of_records(file: BinaryIO, size: int) -> int:
    position = len(_MAGIC)
    while position + _RECORD.size <= size:
        file.seek(position)
        opcode, length = _RECORD.unpack(file.read(_RECORD.size))
        if opcode in (0, _DATA_END, _FOOTER) or position + _RECORD.size + length > size:
            break
        position += _RECORD.size + length
    return position


def decompress_message(data: bytes) -> bytes:
    """The message in a zstd frame."""
    return zstd.decompress(data)


def decompress_file(path: Path, folder: Path, damage: list[str]) -> Path:
    """A copy of a file without its zstd compression, in `folder`; as much of it as there is."""
    target = folder / path.stem
    with zstd.open(path, "rb") as source, target.open("wb") as copy:
        try:
            shutil.copyfileobj(source, copy)
        except (EOFError, zstd.ZstdError) as error:
            damage.append(f"{path}: is cut off ({error})")
    return target
