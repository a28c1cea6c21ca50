"""Which of the shipped Fast DDS profiles a machine gets."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from seg_perception.core import fastdds

ROOT = Path(__file__).resolve().parents[2]
SEGMENT = "{http://www.eprosima.com}segment_size"


@pytest.mark.parametrize(("mib", "segment_mib", "warns"), [(64, 8, True), (0, 8, True), (4096, 64, False)])
def test_segments_fit_into_the_shared_memory(
    monkeypatch: pytest.MonkeyPatch, mib: int, segment_mib: int, warns: bool
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=mib * 256, f_frsize=4096))
    profile = fastdds.large_images_profile(ROOT)
    assert [int(e.text or "") for e in ElementTree.parse(profile).iter(SEGMENT)] == [segment_mib * 2**20]
    assert ("--shm-size" in fastdds.scarce_shared_memory()) == warns


def test_a_machine_without_shared_memory_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "statvfs", absent)
    assert "has 0 MiB" in fastdds.scarce_shared_memory()
