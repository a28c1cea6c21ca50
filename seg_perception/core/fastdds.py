"""The environment variables that name a file of Fast DDS profiles."""

from __future__ import annotations

import os

_OLD, _NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
_FAST_DDS_2 = ("humble", "iron", "jazzy")


def profile_variables() -> tuple[str, ...]:
    """Those that Fast DDS reads in the sourced ROS 2; the first one is to be set."""
    # Fast DDS 2 knows nothing of the newer name; its successors warn about the older one.
    return (_OLD,) if os.environ.get("ROS_DISTRO") in _FAST_DDS_2 else (_NEW, _OLD)
