# Source this (bash, zsh, dash) from the project's root: the virtual environment, ROS and this package's messages.
# Python code is taken from the source tree, so that edits need no rebuild.
_root=$PWD
. "$_root/.venv/bin/activate"
if [ -d "$_root/.venv/share/rclpy" ]; then  # ROS from wheels, which declare neither their prefix nor their libraries
    export AMENT_PREFIX_PATH="$_root/.venv" CMAKE_PREFIX_PATH="$_root/.venv"
    for _libraries in "$_root/.venv/lib" "$_root"/.venv/lib/python3.*/site-packages/ros_*.libs; do
        LD_LIBRARY_PATH="$_libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    done
    export LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
fi
if [ -f "$_root/install/local_setup.sh" ]; then
    COLCON_CURRENT_PREFIX="$_root/install" . "$_root/install/local_setup.sh"
fi
export PYTHONPATH="$_root${PYTHONPATH:+:$PYTHONPATH}"
unset _root _libraries
