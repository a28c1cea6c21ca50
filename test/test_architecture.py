"""Imports point one way, and heavy or ROS-only dependencies stay in the folders that are theirs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "seg_perception"
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "core": set(),
    "engines": {"core"},
    "models": {"core"},
    "ros": {"core", "engines", "msg"},
    "nodes": {"core", "engines", "ros", "msg", "evaluation"},
    "simulation": {"core"},
    "evaluation": {"core", "engines", "simulation"},
    "training": {"core", "engines", "evaluation", "models", "simulation"},
}
"""Folder → the other folders of this package that it may import."""

ROBOT_NODES = ["nodes/grid_mapper.py", "nodes/segmenter.py"]
TORCH = {"lightning_fabric", "segmentation_models_pytorch", "timm", "torch", "torchvision", "transformers"}
ROS = {"ament_index_python", "builtin_interfaces", "cv_bridge", "launch", "launch_ros", "rclpy", "tf2_ros"}
CORE_LIBRARIES = {"cv2", "numpy", "scipy", "yaml"}


def imported_modules(file: str) -> Iterator[str]:
    """Full names of all modules that a file imports, also inside functions and for type checking."""
    package = ["seg_perception", *Path(file).parent.parts]
    for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, node.module] if node.module else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def folder_of(file: str) -> str:
    return Path(file).parts[0] if "/" in file else ""


def is_ros(library: str) -> bool:
    return library in ROS or library.endswith(("_interfaces", "_msgs"))


def in_folders(*folders: str) -> list[str]:
    return [file for file in FILES if folder_of(file) in folders]


def test_every_folder_has_a_rule() -> None:
    assert {folder_of(file) for file in FILES} - {""} == set(MAY_IMPORT)


@pytest.mark.parametrize("file", in_folders(*MAY_IMPORT))
def test_arrows_between_folders(file: str) -> None:
    allowed = MAY_IMPORT[folder_of(file)] | {folder_of(file)}
    own = {name.split(".")[1] for name in imported_modules(file) if name.startswith("seg_perception.")}
    assert own <= allowed


@pytest.mark.parametrize("file", ROBOT_NODES)
def test_nodes_of_a_robot_need_no_evaluation(file: str) -> None:
    assert not [name for name in imported_modules(file) if name.startswith("seg_perception.evaluation")]


MAY_USE_TORCH = {"engines/torch.py", "engines/torch_program.py", *in_folders("models", "training")}


@pytest.mark.parametrize("file", [file for file in FILES if file not in MAY_USE_TORCH])
def test_no_torch(file: str) -> None:
    assert not {name.split(".")[0] for name in imported_modules(file)} & TORCH


@pytest.mark.parametrize("file", [f for f in FILES if folder_of(f) not in {"ros", "nodes"}])
def test_no_ros(file: str) -> None:
    assert not [name for name in imported_modules(file) if is_ros(name.split(".")[0])]


@pytest.mark.parametrize("file", in_folders("core"))
def test_core_needs_little(file: str) -> None:
    libraries = {name.split(".")[0] for name in imported_modules(file)} - sys.stdlib_module_names
    assert libraries <= CORE_LIBRARIES | {"seg_perception"}
