from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from seg_perception.nodes.grid_camera_parameters import CameraParameters
from seg_perception.nodes.grid_mapper_parameters import GridMapperParameters
from seg_perception.nodes.segmenter_parameters import SegmenterParameters
from seg_perception.ros.parameters import ParameterSet

PRESETS = sorted((Path(__file__).resolve().parents[2] / "config" / "robots").glob("*.yaml"))


@pytest.fixture(params=PRESETS, ids=lambda path: path.stem)
def node(request):
    """Makes a node with the parameters of a preset, as `--params-file` gives them to it."""
    context = rclpy.Context()
    rclpy.init(context=context, args=["--ros-args", "--params-file", str(request.param)])
    nodes = []

    def node(name, namespace):
        nodes.append(rclpy.create_node(name, namespace=namespace, context=context))
        return nodes[-1]

    yield node
    for made in nodes:
        made.destroy_node()
    rclpy.shutdown(context=context)


def declared(made, kind):
    """All parameters of a node, by name."""
    values = ParameterSet(made, kind).values
    found = dotted(values)
    for camera in values.camera_names() if kind is GridMapperParameters else ():
        if camera:
            found |= dotted(ParameterSet(made, CameraParameters, prefix=f"{camera}.").values, f"{camera}.")
    return found


def dotted(values, prefix=""):
    return {prefix + name.replace("__", "."): value for name, value in dataclasses.asdict(values).items()}


@pytest.mark.parametrize("namespace", ["", "front"])
@pytest.mark.parametrize(("name", "kind"), [("segmenter", SegmenterParameters), ("grid_mapper", GridMapperParameters)])
def test_preset_sets_only_parameters_that_the_node_has_and_allows(node, name, kind, namespace):
    made = node(name, namespace)
    values = declared(made, kind)
    given = {parameter: p.value for parameter, p in made._parameter_overrides.items()}
    assert given
    unknown = [parameter for parameter in given if not made.has_parameter(parameter)]
    assert not unknown
    kept = {parameter: values[parameter] for parameter in given}
    assert kept == {parameter: tuple(v) if isinstance(v, list) else v for parameter, v in given.items()}


def test_grid_of_a_preset_can_be_laid_out_and_its_cameras_are_above_the_ground(node):
    made = node("grid_mapper", "")
    values = declared(made, GridMapperParameters)
    config = GridMapperParameters(
        **{n: values[n] for n in ("resolution", "size_x", "size_y", "max_range")}
    ).mapper_config()
    assert config.max_range <= min(config.size_x, config.size_y) / 2
    for camera in values["cameras"]:
        assert 0.1 < values[f"{camera}.mount.z" if camera else "mount.z"] < 3.0
