"""Node processes: started together, watched together, ended by SIGINT, with their last words kept."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from seg_perception.core.errors import SegPerceptionError
from seg_perception.core.fastdds import large_images_profile, profile_variables
from seg_perception.core.share import share_folder

_PR_SET_PDEATHSIG = 1
_STOP_S = 10.0
_LAST_LINES = 12


class ProcessError(SegPerceptionError):
    """A node ended on its own, did not end, or returned an error."""


class NodeProcess:
    """One node of this package as a process of its own.

    stdout is for the program (`lines`), stderr goes to `log` and its end into error messages.
    """

    def __init__(self, name: str, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._file = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "seg_perception.nodes.entry", name, "--ros-args", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._file,
            env=environment,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C reaches us alone, so that we choose the order in which nodes end
            preexec_fn=_end_with_parent,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    @property
    def spoke(self) -> bool:
        """Whether there is anything in its log."""
        return self.log.stat().st_size > 0

    def line(self, timeout_s: float) -> str | None:
        """Next line of stdout, or None when there was none in time or the process has closed it."""
        with contextlib.suppress(queue.Empty):
            return self._lines.get(timeout=timeout_s)
        return None

    def stop(self) -> None:
        """SIGINT, then wait. Raises ProcessError if it does not end in time or returns an error."""
        if self.running:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            late = f"{self.name} did not end within {_STOP_S:.0f} s of SIGINT"
            raise ProcessError(f"{late}; {self.last_words()}") from None
        finally:
            self._file.close()
        if self._process.returncode != 0:
            raise ProcessError(f"{self.name} ended with exit code {self._process.returncode}; {self.last_words()}")

    def kill(self) -> None:
        """For processes that did not end when asked."""
        self._process.kill()
        self._process.wait()

    def peak_rss_mib(self) -> float:
        """Most memory it had resident so far; it must be running."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        tail = deque(self.log.read_text(encoding="utf-8", errors="replace").splitlines(), maxlen=_LAST_LINES)
        return f"its last lines (all in {self.log}):\n  " + ("\n  ".join(tail) or "(nothing)")

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


class NodeGroup:
    """Nodes that can see each other and nobody else; leaving the context ends them in the order they were started.

    Inside the context SIGTERM is a KeyboardInterrupt, as SIGINT is.
    """

    def __init__(self, log_folder: Path) -> None:
        require_ros()
        log_folder.mkdir(parents=True, exist_ok=True)
        self._log_folder = log_folder
        self._environment = {"ROS_LOG_DIR": str(log_folder / "ros"), **private_environment()}
        self._nodes: list[NodeProcess] = []

    def start(self, name: str, arguments: Sequence[str]) -> NodeProcess:
        """Start the node `seg_perception.nodes.<name>` with `--ros-args <arguments>`."""
        node = NodeProcess(name, arguments, self._environment, self._log_folder / f"{name}.log")
        self._nodes.append(node)
        return node

    def follow(self, node: NodeProcess) -> Iterator[str]:
        """Lines of stdout of a node until it ends. Raises ProcessError as soon as any other one has ended."""
        while True:
            line = node.line(timeout_s=0.5)
            if line is not None:
                yield line
            elif not node.running:
                return
            self.check(may_end=node)

    def pause(self, seconds: float, may_end: NodeProcess | None = None) -> None:
        """Let the nodes work for a while; raises ProcessError as soon as one has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check(may_end)
            time.sleep(0.1)

    def check(self, may_end: NodeProcess | None = None) -> None:
        """Raises ProcessError if a node has ended."""
        for node in self._nodes:
            if node is not may_end and not node.running:
                raise ProcessError(f"{node.name} ended early, exit code {node.returncode}; {node.last_words()}")

    def stop(self) -> None:
        """End all nodes, in the order they were started. Raises the first ProcessError after the last one has ended."""
        first: ProcessError | None = None
        while self._nodes:
            try:
                self._nodes.pop(0).stop()
            except ProcessError as error:
                first = first or error
        if first:
            raise first

    def __enter__(self) -> NodeGroup:
        self._previous_handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with _undisturbed():
            if error is None:
                self.stop()
            else:
                with contextlib.suppress(ProcessError):
                    self.stop()
        signal.signal(signal.SIGTERM, self._previous_handler)


def require_ros() -> None:
    """Raises SegPerceptionError, with the way out, where the nodes could not be started."""
    if find_spec("rclpy") is None:
        raise SegPerceptionError("ROS 2 is not in this environment; use `make demo`, or source your ROS 2 first")
    if find_spec("seg_perception.msg") is None:
        raise SegPerceptionError(
            "this package's messages are not built; run `make setup` (or colcon build) and source install/setup.bash"
        )


def private_environment() -> dict[str, str]:
    """The environment of nodes that talk on this machine only, in a ROS domain of their own."""
    environment = dict(os.environ)
    environment["ROS_DOMAIN_ID"] = str(free_domain())
    environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if environment.get("ROS_DISTRO") == "humble":
        environment["ROS_LOCALHOST_ONLY"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["RCUTILS_COLORIZED_OUTPUT"] = "0"
    if not environment.keys() & set(profile_variables()):
        environment[profile_variables()[0]] = str(large_images_profile(share_folder()))
    return environment


def free_domain() -> int:
    """A ROS domain in which nobody on this machine takes part yet (1..100)."""
    domains = list(range(1, 101))
    random.shuffle(domains)
    for domain in domains:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first_participant:
            first_participant.bind(("", 7410 + 250 * domain))
            return domain
    raise SegPerceptionError("ROS domains 1 to 100 are all in use on this machine; end some ROS 2 nodes first")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave nodes running or a bag open."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
