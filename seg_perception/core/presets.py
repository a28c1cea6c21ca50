"""Files that a launch is given by name or path, and what has to be known of a robot's before its nodes start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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
            sections = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            for section in sections.values():
                names = section["ros__parameters"].get("cameras", names)
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{file}: not a file of ROS parameters ({error!r})") from error
    return names
