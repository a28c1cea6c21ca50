"""What is deployed around a network: bytes in, mask and calibrated confidence out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seg_perception.core.classes import UNLABELLED
from seg_perception.models.build import PixelClassifier

PIXEL_MEAN = 110.0
PIXEL_STD = 60.0
INVERSE_TEMPERATURE = "inverse_temperature"
"""Name of the constant in the graph that multiplies the logits before the softmax."""
PROVISIONAL_TEMPERATURE = 1.7310907
"""For a graph that is calibrated afterwards. Exporters leave out a multiplication by one and merge equal constants, so
this is a number that nothing else in a graph will be."""


def normalise(image: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 BGR → (N, 3, H, W) float32 of about zero mean and unit variance, channels last in memory.

    The axes change places last: OpenVINO then takes the pixels as they lie, instead of turning them over and back.
    """
    return ((image.float() - PIXEL_MEAN) * (1.0 / PIXEL_STD)).permute(0, 3, 1, 2)


def decision_step(network: PixelClassifier) -> int:
    """1: classes are decided for every pixel; 2: for every second pixel and row, then repeated.

    A network whose own logits are at full size is asked for every pixel. Coarser logits would be interpolated only to
    be compared; that costs more than it gains. Measured (with argmax) on CamVid's val split, 480x360, 2 cores: every
    second pixel instead of every one takes a U-Net with logits at stride 2 (int8) 16.9 ms instead of 22.9, with mIoU
    71.5 instead of 71.7; a DeepLabV3+ with logits at stride 4 (bf16) 11.1 ms instead of 13.8 (at its own stride 9.0),
    with 50.6 instead of 50.7 (50.4).
    """
    size = _probe_size(network)
    return 1 if _own_logits(network, size)[-1] >= size else 2


def _probe_size(network: PixelClassifier) -> int:
    return 2 * max(32, network.multiple)


def _own_logits(network: PixelClassifier, size: int) -> torch.Size:
    """Shape of what the network within gives for a square image."""
    own: list[torch.Size] = []
    hook = network.network.register_forward_hook(lambda module, inputs, logits: own.append(logits.shape))
    was_training = network.training
    parameter = next(network.parameters())
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros((1, 3, size, size), device=parameter.device, dtype=parameter.dtype))
    finally:
        hook.remove()
        network.train(was_training)
    return own[0]


class Deployed(nn.Module):
    """image (1, H, W, 3) uint8 BGR → mask, confidence (1, H, W) uint8.

    Confidence is the largest softmax probability x 255, of logits divided by `temperature`: among the pixels of
    confidence c about c / 255 are right. The classes are decided for every `decision_step(network)`-th pixel: the first
    one of the largest logit. Where a logit is not a number, the confidence is 0, and the class is up to the runtime.
    """

    def __init__(
        self,
        network: PixelClassifier,
        temperature: float = PROVISIONAL_TEMPERATURE,
        offsets: Tensor | None = None,
    ) -> None:
        """offsets: (C,) float32, added to the logits of the classes."""
        super().__init__()
        self.network = network
        self.step = decision_step(network)
        self.register_buffer(INVERSE_TEMPERATURE, torch.tensor(1.0 / temperature))
        self.register_buffer("offsets", offsets)
        n_classes = _own_logits(network, _probe_size(network))[1]
        self.register_buffer("classes", torch.arange(n_classes, dtype=torch.float32).reshape(1, -1, 1))

    def logits(self, image: Tensor) -> Tensor:
        """image (1, H, W, 3) uint8 BGR → (1, C, h, w) float32, of the pixels that are decided for."""
        logits: Tensor = self.network(normalise(image), self.step)
        return logits if self.offsets is None else logits + self.offsets.reshape(1, -1, 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        height, width = image.shape[1:3]
        planes = self.logits(image)
        logits = planes.flatten(2)  # class by class in memory, as OpenVINO compares them fastest
        top = logits.amax(1, keepdim=True)
        # The first class that has it is argmax; OpenVINO sorts for that, which takes a tenth of a light network's time.
        mask = torch.where(logits == top, self.classes, float(UNLABELLED)).amin(1, keepdim=True).to(torch.uint8)
        total = ((logits - top) * self.inverse_temperature).exp().sum(1, keepdim=True)
        # In bfloat16 255.5 is 256, of which a byte makes 0.
        confidence = (255.0 / total + 0.5).clamp(max=255.0).to(torch.uint8)
        own = (1, 1, *planes.shape[2:])
        return self._repeat(mask.reshape(own), height, width), self._repeat(confidence.reshape(own), height, width)

    def _repeat(self, plane: Tensor, height: int, width: int) -> Tensor:
        """(1, 1, h, w) → (1, height, width), every value `step` times in both directions."""
        if self.step == 1:
            return plane[:, 0]
        full = functional.interpolate(plane, scale_factor=float(self.step), mode="nearest")
        return full[:, 0, :height, :width]
