"""How fast `seg-perception evaluate` is beside the bare engine, and how its memory grows over a long bag.

Run as python -m seg_perception.evaluation.benchmark_evaluate; it writes a bag of JPEG images with odometry first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.evaluation.bag_writer import BagWriter
from seg_perception.evaluation.evaluate_run import Request
from seg_perception.evaluation.evaluate_worker import COUNT
from seg_perception.evaluation.machine import machine

_SIZE = (640, 360)
_PERIOD_NS = 100_000_000
_START_NS = 1_000_000_000_000
_WARM_UP = 10
_MOST_BARE = 500


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="length of the bag (default: %(default)s)")
    parser.add_argument("--model", default="road_lite", help="bundle, by name or folder (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the engine (default: %(default)s)")
    args = parser.parse_args()
    bundle = Bundle.load(args.model)
    image, _ = bundle.read_golden(next(iter(bundle.variants.values())))
    image = np.asarray(cv2.resize(image, _SIZE), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        bag = _write_bag(Path(folder) / "bag", image, args.frames)
        request = Request(out=f"{folder}/out", bag=str(bag), model=args.model, threads=args.threads)
        result: dict[str, Any] = {
            "machine": machine(),
            "frames": args.frames,
            "image": f"{_SIZE[0]}x{_SIZE[1]} JPEG",
            "threads": args.threads,
        }
        bare = partial(_engine_fps, bundle, image, args.threads, min(args.frames, _MOST_BARE))
        before = bare()
        result |= _evaluation(request)
        result["engine_fps"] = before, bare()  # a machine shared with others is not as fast all the time
    result["share_of_engine"] = round(result["evaluation_fps"] / mean(result["engine_fps"]), 3)
    print(json.dumps(result, indent=1))
    return 0


def _engine_fps(bundle: Bundle, image: NDArray[np.uint8], threads: int, frames: int) -> float:
    """Of inference alone, on an image that is decoded already."""
    engine = load_engine(bundle, "cpu", threads=threads)
    for _ in range(_WARM_UP):
        engine.infer(image)
    started = time.perf_counter()
    for _ in range(frames):
        engine.infer(image)
    return round(frames / (time.perf_counter() - started), 2)


def _evaluation(request: Request) -> dict[str, Any]:
    """Frames per second from the first frame written to the last, and resident memory at parts of the way, MiB."""
    worker = [sys.executable, "-m", "seg_perception.evaluation.evaluate_worker"]
    with subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(asdict(request)))
        process.stdin.close()
        count = done = 0
        started = finished = 0.0
        memory: dict[str, float] = {}
        for line in process.stdout:
            kind, _, number = line.partition(" ")
            if kind == COUNT:
                count = int(number)
                continue
            done, finished = done + int(number), time.perf_counter()
            if done == _WARM_UP:
                started = finished
            for part in (10, 25, 50, 75, 99):
                if done == max(1, count * part // 100):
                    memory[f"{part}%"] = _resident_mib(process.pid)
    return {"evaluation_fps": round((done - _WARM_UP) / (finished - started), 2), "resident_mib": memory}


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return round(pages * 4096 / 2**20, 1)


def _write_bag(path: Path, image: NDArray[np.uint8], frames: int) -> Path:
    """Images 0.1 s apart from a camera of a car that drives along a circle."""
    writer = BagWriter(path)
    kinds = {
        "/image/compressed": "sensor_msgs/msg/CompressedImage",
        "/camera_info": "sensor_msgs/msg/CameraInfo",
        "/odom": "nav_msgs/msg/Odometry",
    }
    for topic, kind in kinds.items():
        writer.add_topic(topic, kind)
    types = writer.types
    jpeg = cv2.imencode(".jpg", image)[1].ravel()
    width, height = _SIZE
    matrix = np.array([width * 0.8, 0, (width - 1) / 2, 0, width * 0.8, (height - 1) / 2, 0, 0, 1])
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    for index in range(frames):
        stamp = _START_NS + index * _PERIOD_NS
        time_stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp, 1_000_000_000))
        header = types["std_msgs/msg/Header"](time_stamp, "camera_optical_frame")
        info = types[kinds["/camera_info"]](
            header, height, width, "plumb_bob", np.zeros(5), matrix, np.eye(3).ravel(), np.zeros(12), 0, 0, roi
        )
        writer.write_message("/odom", stamp, _odometry(types, time_stamp, index))
        writer.write_message("/camera_info", stamp, info)
        writer.write_message("/image/compressed", stamp, types[kinds["/image/compressed"]](header, "jpeg", jpeg))
    writer.close()
    return path


def _odometry(types: Any, time_stamp: Any, index: int) -> Any:
    angle = 0.01 * index
    placed = pose.from_rpy((100 * np.sin(angle), 100 - 100 * np.cos(angle), 0.0), 0.0, 0.0, angle)
    point = types["geometry_msgs/msg/Point"](*placed[:3, 3].tolist())
    turned = types["geometry_msgs/msg/Quaternion"](*pose.quaternion(placed).tolist())
    zero = types["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    where = types["geometry_msgs/msg/PoseWithCovariance"](types["geometry_msgs/msg/Pose"](point, turned), np.zeros(36))
    speed = types["geometry_msgs/msg/TwistWithCovariance"](types["geometry_msgs/msg/Twist"](zero, zero), np.zeros(36))
    header = types["std_msgs/msg/Header"](time_stamp, "odom")
    return types["nav_msgs/msg/Odometry"](header, "base_link", where, speed)


if __name__ == "__main__":
    sys.exit(main())
