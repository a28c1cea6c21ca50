"""Files that a launch is given by name or path, and what has to be known of a robot's before its nodes start."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from seg_perception.core.errors import DataError
from seg_perception.core.yaml_file import load_yaml

Sections = dict[str, dict[str, Any]]
"""Name of a node, perhaps with wildcards → its parameters by dotted names."""


def preset(argument: str, value: str, presets: Mapping[str, Path]) -> Path:
    """What this package has under a name, else what the user has at a path. Raises DataError naming the argument."""
    path = presets.get(value, Path(value).expanduser())
    if value and path.exists():
        return path.resolve()
    known = f"; installed are: {', '.join(sorted(presets))}" if presets else ""
    raise DataError(f"{argument} {value!r}: there is no such file or folder{known}")


def robot_files(share: Path, robot: str, params_file: str) -> list[Path]:
    """The parameter files of a robot, each overriding those before it: a preset of `share` or a path, and the user's.

    params_file: empty for none. Raises DataError.
    """
    files = [preset("robot", robot, {path.stem: path for path in share.glob("config/robots/*.yaml")})]
    return [*files, preset("params_file", params_file, {})] if params_file else files


def read_sections(file: Path) -> Sections:
    """What a file of ROS parameters holds. Raises DataError."""
    try:
        return _sections_of(load_yaml(file) or {})
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{file}: cannot be read as ROS parameters ({error})") from error


def _sections_of(document: Mapping[str, Any]) -> Sections:
    """What a document of ROS parameters holds. Raises AttributeError or TypeError for one that is none."""
    sections: Sections = {}
    for name, parameters in _named(document):
        sections.setdefault("/" + name.strip("/"), {}).update(_dotted(parameters))
    return sections


def merged(files: Sequence[Sections], nodes: Iterable[str]) -> dict[str, Any]:
    """One document of ROS parameters for some nodes, by their full names; each file overrides all of those before it.

    A node that is given the files themselves keeps a value for each type, and reads integers first: 20 of the robot's
    file would win over 12.5 of the user's. Of sections that are for one node, rcl takes the last, however they are
    called: in one file, those of the robot could stand after the user's.
    """
    document: dict[str, Any] = {}
    for node in nodes:
        values: dict[str, Any] = {}
        for section, parameters in (entry for file in files for entry in file.items()):
            if _addresses(section, node):
                values.update(parameters)
        if values:
            document[node] = {"ros__parameters": values}
    return document


def as_yaml(document: dict[str, Any]) -> str:
    """Without aliases, which rcl does not read, for what nodes have in common."""
    return yaml.dump(document, Dumper=_WithoutAliases, sort_keys=False)


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def require_addressed(files: Iterable[Path], nodes: Collection[str]) -> None:
    """Raises DataError where a file has sections for nodes of a kind, as segmenter, but none for these nodes, or where
    it has none for any of them.

    nodes: their full names, as /front/segmenter. Sections for others may be there as well.
    """
    kinds = sorted({node.rpartition("/")[2] for node in nodes})
    for file in files:
        sections = read_sections(file)
        for kind in kinds:
            named = [section for section in sections if section.rpartition("/")[2] == kind]
            if named and not any(_addresses(section, node) for section in named for node in nodes):
                meant = ", ".join(sorted(node for node in nodes if node.endswith(f"/{kind}")))
                raise DataError(f"{file}: section {', '.join(named)} is not for {meant}; call it /**/{kind}")
        if not any(_addresses(section, node) for section in sections for node in nodes):
            there = f"its sections are {', '.join(sections)}" if sections else "it has no sections"
            called = " and ".join(f"/**/{kind}" for kind in kinds)
            raise DataError(f"{file}: {there}, which reach no node of this launch; call them {called}")


def require_own_topics(cameras: Sequence[str], topics: Mapping[str, str]) -> None:
    """Raises DataError where several cameras would all get one topic. topics: argument of the launch → what it says."""
    for argument, topic in topics.items():
        if len(cameras) > 1 and topic.startswith("/"):
            raise DataError(
                f"{argument}:={topic} would be that of each of the cameras {', '.join(cameras)}; give its name below "
                "theirs, without / at its beginning"
            )


def _addresses(section: str, node: str) -> bool:
    """Whether a section is for a node, as rcl has it: * stands for one part of a name, ** for any number of them."""
    parts = {"**": "(/[^/]+)*", "*": "/[^/]+"}
    pattern = "".join(parts.get(part, "/" + re.escape(part)) for part in section.strip("/").split("/"))
    return re.fullmatch(pattern, node) is not None


def camera_names(files: Sequence[Path]) -> list[str]:
    """What a robot's files give to the grid_mapper as `cameras`; one camera without a name where they do not.

    Raises DataError.
    """
    names = [""]
    for file in files:
        parameters = node_parameters(read_sections(file), "grid_mapper")
        try:
            names = cameras_of(parameters, names)
        except TypeError as error:
            raise DataError(f"{file}: cannot be read as ROS parameters ({error})") from error
    return names


def cameras_of(parameters: Mapping[str, Any], default: Sequence[str] = ("",)) -> list[str]:
    """The grid_mapper's `cameras`, which may be one name, as for the node. Raises TypeError for what is no name."""
    given = parameters.get("cameras", default)
    names = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"cameras is {given!r}; must be a list of names")
    return names


def node_parameters(sections: Sections, node: str) -> dict[str, Any]:
    """Parameters of a node, later sections over earlier ones."""
    values: dict[str, Any] = {}
    for name, parameters in sections.items():
        if name.rpartition("/")[2] in (node, "*", "**"):
            values.update(parameters)
    return values


def _named(document: Mapping[str, Any], node: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name of a node, its parameters); namespaces may be mappings around those of nodes."""
    for key, value in document.items():
        if key == "ros__parameters":
            yield node, value
        elif not isinstance(value, Mapping):
            raise TypeError(f"{node.lstrip('/') or 'it'} has {key} without `ros__parameters:` above it")
        else:
            yield from _named(value, f"{node}/{key}")


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
