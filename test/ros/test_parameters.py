from __future__ import annotations

from dataclasses import dataclass

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.parameter import Parameter

from seg_perception.core.errors import SegPerceptionError
from seg_perception.ros.parameters import ParameterError, ParameterSet, parameter


@dataclass(frozen=True)
class Example:
    model: str = parameter("", "Folder of the model.", live=False)
    mode: str = parameter("fast", "How to run.", choices=("fast", "exact"))
    depth: int = parameter(1, "Messages kept.", minimum=1, maximum=10, read_only=True)
    gain: float = parameter(1.0, "Factor.", minimum=0.0)
    mount: tuple[float, ...] = parameter((0.0, 0.0, 1.5), "Position, m.", minimum=-10, maximum=10)
    enabled: bool = parameter(True, "Whether it runs.")


@pytest.fixture
def make_node():
    context = rclpy.Context()
    nodes = []

    def make(**overrides):
        arguments = [word for name, value in overrides.items() for word in ("-p", f"{name}:={value}")]
        nodes.append(rclpy.create_node("example", context=context, cli_args=["--ros-args", *arguments]))
        return nodes[-1]

    rclpy.init(context=context)
    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def set_one(node, name, value):
    return node.set_parameters([Parameter(name, value=value)])[0]


def test_defaults_and_values_given_at_start(make_node):
    values = ParameterSet(make_node(mode="exact", gain=3, mount="[1, 2, 3]"), Example).values
    assert values == Example(mode="exact", gain=3.0, mount=(1.0, 2.0, 3.0))
    assert isinstance(values.gain, float)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mode", "slow", ["mode", "'slow'", "fast | exact"]),
        ("depth", "0", ["depth", "0", ">= 1 and <= 10"]),
        ("gain", "-0.5", ["gain", "-0.5", ">= 0"]),
        ("gain", ".nan", ["gain", "nan", ">= 0"]),
        ("gain", "much", ["gain", "'much'", "float"]),
        ("enabled", "1", ["enabled", "1", "bool"]),
        ("mount", "[1.0, 2.0]", ["mount", "3 times"]),
        ("mount", "[1.0, 2.0, 30.0]", ["mount", "30.0", "<= 10"]),
    ],
)
def test_refuses_a_bad_value_at_start_in_words(make_node, name, value, words):
    with pytest.raises(ParameterError) as error:
        ParameterSet(make_node(**{name: value}), Example)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_describes_every_parameter(make_node):
    node = make_node()
    ParameterSet(node, Example)
    depth, gain, mode = node.describe_parameters(["depth", "gain", "mode"])
    assert (depth.integer_range[0].from_value, depth.integer_range[0].to_value, depth.read_only) == (1, 10, True)
    assert gain.floating_point_range[0].from_value == 0.0
    assert (mode.description, mode.additional_constraints) == ("How to run.", "allowed: fast | exact")


def test_live_change_is_seen_and_refusals_leave_everything_as_it_was(make_node):
    node = make_node()
    parameters = ParameterSet(node, Example)
    assert set_one(node, "gain", 2.0).successful
    assert parameters.values.gain == 2.0
    for name, value in [("gain", -1.0), ("mode", "slow"), ("depth", 2), ("gain", "text"), ("mount", [0.0])]:
        assert not set_one(node, name, value).successful
    refused = set_one(node, "mode", "slow").reason
    assert "mode" in refused and "'slow'" in refused and "fast | exact" in refused
    assert parameters.values == Example(gain=2.0)
    assert node.get_parameter("mode").value == "fast"


def test_a_set_is_applied_as_a_whole_or_not_at_all(make_node):
    node = make_node()
    parameters = ParameterSet(node, Example)
    result = node.set_parameters_atomically([Parameter("gain", value=5.0), Parameter("mode", value="slow")])
    assert not result.successful
    assert parameters.values == Example()


@pytest.mark.parametrize("refused", [Parameter("gain", value=5.0), Parameter("mode", value="slow")])
def test_what_one_of_two_sets_refuses_the_other_does_not_take_over_either(make_node, refused):
    def accept(values):
        if values.gain > 1:
            raise SegPerceptionError("parameter gain: at most 1")

    node, taken_over = make_node(), []
    parameters = ParameterSet(node, Example, accept=accept)
    part = ParameterSet(node, Example, prefix="front.", accept=taken_over.append, within=parameters)
    assert not node.set_parameters_atomically([Parameter("front.gain", value=0.5), refused]).successful
    assert (parameters.values, part.values, taken_over) == (Example(), Example(), [])
    assert set_one(node, "front.gain", 0.5).successful
    assert (parameters.values, part.values, taken_over) == (Example(), Example(gain=0.5), [Example(gain=0.5)])


def test_the_node_may_refuse_a_combination(make_node):
    def accept(values):
        if values.mode == "exact" and values.gain > 1:
            raise SegPerceptionError("parameter gain: exact mode takes at most 1")

    node = make_node()
    parameters = ParameterSet(node, Example, accept=accept)
    assert set_one(node, "gain", 2.0).successful
    result = set_one(node, "mode", "exact")
    assert (result.successful, result.reason) == (False, "parameter gain: exact mode takes at most 1")
    assert parameters.values.mode == "fast"


def test_what_is_not_live_is_fixed_while_locked(make_node):
    locked = True
    node = make_node()
    parameters = ParameterSet(node, Example, locked=lambda: locked)
    refused = set_one(node, "model", "other")
    assert not refused.successful and "model" in refused.reason and "clean up" in refused.reason
    locked = False
    assert set_one(node, "model", "other").successful
    assert parameters.values.model == "other"


def test_foreign_parameters_are_left_alone(make_node):
    node = make_node()
    ParameterSet(node, Example)
    assert set_one(node, "use_sim_time", True).successful


@dataclass(frozen=True)
class Wheel:
    radius: float = parameter(0.3, "m.", minimum=0.0)
    tags: tuple[str, ...] = parameter(("",), "Any number of words.", any_length=True)
    axle__x: float = parameter(0.0, "m.")


def test_the_same_parameters_below_several_prefixes(make_node):
    node = make_node(**{"left.radius": 0.5, "right.axle.x": 2})
    left, right = (ParameterSet(node, Wheel, prefix=f"{n}.", defaults=Wheel(radius=0.4)) for n in ("left", "right"))
    assert (left.values, right.values) == (Wheel(radius=0.5), Wheel(radius=0.4, axle__x=2.0))
    assert set_one(node, "right.axle.x", 3.0).successful
    assert (left.values.axle__x, right.values.axle__x) == (0.0, 3.0)
    refused = set_one(node, "left.radius", -1.0)
    assert not refused.successful and "left.radius" in refused.reason


def test_a_tuple_of_any_length(make_node):
    assert ParameterSet(make_node(tags="[a, b, c]"), Wheel).values.tags == ("a", "b", "c")
    assert ParameterSet(make_node(), Wheel).values.tags == ("",)
    with pytest.raises(ParameterError, match="1 or more times str"):
        ParameterSet(make_node(tags="[1, 2]"), Wheel)
