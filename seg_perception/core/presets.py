"""Files that a launch is given by name or path, and what has to be known of a robot's before its nodes start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from seg_perception.core.errors import DataError

_GRID_MAPPER = ("grid_mapper", "*", "**")
"""Last parts of the names whose parameters are the grid_mapper's."""


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
            for node, parameters in _sections(yaml.safe_load(file.read_text(encoding="utf-8")) or {}):
                if node.rpartition("/")[2] in _GRID_MAPPER:
                    names = parameters.get("cameras", names)
        except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
            raise DataError(f"{file}: not a file of ROS parameters ({error!r})") from error
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{file}: cameras is {names!r}; must be a list of names")
    return names


def _sections(document: Mapping[str, Any], node: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name of a node, perhaps with wildcards, its parameters); namespaces may be mappings around those of nodes."""
    for key, value in document.items():
        if key == "ros__parameters":
            yield node, value
        else:
            yield from _sections(value, f"{node}/{key}")
