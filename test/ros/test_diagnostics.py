from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticArray

from seg_perception.msg import PipelineStatus
from seg_perception.ros.diagnostics import Finding, HealthPublisher, Level, PipelineMonitor


def test_percentiles_of_recent_samples_only():
    monitor = PipelineMonitor()
    for _ in range(1000):
        monitor.processed({"infer": 500.0})
    for value in range(1, 513):
        monitor.processed({"infer": float(value), "total": 1.0})
    latencies = monitor.latencies()
    assert list(latencies) == ["infer", "total"]
    infer = latencies["infer"]
    assert (infer.p50, infer.samples) == (256.5, 512)
    assert 486 < infer.p95 < 488 and 506 < infer.p99 < 508


def test_counts_from_many_threads_and_starts_again_from_zero():
    monitor = PipelineMonitor()
    threads = [threading.Thread(target=lambda: [monitor.count("received") for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monitor.counters()["received"] == 4000
    monitor.processed({"total": 1.0})
    monitor.reset()
    assert set(monitor.counters().values()) == {0}
    assert monitor.latencies() == {} and monitor.rate() == 0.0


def receive(spun, publish):
    """The first status and diagnostics that arrive."""
    got = {}
    spun.node.create_subscription(PipelineStatus, "example/status", lambda m: got.setdefault("status", m), 1)
    spun.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: got.setdefault("array", m), 1)

    def both():
        publish()
        return len(got) == 2

    spun.spin_until(both)
    return got["status"], got["array"].status[0]


def test_worst_finding_leads_and_all_figures_are_told(spun):
    monitor = PipelineMonitor()
    for counter in ("received", "received", "stale", "without_camera_info"):
        monitor.count(counter)
    monitor.processed({"infer": 3.0, "total": 8.0})
    health = HealthPublisher(spun.node, monitor)
    findings = [Finding(Level.WARN, "slow"), Finding(Level.ERROR, "no image on /image for 3.0 s")]
    status, diagnostic = receive(spun, lambda: health.publish(findings, "int8 on cpu"))

    assert (status.level, status.message) == (PipelineStatus.ERROR, "no image on /image for 3.0 s; slow")
    assert (status.received, status.processed, status.stale, status.engine) == (2, 1, 1, "int8 on cpu")
    assert [(s.stage, s.p50, s.samples) for s in status.latency] == [("infer", 3.0, 1), ("total", 8.0, 1)]

    values = {v.key: v.value for v in diagnostic.values}
    assert (diagnostic.level, diagnostic.message, diagnostic.name) == (
        b"\x02",
        status.message,
        "robot/example: pipeline",
    )
    assert values["without_camera_info"] == "1" and values["total_ms p50 p95 p99"] == "8.0 8.0 8.0"


def test_no_finding_means_ok(spun):
    health = HealthPublisher(spun.node, PipelineMonitor())
    status, diagnostic = receive(spun, lambda: health.publish([]))
    assert (status.level, status.message, diagnostic.level) == (PipelineStatus.OK, "OK", b"\x00")


def test_every_part_has_its_own_entry_and_counts_for_the_whole(spun):
    monitor = PipelineMonitor()
    left, right = monitor.part("left"), monitor.part("right")
    left.count("received")
    right.count("received")
    right.processed({"total": 4.0})
    health = HealthPublisher(spun.node, monitor)
    findings = [Finding(Level.ERROR, "nothing on /left", part="left"), Finding(Level.WARN, "no odometry")]
    arrays = []
    spun.node.create_subscription(DiagnosticArray, "/diagnostics", arrays.append, 1)
    status, _ = receive(spun, lambda: health.publish(findings))
    assert (status.level, status.message) == (PipelineStatus.ERROR, "nothing on /left; no odometry")
    assert (status.received, status.processed) == (2, 1)

    entries = {entry.name: entry for entry in arrays[-1].status}
    assert list(entries) == [f"robot/example: {part}" for part in ("pipeline", "left", "right")]
    left, right = entries["robot/example: left"], entries["robot/example: right"]
    assert (left.level, left.message) == (b"\x02", "nothing on /left; no odometry")
    assert (right.level, right.message) == (b"\x01", "no odometry")
    counted = [{v.key: v.value for v in entry.values} for entry in (left, right)]
    assert [(c["received"], c["processed"]) for c in counted] == [("1", "0"), ("1", "1")]

    monitor.reset()
    assert not monitor.parts()
