"""Parameters of the segmenter."""

from __future__ import annotations

from dataclasses import dataclass

from seg_perception.nodes.lifecycle import PipelineParameters
from seg_perception.ros import qos
from seg_perception.ros.parameters import parameter


@dataclass(frozen=True)
class SegmenterParameters(PipelineParameters):
    """What can be set on the segmenter; the model and the subscription only while it is not configured."""

    model: str = parameter("road_lite", "Model bundle: a folder, or the name of an installed one.", live=False)
    device: str = parameter("cpu", "Where the model runs: cpu, cuda, cuda:N.", live=False)
    precision: str = parameter("auto", "Variant of the bundle, or auto for the fastest on the device.", live=False)
    threads: int = parameter(2, "CPU threads of the engine.", minimum=1, maximum=256, live=False)
    image_transport: str = parameter(
        "raw", "Subscribe to image (raw) or image/compressed.", choices=("raw", "compressed"), live=False
    )
    reliability: str = parameter(
        "best_effort",
        "Of the subscriptions; reliable needs reliable publishers.",
        choices=tuple(qos.RELIABILITIES),
        live=False,
    )
    depth: int = parameter(1, "Images that the middleware keeps for the node.", minimum=1, maximum=100, live=False)
    mask_size: str = parameter(
        "model", "Size of masks: as the model gives them, or of the input image.", choices=("model", "input")
    )
    max_age: float = parameter(5.0, "Images with an older stamp are stale, s; 0 takes any.", minimum=0.0)
