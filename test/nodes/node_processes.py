"""Nodes as processes of their own, and a client that talks to them over DDS."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

TIMEOUT_S = 60.0
ANSWER_S = 10.0


def wait_for(condition, what, timeout_s=TIMEOUT_S):
    """Poll until `condition()` is truthy; returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


class NodeProcess:
    """A node of this package, run as `python -m seg_perception.nodes.<module>`."""

    def __init__(self, module: str, log: Path, parameters: dict[str, object], remappings: dict[str, str]) -> None:
        rules = [f"{name}:={_yaml(value)}" for name, value in parameters.items()]
        arguments = [word for rule in rules for word in ("-p", rule)]
        arguments += [word for name, topic in remappings.items() for word in ("-r", f"{name}:={topic}")]
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"seg_perception.nodes.{module}", "--ros-args", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
            )

    @property
    def log(self) -> str:
        """All it has written so far."""
        return self._log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def returncode(self) -> int:
        """Wait for its end; where it does not come, fails with all it has written and where its threads are."""
        try:
            return self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)
            self._process.wait(TIMEOUT_S)
            raise AssertionError(f"it does not end:\n{self.log}") from None

    def stop(self) -> None:
        """SIGINT, unless it has ended already; it must end by itself, with 0."""
        if self._process.poll() is not None:
            return
        self.send(signal.SIGINT)
        try:
            assert self.returncode() == 0, self.log
        finally:
            self._process.kill()


def _yaml(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


class Client:
    """A ROS node of the test, spun in a thread."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def collect(self, kind, topic, profile):
        """A list that grows by every message that arrives."""
        messages = []
        self.node.create_subscription(kind, topic, messages.append, profile)
        return messages

    def call(self, kind, service, request):
        """Response of a service, which may still have to come up."""
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(TIMEOUT_S), f"{service} does not come up"

        def answered():
            # A response is lost where the node has not found this client yet; on a busy machine, that takes a while.
            future = client.call_async(request)
            until = time.monotonic() + ANSWER_S
            while not future.done() and time.monotonic() < until:
                time.sleep(0.01)
            return [future.result()] if future.done() else []

        (response,) = wait_for(answered, f"response of {service}")
        self.node.destroy_client(client)
        return response

    def transition(self, node, label):
        """Ask for a lifecycle transition; whether it succeeded."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        ids = {
            "configure": Transition.TRANSITION_CONFIGURE,
            "activate": Transition.TRANSITION_ACTIVATE,
            "deactivate": Transition.TRANSITION_DEACTIVATE,
            "cleanup": Transition.TRANSITION_CLEANUP,
            "shutdown": Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
        }
        request = ChangeState.Request(transition=Transition(id=ids[label]))
        return self.call(ChangeState, f"{node}/change_state", request).success

    def state(self, node):
        """Label of the lifecycle state."""
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label

    def set_parameter(self, node, name, value):
        """Result of setting one parameter."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]

    def close(self) -> None:
        import rclpy

        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException, ShutdownException

        with contextlib.suppress(ExternalShutdownException, ShutdownException):
            self._executor.spin()
