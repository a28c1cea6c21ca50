#!/usr/bin/env bash
# Steps of `make setup`: `environment`, `build`, and `add test` or `add train`. Each is safe to repeat.
# With a sourced ROS installation, that one is used; without, ROS comes from wheels.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
LOG=build/setup.log
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

fail() { # <line ...>
    printf 'error: ' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

# step <title> <what to do when it fails> <command ...>: one line on the terminal, everything else into the log
step() {
    local title=$1 advice=$2 started=$SECONDS
    shift 2
    printf '%s … ' "$title"
    printf '\n== %s\n$ %s\n' "$title" "$*" >>"$LOG"
    if "$@" >>"$LOG" 2>&1; then
        printf '%d s\n' $((SECONDS - started))
    else
        printf 'failed\n'
        tail -n 15 "$LOG" >&2
        fail "$title failed; $advice (everything: $LOG)"
    fi
}

ros_is_sourced() { [[ -n ${ROS_DISTRO:-} ]] && "$PYTHON" -c 'import rclpy' 2>/dev/null; }

check_machine() {
    local missing=() packages=() debian=python3
    [[ ${PYTHON##*/} =~ ^python3\.[0-9]+$ ]] && debian=${PYTHON##*/}
    [[ $PWD != *[[:space:]]* ]] || fail "there is a space in $PWD, with which colcon's files do not work; move the folder"
    need() { missing+=("$1") && packages+=("$2"); }
    "$PYTHON" -V >/dev/null 2>&1 || fail "$PYTHON not found" \
        "install with: sudo apt-get update && sudo apt-get install -y $debian $debian-venv $debian-dev"
    ros_is_sourced || "$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
        fail "$PYTHON is $("$PYTHON" --version 2>&1), but 3.10 to 3.13 is needed; name one: make setup PYTHON=python3.12"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || need "Python's venv module" "$debian-venv"
    "$PYTHON" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
        need "Python's header files" "$debian-dev"
    command -v gcc >/dev/null && command -v g++ >/dev/null && command -v make >/dev/null ||
        need "a C/C++ compiler or make" build-essential
    command -v cmake >/dev/null || need cmake cmake
    ! ros_is_sourced || command -v colcon >/dev/null || need colcon python3-colcon-common-extensions
    ((${#missing[@]} == 0)) || fail "not found: $(printf '%s, ' "${missing[@]}" | sed 's/, $//')" \
        "install with: sudo apt-get update && sudo apt-get install -y ${packages[*]}"
}

install_packages() { # <requirement files' names>
    local arguments=()
    for name in "$@"; do arguments+=(-r "requirements/$name.txt"); done
    .venv/bin/python -m pip install --quiet "${arguments[@]}"
}

# ROS's own extension modules were built for the system's NumPy. A newer one of the same major version fits them as well,
# and Humble's is too old for today's packages.
install_beside_ros() { # <extras>
    "$PYTHON" -c 'import numpy; v = numpy.lib.NumpyVersion(numpy.__version__); print(f"numpy>={v.vstring},<{v.major + 1}")' \
        >build/ros_constraints.txt
    .venv/bin/python -m pip install --quiet -c build/ros_constraints.txt -e ".[$1]"
}

make_environment() {
    local offline='check the network connection, then repeat the command'
    check_machine
    [[ $(.venv/bin/python -V 2>/dev/null) == $("$PYTHON" -V) ]] || rm -rf .venv
    if ros_is_sourced; then
        step "Virtual environment on ROS $ROS_DISTRO" "remove .venv and repeat" \
            "$PYTHON" -m venv --system-site-packages .venv
        step "Python packages" "$offline" install_beside_ros cpu,sim,evaluate
    else
        step "Virtual environment, $("$PYTHON" --version)" "remove .venv and repeat" "$PYTHON" -m venv .venv
        step "Python packages and ROS 2 Kilted" "$offline" install_packages runtime ros
        step "ROS include paths" "remove .venv and repeat" .venv/bin/python tools/adapt_ros_wheels.py
    fi
    rm -rf build/seg_perception install  # configured for another interpreter, if there is one
}

add_packages() { # <test or train: the requirement file's and the extra's name>
    local advice='check the network connection and the free space on the disk, then repeat the command'
    if ros_is_sourced; then
        step "Python packages, $1" "$advice" install_beside_ros "cpu,sim,evaluate,$1"
    else
        step "Python packages, $1" "$advice" install_packages runtime ros "$1"  # all, so that all pins hold
    fi
}

build() {
    set +u
    . tools/environment.sh
    set -u
    step "colcon build" "see the compiler's message above" \
        colcon --log-base build/log build --symlink-install --base-paths . --event-handlers console_direct+ \
        --cmake-args -DPython3_FIND_VIRTUALENV=ONLY -DPython3_ROOT_DIR="$PWD/.venv"
    .venv/bin/python -m compileall -q seg_perception  # else the first import changes the folders' times
}

mkdir -p build
case ${1:-} in
    environment) make_environment ;;
    add) add_packages "$2" ;;
    build) build ;;
    *) fail "usage: tools/setup.sh environment | add test | add train | build" ;;
esac
