"""The segmenter as a process of its own, over DDS, with a model whose right answer is known."""

from __future__ import annotations

import array
import contextlib
import itertools
import signal
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

import threshold_bundle
from diagnostic_msgs.msg import DiagnosticArray
from node_processes import NodeProcess, wait_for
from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from seg_perception.core.camera import Camera
from seg_perception.engines.resize import Resize
from seg_perception.msg import PipelineStatus, SegmentationClasses
from seg_perception.ros import conversions, qos

FRAME = "front_camera_optical"
CAMERA = Camera(160, 120, np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]]), "plumb_bob", np.zeros(5))


def half_bright(width=160, height=120):
    """Left half dark, right half bright."""
    image = np.full((height, width, 3), 20, np.uint8)
    image[:, width // 2 :] = 230
    return image


def _within(seconds, condition):
    try:
        return wait_for(condition, "", seconds)
    except AssertionError:
        return False


@dataclass
class Rig:
    """A segmenter under a namespace of its own, with a camera and listeners on every topic."""

    client: object
    node: object
    name: str
    image: str = "image"
    sent: list = field(default_factory=list)

    def __post_init__(self):
        ros = self.client.node
        kind = CompressedImage if self.compressed else Image
        self.images = ros.create_publisher(kind, f"{self.name}/{self.image}", qos.stream_output())
        self.infos = ros.create_publisher(CameraInfo, f"{self.name}/camera_info", qos.stream_output())
        self.masks = self.listen(Image, "segmentation/mask", qos.sensor_input(50, "reliable"))
        self.confidences = self.listen(Image, "segmentation/confidence", qos.sensor_input(50, "reliable"))
        self.mask_infos = self.listen(CameraInfo, "segmentation/camera_info", qos.sensor_input(50, "reliable"))
        self.statuses = self.listen(PipelineStatus, "segmenter/status", qos.stream_output())

    @property
    def compressed(self):
        return self.image.endswith("compressed")

    @property
    def path(self):
        return f"{self.name}/segmenter"

    def listen(self, kind, topic, profile):
        return self.client.collect(kind, f"{self.name}/{topic}", profile)

    def connect(self):
        """Discovery is over when an image has been answered: each side may see the other first."""

        tried = []

        def answered():
            tried.append(self.send())
            return _within(0.2, lambda: any(m.header in tried for m in self.masks))

        wait_for(answered, f"first mask of {self.path}")

    def header(self, offset_s=0.0):
        return Header(
            stamp=conversions.stamp_from_ns(Clock().now().nanoseconds + round(offset_s * 1e9)), frame_id=FRAME
        )

    def send(self, pixels=None, header=None, **changes):
        """Publish an image, with fields of the message changed; returns its header."""
        pixels, header = half_bright() if pixels is None else pixels, header or self.header()
        if self.compressed:
            data = array.array("B", cv2.imencode(".png", pixels)[1].tobytes())
            msg = CompressedImage(header=header, format="png", data=data)
        else:
            msg = conversions.bgr_to_image(pixels, header)
        for name, value in changes.items():
            setattr(msg, name, value)
        self.images.publish(msg)
        return msg.header

    def send_info(self, camera=CAMERA, **changes):
        msg = conversions.camera_to_info(camera, self.header())
        for name, value in changes.items():
            setattr(msg, name, value)
        self.infos.publish(msg)

    def answer(self, header, messages=None):
        """The message that answers the image with this header."""
        of = self.masks if messages is None else messages
        return wait_for(lambda: next((m for m in of if m.header == header), None), f"answer on {self.path}")

    def status(self, condition):
        """The first status from now on that fulfils the condition."""
        since = len(self.statuses)
        wait_for(lambda: any(map(condition, self.statuses[since:])), f"status of {self.path}")
        return next(s for s in self.statuses[since:] if condition(s))

    def counters(self):
        status = self.status(lambda s: True)
        return {name: getattr(status, name) for name in ("received", "processed", "stale", "failed")}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return threshold_bundle.write_threshold_bundle(tmp_path_factory.mktemp("bundles") / "threshold")


_names = itertools.count()


@contextlib.contextmanager
def running_rig(client, log, bundle, image="image", remappings=None, **parameters):
    """A rig whose node must end well. image: the topic that its camera publishes."""
    name = f"/rig{next(_names)}"
    parameters = {"model": bundle, "threads": 1, **parameters}
    node = NodeProcess("segmenter", log, parameters, {"__ns": name, **(remappings or {})})
    try:
        yield Rig(client, node, name, image)
    finally:
        node.stop()


@pytest.fixture(scope="module")
def shared_rig(client, bundle, tmp_path_factory):
    with running_rig(client, tmp_path_factory.mktemp("shared") / "log.txt", bundle) as rig:
        yield rig


@pytest.fixture
def make_rig(client, bundle, tmp_path):
    with contextlib.ExitStack() as stack:

        def make(**parameters):
            return stack.enter_context(running_rig(client, tmp_path / "log.txt", **{"bundle": bundle, **parameters}))

        yield make


@pytest.fixture
def rig(shared_rig):
    shared_rig.connect()
    return shared_rig


def test_masks_have_stamp_frame_and_content(rig):
    header = rig.send()
    mask = rig.answer(header)
    assert (mask.encoding, mask.width, mask.height, mask.step) == (
        "mono8",
        threshold_bundle.WIDTH,
        threshold_bundle.HEIGHT,
        threshold_bundle.WIDTH,
    )
    pixels = conversions.image_to_mask(mask)
    assert (pixels[:, : threshold_bundle.WIDTH // 2 - 1] == threshold_bundle.DARK).all()
    assert (pixels[:, threshold_bundle.WIDTH // 2 + 1 :] == threshold_bundle.BRIGHT).all()
    confidence = rig.answer(header, rig.confidences)
    assert (conversions.image_to_mask(confidence) == threshold_bundle.CONFIDENCE).all()


def test_camera_info_is_that_of_the_mask(rig):
    rig.send_info()

    def answered():
        header = rig.send()
        rig.answer(header)
        return next((m for m in rig.mask_infos if m.header == header), None)

    msg = wait_for(answered, "camera_info of the mask")
    camera = conversions.camera_from_info(msg)
    assert (camera.width, camera.height) == (threshold_bundle.WIDTH, threshold_bundle.HEIGHT)
    np.testing.assert_allclose(
        camera.matrix, Resize(threshold_bundle.WIDTH, threshold_bundle.HEIGHT).camera(CAMERA).matrix
    )


def test_classes_reach_a_late_subscriber(rig):
    messages = rig.listen(SegmentationClasses, "segmentation/classes", qos.latched())
    wait_for(lambda: messages, "classes")
    assert messages[0].model == "threshold 1.0"
    assert conversions.classes_from_msg(messages[0]) == threshold_bundle.TABLE


def test_label_info_reaches_a_late_subscriber(rig):
    if conversions.label_info_type() is None:
        pytest.skip("vision_msgs is not installed")
    messages = rig.listen(conversions.label_info_type(), "segmentation/label_info", qos.latched())
    wait_for(lambda: messages, "label_info")
    assert [(c.class_id, c.class_name) for c in messages[0].class_map] == [(0, "dark"), (1, "bright")]


def test_overlay_is_published_for_a_subscriber(rig):
    overlays = rig.listen(Image, "segmentation/overlay", qos.sensor_input(5, "best_effort"))

    def arrived():
        rig.answer(rig.send())
        return overlays

    wait_for(arrived, "overlay")
    overlay = conversions.image_to_bgr(overlays[0])
    expected = threshold_bundle.TABLE.overlay(half_bright(), conversions.image_to_mask(rig.masks[-1]))
    np.testing.assert_array_equal(overlay, expected)


def test_status_tells_stages_counters_and_engine(rig):
    rig.answer(rig.send())
    status = rig.status(lambda s: s.processed)
    assert [s.stage for s in status.latency] == ["wait", "convert", "infer", "publish", "total"]
    assert all(0.0 <= s.p50 <= s.p95 <= s.p99 for s in status.latency)
    assert "threshold 1.0 fp32" in status.engine


TRUNCATED = array.array("B", bytes(100))
BAD_IMAGES = {
    "truncated": {"data": TRUNCATED},
    "empty": {"width": 0, "height": 0, "step": 0, "data": array.array("B")},
    "unknown encoding": {"encoding": "32FC1"},
    "step too small": {"step": 3},
    "huge": {"height": 2**31},
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_image_is_counted_and_the_next_good_one_works(rig, kind):
    before = rig.counters()["failed"]
    rig.send(**BAD_IMAGES[kind])
    status = rig.status(lambda s: s.failed == before + 1)
    assert status.level >= PipelineStatus.WARN and f"{rig.name}/image: " in status.message
    rig.answer(rig.send())


@pytest.mark.parametrize("offset_s", [-3600.0, -0.4], ids=["an hour old", "out of order"])
def test_stale_image_is_counted_and_the_next_good_one_works(rig, offset_s):
    rig.answer(rig.send())
    before = rig.counters()["stale"]
    rig.answer(rig.send())
    stale = rig.send(header=rig.header(offset_s))
    rig.status(lambda s: s.stale == before + 1)
    rig.answer(rig.send())
    assert all(m.header != stale for m in rig.masks)


def test_stamps_that_begin_again_are_followed(rig):
    rig.answer(rig.send())
    earlier = rig.header(-2.0)
    rig.answer(rig.send(header=earlier))
    rig.answer(rig.send())


def test_images_may_change_their_size(rig):
    for width, height in ((320, 240), (100, 37), (160, 120)):
        mask = rig.answer(rig.send(half_bright(width, height)))
        assert (mask.width, mask.height) == (threshold_bundle.WIDTH, threshold_bundle.HEIGHT)


@pytest.mark.parametrize(
    "changes",
    [{"k": np.zeros(9)}, {"k": np.full(9, np.nan)}, {"width": 1234}, {"distortion_model": "unheard_of"}],
    ids=["zero K", "NaN K", "other size", "unknown model"],
)
def test_useless_camera_info_costs_the_camera_info_not_the_mask(rig, changes):
    def refused():
        rig.send_info(**changes)
        header = rig.send()
        rig.answer(header)
        return rig.statuses and f"{rig.name}/camera_info: " in rig.statuses[-1].message

    wait_for(refused, "complaint about camera_info")

    def accepted():
        rig.send_info()
        header = rig.send()
        rig.answer(header)
        return any(m.header == header for m in rig.mask_infos)

    wait_for(accepted, "camera_info after a good one has come")


def test_live_change_of_mask_size_and_refusals(rig):
    assert rig.client.set_parameter(rig.path, "mask_size", "input").successful
    mask = rig.answer(rig.send())
    assert (mask.width, mask.height) == (160, 120)
    assert rig.client.set_parameter(rig.path, "mask_size", "model").successful
    mask = rig.answer(rig.send())
    assert (mask.width, mask.height) == (threshold_bundle.WIDTH, threshold_bundle.HEIGHT)

    refused = rig.client.set_parameter(rig.path, "mask_size", "huge")
    assert not refused.successful
    assert all(word in refused.reason for word in ("mask_size", "'huge'", "model | input"))
    refused = rig.client.set_parameter(rig.path, "model", "other")
    assert not refused.successful and "clean up" in refused.reason


def test_deactivated_it_does_not_subscribe_and_counts_anew_afterwards(rig):
    assert rig.client.transition(rig.path, "deactivate")
    wait_for(lambda: not rig.images.get_subscription_count(), "release of the subscription")
    assert rig.status(lambda s: s.message == "inactive").level == PipelineStatus.WARN
    assert rig.client.transition(rig.path, "activate")
    rig.connect()
    rig.answer(rig.send())
    assert rig.status(lambda s: s.processed).processed <= rig.counters()["received"] < 10


def test_configuring_fails_in_words_and_works_after_the_parameter_is_mended(client, make_rig, bundle, tmp_path):
    rig = make_rig(model=tmp_path / "nothing", autostart=False)
    assert client.state(rig.path) == "unconfigured"
    assert not client.transition(rig.path, "configure")
    assert client.state(rig.path) == "unconfigured"
    reason = rig.status(lambda s: s.level == PipelineStatus.ERROR).message
    assert str(tmp_path / "nothing") in reason and "\n" not in reason
    assert reason in rig.node.log and "Traceback" not in rig.node.log

    assert client.set_parameter(rig.path, "model", str(bundle)).successful
    for label, state in (("configure", "inactive"), ("activate", "active"), ("deactivate", "inactive")):
        assert client.transition(rig.path, label)
        assert client.state(rig.path) == state
    assert client.transition(rig.path, "cleanup")
    assert client.state(rig.path) == "unconfigured"
    assert client.transition(rig.path, "configure") and client.transition(rig.path, "activate")
    rig.connect()
    rig.answer(rig.send())


def test_tampered_model_is_refused(client, make_rig, tmp_path):
    folder = threshold_bundle.write_threshold_bundle(tmp_path / "tampered")
    model = folder / "model.fp32.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    rig = make_rig(model=folder)
    status = rig.status(lambda s: s.level == PipelineStatus.ERROR)
    assert "SHA-256" in status.message
    assert client.state(rig.path) == "unconfigured"


def test_bad_parameter_ends_the_process_with_its_reason(make_rig):
    rig = make_rig(image_transport="smoke_signals")
    assert rig.node.returncode() == 2
    assert "error: parameter image_transport: 'smoke_signals' is not allowed; allowed: raw | compressed" in rig.node.log


def test_nothing_queues_when_images_come_faster_than_masks(client, make_rig, tmp_path):
    slow = threshold_bundle.write_threshold_bundle(tmp_path / "slow", work=4)
    rig = make_rig(model=slow, reliability="reliable")  # else the last image may get lost, too
    rig.connect()
    rig.answer(rig.send())
    timer = client.node.create_timer(0.01, lambda: rig.sent.append(rig.send()))
    status = rig.status(lambda s: len(rig.sent) >= 150 and s.replaced > 20)
    client.node.destroy_timer(timer)
    stages = {s.stage: s for s in status.latency}
    # In a queue, each waits for at least one other, here or in the middleware.
    assert stages["wait"].p50 < stages["infer"].p50
    assert stages["total"].p50 < 3 * stages["infer"].p50

    wait_for(lambda: rig.masks[-1].header == rig.sent[-1], "mask of the last image")  # the timer may just have sent it
    status = rig.status(lambda s: s.received == s.processed + s.replaced and s.processed >= len(rig.masks))
    assert not status.failed and not status.stale
    stamps = [conversions.stamp_to_ns(m.header.stamp) for m in rig.masks]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed_images(make_rig, suffix):
    rig = make_rig(image_transport="compressed", image="image/compressed")
    rig.connect()
    before = rig.counters()["failed"]
    data = cv2.imencode(suffix, half_bright())[1].tobytes()
    rig.send(format=suffix, data=array.array("B", data[: len(data) // 2]))
    rig.status(lambda s: s.failed == before + 1)
    header = rig.send(format=suffix, data=array.array("B", data))
    pixels = conversions.image_to_mask(rig.answer(header))
    assert pixels[20, 10] == threshold_bundle.DARK and pixels[20, -10] == threshold_bundle.BRIGHT


@pytest.mark.parametrize(
    ("remappings", "topic"),
    [
        ({"image": "front/image_raw"}, "front/image_raw/compressed"),
        ({"image": "front/image_raw", "image/compressed": "front/image_raw/compressed"}, "front/image_raw/compressed"),
        ({"image": "front/jpeg_compressed", "image/compressed": "front/jpeg_compressed"}, "front/jpeg_compressed"),
    ],
)
def test_compressed_images_are_on_the_topic_that_they_are_remapped_to(make_rig, remappings, topic):
    make_rig(image_transport="compressed", image=topic, remappings=remappings).connect()


def test_rectified_images_have_their_own_camera(make_rig):
    rig = make_rig(image="image_rect", remappings={"image": "image_rect"})
    rig.connect()
    bent = Camera(160, 120, np.diag([110.0, 110.0, 1.0]), "plumb_bob", np.array([-0.3, 0.1, 0.0, 0.0, 0.0]))

    def answered():
        rig.send_info(bent, p=np.hstack([CAMERA.matrix, np.zeros((3, 1))]).ravel())
        header = rig.send()
        rig.answer(header)
        return next((m for m in rig.mask_infos if m.header == header), None)

    camera = conversions.camera_from_info(wait_for(answered, "camera_info of the mask"))
    expected = Resize(threshold_bundle.WIDTH, threshold_bundle.HEIGHT).camera(CAMERA)
    np.testing.assert_allclose(camera.matrix, expected.matrix)
    assert not camera.distortion.any()


def test_letterboxed_input_has_unknown_borders_and_its_camera(make_rig, tmp_path):
    rig = make_rig(model=threshold_bundle.write_threshold_bundle(tmp_path / "letterbox", resize="letterbox"))
    rig.connect()
    wide = Camera(160, 40, CAMERA.matrix, CAMERA.model, CAMERA.distortion)

    def answered():
        rig.send_info(wide)
        header = rig.send(half_bright(160, 40))
        rig.answer(header)
        return next((m for m in rig.mask_infos if m.header == header), None)

    msg = wait_for(answered, "camera_info of the mask")
    expected = Resize(threshold_bundle.WIDTH, threshold_bundle.HEIGHT, "letterbox").camera(wide)
    np.testing.assert_allclose(conversions.camera_from_info(msg).matrix, expected.matrix)
    pixels = conversions.image_to_mask(rig.answer(msg.header))
    assert set(pixels[0]) == {255} and set(pixels[threshold_bundle.HEIGHT // 2]) == {
        threshold_bundle.DARK,
        threshold_bundle.BRIGHT,
    }


def test_cropped_input_has_its_camera_and_what_was_cut_off_is_unknown(make_rig, tmp_path):
    rig = make_rig(model=threshold_bundle.write_threshold_bundle(tmp_path / "crop", resize="crop"))
    rig.connect()
    wide = Camera(160, 40, CAMERA.matrix, CAMERA.model, CAMERA.distortion)
    resize = Resize(threshold_bundle.WIDTH, threshold_bundle.HEIGHT, "crop")

    def answered():
        rig.send_info(wide)
        header = rig.send(half_bright(160, 40))
        rig.answer(header)
        return next((m for m in rig.mask_infos if m.header == header), None)

    msg = wait_for(answered, "camera_info of the mask")
    np.testing.assert_allclose(conversions.camera_from_info(msg).matrix, resize.camera(wide).matrix)
    pixels = conversions.image_to_mask(rig.answer(msg.header))
    assert set(pixels[:, 0]) == {threshold_bundle.DARK} and set(pixels[:, -1]) == {threshold_bundle.BRIGHT}

    assert rig.client.set_parameter(rig.path, "mask_size", "input").successful
    header = rig.send(half_bright(160, 40))
    mask = conversions.image_to_mask(rig.answer(header))
    confidence = conversions.image_to_mask(rig.answer(header, rig.confidences))
    seen = resize.fit(160, 40).seen
    cut_off = np.ones((40, 160), bool)
    cut_off[seen.slices] = False
    assert cut_off.any()
    assert set(mask[cut_off]) == {255} and set(confidence[cut_off]) == {0}
    assert set(mask[~cut_off]) == {threshold_bundle.DARK, threshold_bundle.BRIGHT}
    assert set(confidence[~cut_off]) == {threshold_bundle.CONFIDENCE}


def test_silence_and_incompatible_publishers_are_diagnosed(client, make_rig):
    diagnostics = client.collect(DiagnosticArray, "/diagnostics", qos.stream_output())
    rig = make_rig(reliability="reliable", timeout=0.5)
    status = rig.status(lambda s: s.level == PipelineStatus.ERROR)
    assert f"nothing on {rig.name}/image" in status.message
    unfit = client.node.create_publisher(Image, f"{rig.name}/image", qos.sensor_input(1, "best_effort"))
    status = rig.status(lambda s: "incompatible QoS" in s.message)
    assert "reliability: best_effort" in status.message
    client.node.destroy_publisher(unfit)
    wait_for(lambda: any(d.status[0].name == f"{rig.path[1:]}: pipeline" for d in diagnostics), "diagnostics")


def test_over_budget_is_a_warning(make_rig):
    rig = make_rig(latency_budget_ms=0.0)
    rig.connect()
    rig.answer(rig.send())
    for _ in range(20):
        rig.answer(rig.send())
    status = rig.status(lambda s: "over budget" in s.message)
    assert status.level == PipelineStatus.WARN


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly_while_it_works(make_rig, number):
    rig = make_rig()
    rig.connect()
    timer = rig.client.node.create_timer(0.01, rig.send)
    wait_for(lambda: rig.masks, "masks")
    rig.node.send(number)
    rig.node.send(number)  # the terminal and the launcher both pass on Ctrl-C
    assert rig.node.returncode() == 0, rig.node.log
    rig.client.node.destroy_timer(timer)
    assert "Traceback" not in rig.node.log and "rror" not in rig.node.log


def test_signal_right_after_the_start(make_rig):
    rig = make_rig()
    wait_for(lambda: rig.statuses or "loaded" in rig.node.log, "start")
    rig.node.send(signal.SIGINT)
    assert rig.node.returncode() == 0, rig.node.log
