"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime-openvino",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "ros-rclpy",
)


def machine() -> dict[str, object]:
    """Processor, cores, memory, versions and how busy the machine was before."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "ros_distro": os.environ.get("ROS_DISTRO") or ("from wheels" if find_spec("ros_wheels_bootstrapper") else None),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
