"""Files that a launch is given by name or path, and what has to be known of a robot's before its nodes start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from seg_perception.core.errors import DataError


def preset(argument: str, value: str, presets: Mapping[str, Path]) -> Path:
    """What this package has under a name, else what the user has at a path. Raises DataError naming the argument."""
    path = presets.get(value, Path(value).expanduser())
    if value and path.exists():
        return path.resolve()
    known = f"; installed are: {', '.join(sorted(presets))}" if presets else ""
    raise DataError(f"{argument}:={value}: there is no such file or folder{known}")


def robot_files(share: Path, robot: str, params_file: str) -> list[Path]:
    """The parameter files of a robot, each overriding those before it: a preset of `share` or a path, and the user's.

    params_file: empty for none. Raises DataError.
    """
    files = [preset("robot", robot, {path.stem: path for path in share.glob("config/robots/*.yaml")})]
    return [*files, preset("params_file", params_file, {})] if params_file else files


def camera_names(files: Sequence[Path]) -> list[str]:
    """What a robot's files give to the grid_mapper as `cameras`; one camera without a name where they do not.

    Raises DataError.
    """
    names = [""]
    for file in files:
        try:
            names = cameras_of(node_parameters(yaml.safe_load(file.read_text(encoding="utf-8")), "grid_mapper"), names)
        except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError) as error:
            raise DataError(f"{file}: cannot be read as ROS parameters ({error})") from error
    return names


def cameras_of(parameters: Mapping[str, Any], default: Sequence[str] = ("",)) -> list[str]:
    """The grid_mapper's `cameras`, which may be one name, as for the node. Raises TypeError for what is no name."""
    given = parameters.get("cameras", default)
    names = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"cameras is {given!r}; must be a list of names")
    return names


def node_parameters(document: Any, node: str) -> dict[str, Any]:
    """Parameters of a node in what a file of ROS parameters holds, by dotted names, later sections over earlier ones.

    Raises AttributeError or TypeError for a document that is none.
    """
    values: dict[str, Any] = {}
    for name, parameters in _sections(document or {}):
        if name.rpartition("/")[2] in (node, "*", "**"):
            values.update(_dotted(parameters))
    return values


def _sections(document: Mapping[str, Any], node: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name of a node, perhaps with wildcards, its parameters); namespaces may be mappings around those of nodes."""
    for key, value in document.items():
        if key == "ros__parameters":
            yield node, value
        else:
            yield from _sections(value, f"{node}/{key}")


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
