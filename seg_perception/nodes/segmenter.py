"""Node: camera images in; masks, confidences and their camera out. Always the newest image, never a queue."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from seg_perception.core.camera import Camera
from seg_perception.core.camera_topics import is_rectified
from seg_perception.core.errors import CameraError, SegPerceptionError
from seg_perception.core.pairing import CameraInfos
from seg_perception.core.stamps import StampGuard
from seg_perception.engines.base import Engine
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.nodes.lifecycle import PipelineNode, run
from seg_perception.nodes.mailbox import LatestWorker
from seg_perception.nodes.segmenter_outputs import SegmenterOutputs
from seg_perception.nodes.segmenter_parameters import SegmenterParameters
from seg_perception.ros import conversions, qos
from seg_perception.ros.diagnostics import Finding, Level, stages_ms
from seg_perception.ros.holding import HeldBack
from seg_perception.ros.inputs import WatchedInput

_CAMERA_INFO_DEPTH = 10


class _Loaded(NamedTuple):
    """From configure to cleanup."""

    engine: Engine
    outputs: SegmenterOutputs


class _Running(NamedTuple):
    """From activate to deactivate."""

    worker: LatestWorker[_Arrival]
    group: HeldBack
    images: WatchedInput
    camera_infos: WatchedInput


class _Arrival(NamedTuple):
    msg: Image | CompressedImage
    time: float  # of time.perf_counter()


class Segmenter(PipelineNode[SegmenterParameters]):
    """Subscribed: image or image/compressed, camera_info. Published: segmentation/*, ~/status, /diagnostics.

    Callbacks of the executor only note what arrives; all work is done in one worker thread.
    """

    def __init__(self) -> None:
        super().__init__("segmenter", SegmenterParameters)
        self._loaded: _Loaded | None = None
        self._running: _Running | None = None
        self._cameras_lock = threading.Lock()

    def engine(self) -> str:
        return self._loaded.engine.description if self._loaded else ""

    def configure(self) -> None:
        values = self.values
        bundle = Bundle.load(values.model)
        engine = load_engine(bundle, values.device, values.precision, values.threads)
        self._loaded = _Loaded(engine, SegmenterOutputs(self, bundle, engine.resize))
        self.get_logger().info(f"loaded {engine.description}")

    def activate(self) -> None:
        assert self._loaded
        self._loaded.outputs.publish_classes(Header(stamp=self.get_clock().now().to_msg()))
        self._stamps = StampGuard()
        self._size: tuple[int, int] | None = None
        values = self.values
        image_profile = qos.sensor_input(values.depth, values.reliability)
        info_profile = qos.sensor_input(_CAMERA_INFO_DEPTH, values.reliability)
        if values.image_transport == "compressed":
            kind, topic = CompressedImage, self._compressed_topic()
        else:
            kind, topic = Image, "image"
        self._cameras = CameraInfos(_CAMERA_INFO_DEPTH, rectified=is_rectified(self.resolve_topic_name(topic)))
        group = HeldBack(self)
        self._running = _Running(
            LatestWorker(self._work, "segmentation"),
            group,
            WatchedInput(self, kind, topic, self._on_image, image_profile, group),
            WatchedInput(self, CameraInfo, "camera_info", self._on_camera_info, info_profile),
        )

    def deactivate(self) -> None:
        if self._running:
            self._running.images.close()
            self._running.camera_infos.close()
            self._running.worker.close()
        self._running = None

    def cleanup(self) -> None:
        self._loaded = None

    def findings(self) -> Iterator[Finding]:
        assert self._running
        yield from super().findings()
        if self._loaded and self._loaded.engine.degraded:
            yield Finding(Level.WARN, self._loaded.engine.degraded)
        image = self._running.images.finding(self.values.timeout)
        # Without images there is nothing that could use a camera_info.
        info = None if image else self._running.camera_infos.finding(self.values.timeout, Level.WARN)
        yield from filter(None, (image, info))

    def _compressed_topic(self) -> str:
        """What `image/compressed` is remapped to; where it is not, it lies below `image`, as image_transport has it."""
        topic = self.resolve_topic_name("image/compressed")
        remapped = topic != self.resolve_topic_name("image/compressed", only_expand=True)
        return topic if remapped else f"{self.resolve_topic_name('image')}/compressed"

    def _on_image(self, msg: Image | CompressedImage) -> None:
        running = self._running
        if not running:  # it was taken just before the node was deactivated
            return
        replaced = running.images.replaced
        if replaced is not None and self.values.depth == 1:
            # The middleware keeps the newest image; without its numbers, those that it drops could not be counted.
            running.group.hold()
            self.monitor.count("received", replaced)
            self.monitor.count("replaced", replaced)
        self.monitor.count("received")
        if running.worker.put(_Arrival(msg, time.perf_counter())):
            self.monitor.count("replaced")

    def _on_camera_info(self, msg: CameraInfo) -> None:
        with self._cameras_lock:
            self._cameras.add(msg)

    def _work(self, arrival: _Arrival) -> None:
        try:
            self._segment(arrival)
        except SegPerceptionError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 (whatever an image brings about, the next one must be tried)
            if self.context.ok():  # else: the signal that ends the process came in between
                self._fail(f"{error!r}\n{traceback.format_exc()}")
        finally:
            if self._running:
                self._running.group.release()

    def _segment(self, arrival: _Arrival) -> None:
        assert self._loaded and self._running
        times = [arrival.time, time.perf_counter()]
        header = arrival.msg.header
        stamp_ns = conversions.stamp_to_ns(header.stamp)
        stale = self._stamps.stale(stamp_ns, self.get_clock().now().nanoseconds, self.values.max_age)
        if stale:
            self.monitor.count("stale")
            self._running.images.reject(stale)
            return
        raw = isinstance(arrival.msg, Image)
        image = conversions.image_to_bgr(arrival.msg) if raw else conversions.compressed_to_bgr(arrival.msg)
        self._note_size(image.shape[1], image.shape[0])
        camera = self._camera(stamp_ns, image.shape[1], image.shape[0])
        times.append(time.perf_counter())
        result = self._loaded.engine.infer(image)
        times.append(time.perf_counter())
        self._loaded.outputs.publish(header, image, result, camera, restore=self.values.mask_size == "input")
        times.append(time.perf_counter())
        self._running.images.accept()
        now_ns = self.get_clock().now().nanoseconds
        self.monitor.processed(stages_ms(("wait", "convert", "infer", "publish"), times, stamp_ns, now_ns))

    def _camera(self, stamp_ns: int, width: int, height: int) -> Camera | None:
        """Camera of the image; without a usable one, the mask is published without camera_info."""
        assert self._running
        try:
            with self._cameras_lock:
                camera = self._cameras.camera(stamp_ns, width, height)
        except CameraError as error:
            self._running.camera_infos.reject(str(error))
            camera = None
        if camera:
            self._running.camera_infos.accept()
        else:
            self.monitor.count("without_camera_info")
        return camera

    def _note_size(self, width: int, height: int) -> None:
        if self._size not in (None, (width, height)):
            self.monitor.count("size_changes")
            self.get_logger().warning(
                f"images were {self._size}, are {width, height} pixels now", throttle_duration_sec=5.0
            )
        self._size = width, height

    def _fail(self, reason: str) -> None:
        self.monitor.count("failed")
        if self._running:
            self._running.images.reject(reason)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns the exit code."""
    return run(Segmenter, args)


if __name__ == "__main__":
    sys.exit(main())
