# Source this (bash, zsh, dash) from the project's root: the virtual environment, ROS and this package's messages.
# Python code is taken from the source tree, so that edits need no rebuild.
_root=$PWD
. "$_root/.venv/bin/activate"
_version=$(python -c 'import sys; print("python%d.%d" % sys.version_info[:2])' 2>/dev/null)
if ! [ "$VIRTUAL_ENV" -ef "$_root/.venv" ] || ! [ -d "$_root/.venv/lib/$_version" ]; then
    echo "error: .venv was made in another place or for another Python ($VIRTUAL_ENV): make clean, then repeat" >&2
    return 1
fi
if [ -d "$_root/.venv/share/rclpy" ]; then  # ROS from wheels, which declare neither their prefix nor their libraries
    unset PYTHONPATH ROS_DISTRO  # a sourced ROS's own rclpy would come before the wheels'
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
unset _root _version _libraries
