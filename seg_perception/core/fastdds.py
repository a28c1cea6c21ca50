"""The shipped Fast DDS profiles, and the environment variables that name a file of such."""

from __future__ import annotations

import os
from pathlib import Path

_OLD, _NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
_FAST_DDS_2 = ("humble", "iron", "jazzy")
_SHARED_MEMORY = "/dev/shm"
_AMPLE_MIB = 512
"""Eight processes' segments of 64 MiB."""


def profile_variables() -> tuple[str, ...]:
    """Those that Fast DDS reads in the sourced ROS 2; the first one is to be set."""
    # Fast DDS 2 knows nothing of the newer name; its successors warn about the older one.
    return (_OLD,) if os.environ.get("ROS_DISTRO") in _FAST_DDS_2 else (_NEW, _OLD)


def large_images_profile(share: Path) -> Path:
    """The profile for camera images whose segments fit into this machine's shared memory. share: of this package."""
    size = "_8_mib" if scarce_shared_memory() else ""
    return share / "config" / f"fastdds_large_images{size}.xml"


def scarce_shared_memory() -> str:
    """What there is too little of, and what to do; empty where shared memory is ample."""
    free = free_shared_memory_mib()
    if free >= _AMPLE_MIB:
        return ""
    return (
        f"{_SHARED_MEMORY} has {free} MiB: images above 8 MiB, or of many cameras, may be lost; "
        "a container has more with --shm-size=1g or --ipc=host"
    )


def free_shared_memory_mib() -> int:
    """What Fast DDS can take for its segments; 0 where there is none."""
    try:
        status = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize // 2**20
