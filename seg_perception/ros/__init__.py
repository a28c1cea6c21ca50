"""The only code between ROS messages and the core."""
