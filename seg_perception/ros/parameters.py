"""A node's parameters as one frozen dataclass: declared, described, checked, and read with types."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, ParameterType, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from seg_perception.core.errors import SegPerceptionError

T = TypeVar("T")

_RULE = "rule"
_LARGEST = {int: 2**63 - 1, float: 1.7976931348623157e308}
_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
_ARRAY_TYPES = {
    bool: ParameterType.PARAMETER_BOOL_ARRAY,
    int: ParameterType.PARAMETER_INTEGER_ARRAY,
    float: ParameterType.PARAMETER_DOUBLE_ARRAY,
    str: ParameterType.PARAMETER_STRING_ARRAY,
}


class ParameterError(SegPerceptionError):
    """A parameter has a value that is not allowed, or that cannot change now."""


def parameter(
    default: T,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    read_only: bool = False,
    live: bool = True,
    any_length: bool = False,
) -> T:
    """A field of a parameter dataclass: bool, int, float, str, or a tuple of one of them.

    minimum, maximum: inclusive, of a number or of each number of a tuple. choices: the only values allowed.
    any_length: a tuple may have any length from 1 on; else it has that of the default.
    read_only: fixed when the process starts. live=False: fixed while the node is configured.
    """
    rule = _Rule(default, description, minimum, maximum, tuple(choices), read_only, live, any_length)
    field: T = dataclasses.field(default=default, metadata={_RULE: rule})
    return field


class ParameterSet(Generic[T]):
    """Declares the fields of a dataclass as parameters of a node and keeps a checked snapshot of their values.

    A double underscore in a field's name is a dot in the parameter's: `mount__x` is `mount.x`.
    A change is checked as a whole: `accept` gets the snapshot to be and may refuse it by raising SegPerceptionError.
    `prefix` goes before the names; `defaults` are used instead of those of the fields.
    `locked` says whether the parameters with live=False are fixed now. `within`: another set of the same node; what
    changes both at once is checked by the rules of both, then by that set's `accept`, and only then by this one's.
    Raises ParameterError if a value given at start is not allowed.
    """

    def __init__(
        self,
        node: Node,
        kind: type[T],
        *,
        locked: Callable[[], bool] = lambda: False,
        accept: Callable[[T], None] = lambda values: None,
        prefix: str = "",
        defaults: T | None = None,
        within: ParameterSet[Any] | None = None,
    ) -> None:
        self._prefix = prefix
        defaults = defaults or kind()
        self._rules: dict[str, _Rule] = {
            prefix + dotted(f.name): dataclasses.replace(f.metadata[_RULE], default=getattr(defaults, f.name))
            for f in dataclasses.fields(kind)  # type: ignore[arg-type]
        }
        self._locked = locked
        self._accept = accept
        self._values = kind(**{self._field(name): _declare(node, name, rule) for name, rule in self._rules.items()})
        self._parts: list[ParameterSet[Any]] = [self]
        if within:
            within._parts.append(self)
        else:
            node.add_on_set_parameters_callback(self._on_set)

    @property
    def values(self) -> T:
        """The current snapshot; immutable, safe to read from any thread."""
        return self._values

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            proposed = [(part, part._proposed(changes)) for part in self._parts]
            for part, values in proposed:
                if values is not None:
                    part._accept(values)
        except SegPerceptionError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for part, values in proposed:
            part._values = part._values if values is None else values
        return SetParametersResult(successful=True)

    def _proposed(self, changes: list[Parameter]) -> T | None:
        """The snapshot to be; None where nothing of this set changes. Raises ParameterError."""
        checked = {self._field(p.name): self._checked(p) for p in changes if p.name in self._rules}
        return dataclasses.replace(self._values, **checked) if checked else None  # type: ignore[type-var]

    def _checked(self, change: Parameter) -> Any:
        rule = self._rules[change.name]
        value = rule.check(change.name, change.value)
        if not rule.live and self._locked() and value != getattr(self._values, self._field(change.name)):
            raise ParameterError(
                f"parameter {change.name}: cannot become {value!r} while the node is configured; "
                "deactivate and clean up the node first"
            )
        return value

    def _field(self, name: str) -> str:
        return name.removeprefix(self._prefix).replace(".", "__")


def misnamed(node: Node) -> list[str]:
    """Parameters given at start that the node has not declared, each with the name that may have been meant."""
    given = getattr(node, "_parameter_overrides", {})  # rclpy tells it in no other way
    declared = list(node.get_parameters_by_prefix(""))
    meant = {name: get_close_matches(name, declared, 1) for name in sorted(set(given).difference(declared))}
    return [f"{name} ({found[0]}?)" if found else name for name, found in meant.items()]


@dataclasses.dataclass(frozen=True)
class _Rule:
    default: Any
    description: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    read_only: bool
    live: bool
    any_length: bool

    @property
    def element(self) -> type:
        return type(self.default[0] if isinstance(self.default, tuple) else self.default)

    @property
    def allowed(self) -> str:
        if self.choices:
            return " | ".join(self.choices)
        low = "" if self.minimum is None else f" >= {self.minimum:g}"
        high = "" if self.maximum is None else f" <= {self.maximum:g}"
        number = self.element.__name__ + " and".join(filter(None, (low, high)))
        if not isinstance(self.default, tuple):
            return number
        return f"{'1 or more' if self.any_length else len(self.default)} times {number}"

    def check(self, name: str, value: Any) -> Any:
        """The value in the field's type; raises ParameterError."""
        many = isinstance(self.default, tuple)
        elements = list(value) if many and not isinstance(value, str) and value is not None else [value]
        complete = not many or (bool(elements) if self.any_length else len(elements) == len(self.default))
        if not complete or not all(map(self._fits, elements)):
            raise ParameterError(f"parameter {name}: {value!r} is not allowed; allowed: {self.allowed}")
        converted = tuple(self.element(element) for element in elements)
        return converted if many else converted[0]

    def _fits(self, value: Any) -> bool:
        # An int where a float belongs is what people write in YAML; a bool is an int to Python, but not to people.
        kinds: tuple[type, ...] = (int, float) if self.element is float else (self.element,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.element is not bool):
            return False
        if self.choices:
            return value in self.choices
        if not isinstance(value, (int, float)):
            return True
        return (
            math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )

    def descriptor(self) -> ParameterDescriptor:
        many = isinstance(self.default, tuple)
        descriptor = ParameterDescriptor(
            type=(_ARRAY_TYPES if many else _TYPES)[self.element],
            description=self.description,
            additional_constraints=f"allowed: {self.allowed}",
            read_only=self.read_only,
        )
        if self.minimum is None and self.maximum is None:
            return descriptor
        largest = _LARGEST[self.element]
        low = self.element(-largest if self.minimum is None else self.minimum)
        high = self.element(largest if self.maximum is None else self.maximum)
        if self.element is int:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return descriptor


def dotted(field: str) -> str:
    """The parameter's name of a field of a dataclass."""
    return field.replace("__", ".")


def _declare(node: Node, name: str, rule: _Rule) -> Any:
    default = list(rule.default) if isinstance(rule.default, tuple) else rule.default
    # Dynamic typing only until the value given at start is checked in our words and has its type.
    given = node.declare_parameter(name, default, ParameterDescriptor(dynamic_typing=True)).value
    value = rule.check(name, given)
    typed = list(value) if isinstance(value, tuple) else value
    node.set_parameters([Parameter(name, value=typed)])
    node.set_descriptor(name, rule.descriptor())
    return value
