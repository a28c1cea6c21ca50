"""A segmenter whose GPU fails goes on with the CPU, and /diagnostics says so."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

import threshold_bundle
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_processes import TIMEOUT_S, wait_for
from rclpy.clock import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from seg_perception.ros import conversions, qos

NODE = "lost_gpu/segmenter"
REASON = "model, cuda, GPU 0: inference failed (CUDA out of memory); now running threshold 1.0 fp32, cpu, 1 thread"


@pytest.fixture
def segmenter(tmp_path: Path):
    """A process that must end well."""
    bundle = threshold_bundle.write_threshold_bundle(tmp_path / "threshold")
    parameters = {"model": bundle, "device": "cuda:0", "threads": 1}
    rules = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    script = Path(__file__).with_name("lost_gpu_segmenter.py")
    log = tmp_path / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), "--ros-args", "-r", "__ns:=/lost_gpu", *rules],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0, log.read_text()
    finally:
        process.kill()


def test_masks_go_on_and_diagnostics_warn(client, segmenter) -> None:
    images = client.node.create_publisher(Image, "/lost_gpu/image", qos.stream_output())
    masks = client.collect(Image, "/lost_gpu/segmentation/mask", qos.sensor_input(50, "reliable"))
    diagnostics = client.collect(DiagnosticArray, "/diagnostics", 50)
    bright = np.full((120, 160, 3), 230, np.uint8)

    def entry() -> DiagnosticStatus | None:
        images.publish(conversions.bgr_to_image(bright, Header(stamp=Clock().now().to_msg(), frame_id="camera")))
        entries = (status for array in diagnostics for status in array.status if status.name.startswith(NODE))
        return next((status for status in entries if REASON in status.message), None)

    status = wait_for(entry, "warning of the lost GPU")
    assert status.level == DiagnosticStatus.WARN
    assert status.hardware_id == "threshold 1.0 fp32, cpu, 1 thread"
    before = len(masks)
    wait_for(lambda: entry() and len(masks) > before + 2, "masks after the loss")
    assert (conversions.image_to_mask(masks[-1]) == threshold_bundle.BRIGHT).all()
