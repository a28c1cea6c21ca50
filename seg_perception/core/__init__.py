"""The algorithms: numpy and OpenCV only, no ROS, no torch."""
