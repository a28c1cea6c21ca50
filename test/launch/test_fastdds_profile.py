from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from large_image_publisher import HEIGHT, WIDTH
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parents[1] / "config"
COUNT = 20


@pytest.mark.parametrize("profile", ["fastdds_large_images.xml", "fastdds_large_images_8_mib.xml"])
def test_best_effort_images_of_a_camera_arrive(client, profile):
    """By default, not one of them does: an image is larger than Fast DDS's shared memory."""
    if not rclpy.get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        pytest.skip(f"the profile is for Fast DDS, not for {rclpy.get_rmw_implementation_identifier()}")
    if os.environ.get("ROS_LOCALHOST_ONLY") == "1":
        pytest.skip("ROS_LOCALHOST_ONLY replaces the transports of a profile")
    images = client.collect(Image, "image", qos_profile_sensor_data)
    profiles = {f"{name}_DEFAULT_PROFILES_FILE": str(CONFIG / profile) for name in ("FASTDDS", "FASTRTPS")}
    command = [sys.executable, str(HERE / "large_image_publisher.py"), str(COUNT)]
    subprocess.run(command, env={**os.environ, **profiles}, check=True, timeout=120)
    assert len(images) > COUNT / 2
    assert all(len(image.data) == 3 * WIDTH * HEIGHT for image in images)
