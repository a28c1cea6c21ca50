from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

# The small bundle and the ROS client of the nodes' tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "nodes"))


@pytest.fixture
def launch(tmp_path):
    """Start a launch file of the installed package; skips where that is not possible."""
    _skip_unless_launchable()
    from launch_process import LaunchProcess

    launches = []

    def launch(file, environment=None, **arguments):
        log = tmp_path / f"launch{len(launches)}.log"
        launches.append(LaunchProcess(log, file, arguments, environment or {}))
        return launches[-1]

    yield launch
    for started in launches:
        started.stop()


@pytest.fixture
def client():
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from node_processes import Client

    client = Client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A model that takes no time: bright pixels are class 1."""
    pytest.importorskip("onnx", reason="onnx makes the model of this test")
    from threshold_bundle import write_threshold_bundle

    return write_threshold_bundle(tmp_path_factory.mktemp("models") / "threshold")


def _skip_unless_launchable() -> None:
    for module in ("rclpy", "launch_ros", "ros2launch"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed; every full ROS 2 installation has it, the wheels do not")
    if shutil.which("ros2") is None:
        pytest.skip("the command ros2 is not on the PATH")
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix("seg_perception")
    except PackageNotFoundError:
        pytest.skip("seg_perception is not installed: colcon build it and source install/setup.bash")
