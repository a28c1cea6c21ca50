"""What the nodes of the pipeline share: lifecycle, parameters, health, and a clean end."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import rclpy
from rclpy._rclpy_pybind11 import RCLError  # it has no public name
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, State, TransitionCallbackReturn
from rclpy.qos import QoSProfile

from seg_perception.core.errors import SegPerceptionError, one_line
from seg_perception.core.memory import keep_freed_memory
from seg_perception.nodes.half_made import destroy_half_made_node
from seg_perception.nodes.signals import on_signals
from seg_perception.ros.diagnostics import TOTAL, Finding, HealthPublisher, Level, PipelineMonitor
from seg_perception.ros.parameters import ParameterSet, misnamed, parameter

_HEALTH_PERIOD_S = 1.0
_UNCONFIGURED, _INACTIVE = "not configured: nothing is loaded", "inactive"
_LONGEST_END_S = 15.0
"""The launch files wait a little longer."""


@dataclass(frozen=True)
class PipelineParameters:
    """Parameters of every node of the pipeline."""

    autostart: bool = parameter(
        True, "Configure and activate at start; false leaves that to a lifecycle manager.", read_only=True
    )
    timeout: float = parameter(2.0, "Seconds without usable input after which the node is in ERROR.", minimum=0.1)
    latency_budget_ms: float = parameter(
        150.0, "From the stamp of an input to publishing, ms; a p95 above it is a WARN.", minimum=0.0
    )


P = TypeVar("P", bound=PipelineParameters)


class PipelineNode(LifecycleNode, Generic[P]):
    """A lifecycle node: configure validates and loads, activate subscribes, deactivate releases, cleanup frees.

    Subclasses implement these four steps; the first two may raise SegPerceptionError, the other two must also work
    after a step that failed halfway. A failed step leaves the node in its state, with the reason in log and health.
    """

    def __init__(self, name: str, parameters: type[P]) -> None:
        """Raises ParameterError."""
        super().__init__(name)
        self.monitor = PipelineMonitor()
        self._health = HealthPublisher(self, self.monitor)
        self._configured = self._active = False
        self._failure = ""
        self._rest = _UNCONFIGURED  # why it does nothing, while it is not active
        self._outputs: list[LifecyclePublisher] = []
        self._parameter_set = ParameterSet(self, parameters, locked=lambda: self._configured, accept=self.accept)
        # Up to Jazzy, rclpy lets a request that does not fit the state end the process.
        self._service_change_state.callback = _refusing(self._service_change_state.callback)
        # Steady: health must be told also when simulated time stands still.
        self.create_timer(_HEALTH_PERIOD_S, self.publish_health, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def values(self) -> P:
        """Current parameters."""
        return self._parameter_set.values

    def accept(self, values: P) -> None:
        """Take over changed parameters, or refuse them by raising SegPerceptionError."""

    def configure(self) -> None:
        raise NotImplementedError

    def activate(self) -> None:
        raise NotImplementedError

    def deactivate(self) -> None:
        raise NotImplementedError

    def cleanup(self) -> None:
        raise NotImplementedError

    def engine(self) -> str:
        """What really runs, for the status."""
        return ""

    def findings(self) -> Iterator[Finding]:
        """What is wrong while active."""
        if self.get_clock().now().nanoseconds == 0:
            yield Finding(Level.ERROR, "use_sim_time is true, but nothing is on /clock; play the bag with --clock")
        p95, budget = self.monitor.recent_p95(TOTAL), self.values.latency_budget_ms
        if p95 and p95 > budget:
            yield Finding(Level.WARN, f"over budget: {p95:.0f} ms from stamp to result (p95), allowed {budget:.0f}")

    def advertise(self, kind: type, topic: str, profile: QoSProfile) -> LifecyclePublisher:
        """A publisher that publishes while the node is active, and is destroyed at cleanup."""
        publisher = self.create_lifecycle_publisher(kind, topic, profile)
        self._outputs.append(publisher)
        return publisher

    def start(self) -> None:
        """Configure and activate, as a lifecycle manager would."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Release everything, in whatever state the node is."""
        self.deactivate()
        self._clean_up()

    def publish_health(self) -> None:
        """Tell `~/status` and `/diagnostics` how the node is doing."""
        if self._active:
            findings = list(self.findings())
        elif self._failure:
            findings = [Finding(Level.ERROR, self._failure)]
        else:
            findings = [Finding(Level.WARN, self._rest)]
        self._health.publish(findings, self.engine())

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        unknown = misnamed(self)
        if unknown:
            self.get_logger().warning(f"ignored, as this node has no such parameters: {', '.join(unknown)}")
        self._configured = self._attempt(self.configure, undo=self._clean_up)
        self._rest = _INACTIVE if self._configured else _UNCONFIGURED
        return _outcome(self._configured)

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        super().on_activate(state)
        self.monitor.reset()
        self._active = self._attempt(self.activate, undo=self.deactivate)
        if not self._active:
            super().on_deactivate(state)
        return _outcome(self._active)

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        self._active = False
        self.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        self._clean_up()
        self._failure = ""
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        self.close()
        self._failure = ""
        self._rest = "shut down for good; start the process again"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: State) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def _attempt(self, step: Callable[[], None], undo: Callable[[], None]) -> bool:
        try:
            step()
        except Exception as error:  # noqa: BLE001 (rclpy would swallow it without a word)
            if self.context.ok():  # else: the signal that ends the process came in between
                expected = isinstance(error, SegPerceptionError)
                self._failure = f"{step.__name__} failed: {error if expected else repr(error)}"
                self.get_logger().error(self._failure if expected else f"{self._failure}\n{traceback.format_exc()}")
            undo()
            return False
        self._failure = ""
        return True

    def _clean_up(self) -> None:
        self._configured = self._active = False
        self._rest = _UNCONFIGURED
        self.cleanup()
        for publisher in self._outputs:
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()


def run(make_node: Callable[[], PipelineNode[Any]], args: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT or SIGTERM; returns the exit code: 0, 2 where the node cannot be made, 1 after a fault.

    Where the process has not ended long after the signal or the failure, blocked in the middleware or a driver, it says
    where and ends with 1.
    """
    # rclpy's handlers, installed by init, end the spinning and call these; Python's own would interrupt anything.
    stop = threading.Event()

    def end(*_: object) -> None:
        first = not stop.is_set()
        stop.set()
        if sys.stderr and first:  # another signal does not grant more time
            faulthandler.dump_traceback_later(_LONGEST_END_S, exit=True)

    on_signals(end)
    keep_freed_memory()
    try:
        rclpy.init(args=args)
    except RuntimeError as error:  # rcl cannot read the arguments, or a file of parameters
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    node = None
    try:
        if not stop.is_set():  # a signal before rclpy listened
            node = make_node()
            if node.values.autostart:
                node.start()
            rclpy.spin(node)
    except ExternalShutdownException:
        pass
    except SegPerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception:  # noqa: BLE001 (raised on, it would keep what the constructor has begun)
        if rclpy.ok():  # else: whatever was just using the context that the signal has shut down
            traceback.print_exc()
            return 1
    finally:
        end()
        if node:
            node.close()
            node.destroy_node()
        else:
            destroy_half_made_node()
        rclpy.try_shutdown()
        on_signals(signal.SIG_IGN)  # a second Ctrl-C must not kill the interpreter while it ends
    return 0


def _refusing(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A service's callback that answers with failure where the transition is refused."""

    def answer_or_refuse(request: Any, response: Any) -> Any:
        try:
            return answer(request, response)
        except RCLError:
            response.success = False
            return response

    return answer_or_refuse


def _outcome(success: bool) -> TransitionCallbackReturn:
    return TransitionCallbackReturn.SUCCESS if success else TransitionCallbackReturn.FAILURE
