"""`seg-perception doctor`: what is installed, what is missing and how to get it, and whether the bundles work."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec

from seg_perception.core.errors import SegPerceptionError, one_line
from seg_perception.core.fastdds import free_shared_memory_mib, scarce_shared_memory

_SETUP = "make setup, or source your ROS 2 installation and install/setup.bash"


@dataclass(frozen=True)
class Finding:
    """state: what was found. advice: how to get it, if it is missing. essential: nothing works without it."""

    what: str
    state: str
    good: bool = True
    essential: bool = False
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "--device", default="cpu", help="verify the bundles on cpu | cuda | cuda:N (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 if something essential is missing."""
    findings = [*_system(), *_ros(), *_engines(), *_bundles(args.device)]
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = "ok     " if finding.good else "MISSING" if finding.essential else "absent "
        advice = f"  → {finding.advice}" if finding.advice and not finding.good else ""
        print(f"{mark}  {finding.what:<{width}}  {finding.state}{advice}")
    return int(any(finding.essential and not finding.good for finding in findings))


def _system() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    yield Finding("machine", f"{platform.machine()}, {cores} cores, Python {platform.python_version()}")
    yield _package("NumPy", "numpy", essential=True, advice=_SETUP)
    yield _package("OpenCV", "cv2", essential=True, advice=_SETUP)


def _ros() -> Iterator[Finding]:
    distro = os.environ.get("ROS_DISTRO") or ("wheels" if find_spec("ros_wheels_bootstrapper") else "")
    yield Finding("ROS 2", distro or "not sourced", bool(distro), essential=True, advice=_SETUP)
    yield _package("rclpy", "rclpy", essential=True, advice=_SETUP)
    yield _package("messages of this package", "seg_perception.msg", essential=True, advice=_SETUP)
    middleware = os.environ.get("RMW_IMPLEMENTATION", "default of the ROS distribution")
    yield Finding("middleware", middleware)
    scarce = scarce_shared_memory()
    yield Finding("shared memory", scarce or f"{free_shared_memory_mib()} MiB free", not scarce)
    yield _package("cv_bridge", "cv_bridge", advice="not needed: images are converted without it")
    yield _package("tf2_ros", "tf2_ros", advice="ros-$ROS_DISTRO-tf2-ros; else odometry and mount parameters")
    yield _package("vision_msgs", "vision_msgs", advice="ros-$ROS_DISTRO-vision-msgs, for LabelInfo")
    yield _package("launch_ros", "launch_ros", advice="ros-$ROS_DISTRO-launch-ros, for launch files")


def _engines() -> Iterator[Finding]:
    advice = "pip install onnxruntime-openvino (x86-64), onnxruntime, or onnxruntime-gpu; exactly one of them"
    yield _found("ONNX Runtime", _onnxruntime, essential=True, advice=advice)
    installed = [name for name in metadata.packages_distributions().get("onnxruntime", ()) if name]
    if len(set(installed)) > 1:
        yield Finding("ONNX Runtime packages", ", ".join(sorted(set(installed))), False, advice="uninstall all but one")
    yield _package(
        "torch", "torch", advice="make test installs it; for training, export and torch's variants of bundles"
    )
    yield _found("GPU", _gpu, advice="not needed: everything runs on the CPU")


def _bundles(device: str) -> Iterator[Finding]:
    """Every installed bundle, loaded and run on its golden image."""
    try:
        from seg_perception.engines.bundle import installed_bundles
        from seg_perception.engines.factory import load_engine
    except ImportError as error:
        yield Finding("model bundles", f"cannot be checked ({error})", False, essential=True, advice=_SETUP)
        return
    bundles = {path.name: path for path in reversed(installed_bundles())}
    if not bundles:
        yield Finding("model bundles", "none", False, essential=True, advice="config/models/ should hold road_lite")
    for path in sorted(bundles.values()):
        try:
            engine = load_engine(path, device)
        except SegPerceptionError as error:
            yield Finding(f"bundle {path.name}", str(error), False, essential=True)
        else:
            yield Finding(f"bundle {path.name}", f"golden test passed: {engine.description}")


def _found(what: str, find: Callable[[], str], *, essential: bool = False, advice: str = "") -> Finding:
    try:
        return Finding(what, find(), True, essential, advice)
    except Exception as error:  # noqa: BLE001 (a broken installation fails in any way it likes)
        reason = "not found" if isinstance(error, (ModuleNotFoundError, FileNotFoundError)) else one_line(error)
        return Finding(what, reason, False, essential, advice)


def _package(what: str, module: str, *, essential: bool = False, advice: str = "") -> Finding:
    """An importable module, with its version where it says so."""

    def find() -> str:
        version = getattr(import_module(module), "__version__", "")
        return str(version) or "found"

    return _found(what, find, essential=essential, advice=advice)


def _onnxruntime() -> str:
    from seg_perception.engines.onnxruntime import installed_providers

    version = import_module("onnxruntime").__version__
    return f"{version}, providers: {', '.join(installed_providers())}"


def _gpu() -> str:
    if not shutil.which("nvidia-smi"):
        raise FileNotFoundError("nvidia-smi")
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
