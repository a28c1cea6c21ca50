"""What all tests share: the data beside the project, and a ROS graph that nobody else sees."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# Before the first node exists. Domains 1..101 are free for applications on Linux; a robot's own nodes usually run in 0.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1, …: side by side, children of one process
_number = os.getppid() + int(_worker[2:]) if _worker else os.getpid()
os.environ["ROS_DOMAIN_ID"] = str(1 + _number % 101)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"

# How long an example takes says how busy the machine is; what is fast enough, the benchmark says.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def upside_down() -> Callable[[bytes], bytes]:
    """Gives a JPEG file the EXIF orientation 3: viewers turn it by 180 degrees."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 3, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return lambda jpeg: jpeg[:2] + segment + jpeg[2:]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the recorded data sets (`camvid`, `nuscenes`, …); skips the test where it is absent.

    SEG_PERCEPTION_DATA names another place than `../shared/data`.
    """
    folder = Path(os.environ.get("SEG_PERCEPTION_DATA", _DATA))
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; SEG_PERCEPTION_DATA=<folder> names another place")
    return folder
