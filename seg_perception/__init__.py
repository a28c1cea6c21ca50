"""Camera images in, semantic masks and an occupancy grid that a planner can trust out."""

import pkgutil

# colcon installs the generated `seg_perception.msg` into another folder of the same package name.
__path__ = pkgutil.extend_path(__path__, __name__)
