"""Process of its own: publishes camera images, best effort, once somebody listens."""

from __future__ import annotations

import array
import sys
import time

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

WIDTH, HEIGHT = 1280, 720


def main(count: int) -> None:
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
    image = Image(width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding="bgr8")
    image.data = array.array("B", bytes(3 * WIDTH * HEIGHT))
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(0.5)  # the other side may know of the match a little later
    for _ in range(count):
        publisher.publish(image)
        time.sleep(0.1)
    time.sleep(1.0)
    rclpy.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
