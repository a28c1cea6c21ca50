"""The algorithms: numpy, SciPy, OpenCV and PyYAML, no ROS, no torch."""
