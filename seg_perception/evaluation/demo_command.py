"""`seg-perception demo`: the whole pipeline at work, on a simulated drive or on the user's own images or bag."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from seg_perception.core.errors import DataError
from seg_perception.core.writable import make_folder, write_whole
from seg_perception.engines.bundle import Bundle
from seg_perception.evaluation.demo_report import report
from seg_perception.evaluation.demo_run import LOGS_FOLDER, PARAMETERS_FILE, RunRequest, recorded_by_demo, run_nodes
from seg_perception.evaluation.drive_material import DriveRequest, rendered_drive
from seg_perception.evaluation.evaluate_robot import robot_file
from seg_perception.evaluation.material import open_material
from seg_perception.evaluation.processes import require_ros

_DRIVE_FRAMES = 150
_RESULTS = ("overview.png", "drive.mp4", "summary.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    material = parser.add_mutually_exclusive_group()
    material.add_argument("--images", type=Path, metavar="FOLDER", help="play a folder of images instead of the drive")
    material.add_argument("--bag", type=Path, metavar="ROSBAG2", help="play the camera images of a rosbag2")
    parser.add_argument("--topic", default="", help="image topic of the bag (default: its front camera, or all)")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=0, help=f"default: all; of the drive {_DRIVE_FRAMES}")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which simulated street (default: %(default)s)")
    parser.add_argument("--model", default="road_lite", help="bundle, by name or folder (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu | cuda | cuda:N (default: %(default)s)")
    parser.add_argument("--robot", default="car", help="preset in config/robots, or a file (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the nodes, then report what they published."""
    _check(args)
    _check_out(args.out, args.images or args.bag)
    require_ros()
    robot_file(args.robot)
    bundle = Bundle.load(args.model)
    material_path = (
        args.images or args.bag or rendered_drive(DriveRequest(args.seed, args.frames or _DRIVE_FRAMES, args.rate))
    )
    material = open_material(material_path, args.topic)
    if material.why_no_grid:
        print(f"masks and overlays only: {material.why_no_grid}")
    make_folder(args.out, DataError)
    for name in _RESULTS:
        (args.out / name).unlink(missing_ok=True)
    request = RunRequest(
        material_path, args.topic, args.frames, args.rate, str(bundle.root.resolve()), args.device, args.robot
    )
    frame_of = run_nodes(request, material, args.out)
    summary = report(args.out, frame_of, material, bundle, args.device, args.rate)
    write_whole(args.out / "summary.json", json.dumps(_plain(summary), indent=2) + "\n", DataError)
    _print(args.out, summary)
    _require_results(args.out, summary, with_grid=not material.why_no_grid)
    return 0


def _check(args: argparse.Namespace) -> None:
    if not 0.1 <= args.rate <= 1000.0:
        raise DataError(f"--rate is {args.rate:g}; give 0.1 to 1000 frames per second")
    if args.frames < 0 or args.seed < 0:
        raise DataError(f"--frames {args.frames} --seed {args.seed}: neither may be negative")


def _check_out(out: Path, played: Path | None) -> None:
    """Raises DataError where something else than the results of an earlier demo would be replaced."""
    bag = out / "bag"
    if played and bag.resolve() in (played.resolve(), *played.resolve().parents):
        raise DataError(f"{played} is where the demo would record to; choose another --out")
    for name in () if recorded_by_demo(out) else (*_RESULTS, bag.name, PARAMETERS_FILE, LOGS_FOLDER):
        if (out / name).exists():
            raise DataError(f"{out / name} was not made here by a demo, which would replace it; choose another --out")


def _require_results(out: Path, summary: dict[str, Any], *, with_grid: bool) -> None:
    """Raises DataError, with the node's last warning, where it has made nothing."""
    made = {"segmenter": summary["masks_out"]} | ({"grid_mapper": summary["grids_out"]} if with_grid else {})
    for node, count in made.items():
        if not count:
            log = out / LOGS_FOLDER / f"{node}.log"
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            warnings = [line for line in lines if "[WARN]" in line or "[ERROR]" in line]
            raise DataError(f"{node} has published nothing: {(warnings or ['it gave no reason'])[-1]} (all in {log})")


def _plain(value: Any) -> Any:
    """JSON has no NaN: null instead."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _print(out: Path, summary: dict[str, Any]) -> None:
    latency = summary["latency_ms"]["image_to_mask"]
    print(f"{summary['masks_out']} masks of {summary['frames_in']} frames", end="")
    print(f", image to mask p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms" if latency else "")
    if summary["mask"]["miou"] is not None:
        print(f"mask mIoU {summary['mask']['miou']:.3f}")
    elif "why" in summary["mask"]:
        print(f"no mask mIoU: {summary['mask']['why']}")
    if summary["grid"]:
        print("grid: " + ", ".join(f"{name} {value}" for name, value in summary["grid"].items()))
    for name in (*_RESULTS, "bag"):
        if (out / name).exists():
            print(f"  {out / name}")
