"""Networks by name: encoders from timm and segmentation_models_pytorch, decoders from there, torchvision, transformers.

One registry, `ARCHITECTURES`; weights are always random here (`pretrained.py` loads others).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.models.segmentation.lraspp import LRASPPHead
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from seg_perception.core.errors import TrainingError
from seg_perception.models.mask_rcnn import Instances, MaskRCNN

SMP_DEPTH = 5
"""How often smp's encoders halve the image unless `encoder_depth` says otherwise."""


class PixelClassifier(nn.Module):
    """Logits for images of any size around a network that works on padded images and coarse logits.

    network: (N, 3, H, W), sides a multiple of `multiple` → logits (N, C, H / stride, W / stride) for its own stride.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: Tensor, step: int = 1) -> Tensor:
        """(N, 3, H, W) normalised float → (N, C, ceil(H / step), ceil(W / step)): logits of every step-th pixel."""
        height, width = image.shape[-2:]
        padded = self._padded(image)
        logits = self.network(padded)
        size = (padded.shape[-2] // step, padded.shape[-1] // step)
        if logits.shape[-2:] != size:
            logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits[..., : -(-height // step), : -(-width // step)]

    def _padded(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return functional.pad(image, (0, -width % self.multiple, 0, -height % self.multiple))


class InstanceClassifier(PixelClassifier):
    """Around a network that learns from instances and not from its logits."""

    def forward(self, image: Tensor, step: int = 1, instances: Sequence[Instances] | None = None) -> Tensor:
        """Logits, or, with the `instances` of every image, the scalar loss."""
        if instances is None:
            return super().forward(image, step)
        loss: Tensor = self.network.loss(self._padded(image), instances)
        return loss


def build(architecture: str, encoder: str, options: dict[str, Any], n_classes: int) -> PixelClassifier:
    """A network by its names in `ARCHITECTURES`, smp and timm; `options` go to its library unchanged, but see `_unet`.

    Raises TrainingError for names or options that the library does not know.
    """
    if architecture not in ARCHITECTURES:
        raise TrainingError(f"model {architecture}: no such architecture; there are {', '.join(sorted(ARCHITECTURES))}")
    try:
        network = ARCHITECTURES[architecture](architecture, encoder, options, n_classes)
    except Exception as error:  # three libraries, and each of them raises whatever it likes for a wrong name or option
        raise TrainingError(
            f"model {architecture} with encoder {encoder} and options {options}: {error}; encoders are those of "
            "segmentation_models_pytorch, of timm as tu-<name>, or, for transformers, its model types"
        ) from error
    _cut_idle_blocks(network)
    multiple = options.get("encoder_output_stride", 2 ** options.get("encoder_depth", SMP_DEPTH))
    wrapper = InstanceClassifier if isinstance(network, MaskRCNN) else PixelClassifier
    return wrapper(network, multiple).to(memory_format=torch.channels_last)


def _cut_idle_blocks(network: nn.Module) -> None:
    """timm cuts encoders below the deepest features asked for, except for these, which would go on for nothing."""
    for module in network.modules():
        if isinstance(module, (EfficientNetFeatures, MobileNetV3Features)):
            part, *block = module.feature_info.module_name()[-1].split(".")  # blocks.4, or the stem's bn1
            module.blocks = module.blocks[: int(block[0]) + 1 if part == "blocks" else 0]


def _from_smp(architecture: str, encoder: str, options: dict[str, Any], n_classes: int) -> nn.Module:
    network = smp.create_model(architecture, encoder, encoder_weights=None, classes=n_classes, **options)
    network.segmentation_head[1] = nn.Identity()  # its upsampling: done once, outside, to the step that is asked for
    return network


def _unet(architecture: str, encoder: str, options: dict[str, Any], n_classes: int) -> nn.Module:
    """smp's; with fewer `decoder_channels` than the encoder is deep, it ends that many halvings before full size.

    At full size a U-Net has few channels, but so many pixels that a third of its time goes there.
    """
    channels = options.get("decoder_channels", ())
    missing = max(0, options.get("encoder_depth", SMP_DEPTH) - len(channels)) if channels else 0
    if not missing:
        return _from_smp(architecture, encoder, options, n_classes)
    padded = {**options, "decoder_channels": [*channels, *channels[-1:] * missing]}
    network = _from_smp(architecture, encoder, padded, n_classes)
    network.decoder.blocks = network.decoder.blocks[:-missing]
    return network


class FCN(nn.Module):
    """Fully convolutional network: torchvision's head on the last features of an encoder of smp or timm."""

    def __init__(self, encoder: str, n_classes: int, encoder_output_stride: int = 8, **encoder_options: Any) -> None:
        super().__init__()
        self.encoder = _dilated_encoder(encoder, encoder_output_stride, encoder_options)
        self.head = FCNHead(self.encoder.out_channels[-1], n_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → logits at the encoder's output stride."""
        logits: Tensor = self.head(self.encoder(image)[-1])
        return logits


class LRASPP(nn.Module):
    """Lite R-ASPP: torchvision's head on the stride-8 and the last features of an encoder, e.g. a MobileNetV3."""

    def __init__(
        self,
        encoder: str,
        n_classes: int,
        encoder_output_stride: int = 16,
        head_channels: int = 128,
        **encoder_options: Any,
    ) -> None:
        super().__init__()
        self.encoder = _dilated_encoder(encoder, encoder_output_stride, encoder_options)
        channels = self.encoder.out_channels
        self.head = LRASPPHead(channels[3], channels[-1], n_classes, head_channels)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → logits at stride 8."""
        features = self.encoder(image)
        logits: Tensor = self.head({"low": features[3], "high": features[-1]})
        return logits


class Transformer(nn.Module):
    """A semantic segmentation model of transformers by its type (segformer, mobilevit, …) and configuration values."""

    def __init__(self, model_type: str, n_classes: int, options: dict[str, Any]) -> None:
        super().__init__()
        config = AutoConfig.for_model(model_type, num_labels=n_classes, **options)
        self.model = AutoModelForSemanticSegmentation.from_config(config)

    @property
    def encoder(self) -> nn.Module:
        """The part that a classifier's weights fit."""
        encoder: nn.Module = self.model.base_model
        return encoder

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → logits at the model's own stride."""
        logits: Tensor = self.model(pixel_values=image).logits
        return logits


def _dilated_encoder(name: str, output_stride: int, options: dict[str, Any]) -> nn.Module:
    encoder: nn.Module = smp.encoders.get_encoder(name, weights=None, output_stride=output_stride, **options)
    return encoder


def _fcn(_: str, encoder: str, options: dict[str, Any], n_classes: int) -> nn.Module:
    return FCN(encoder, n_classes, **options)


def _lraspp(_: str, encoder: str, options: dict[str, Any], n_classes: int) -> nn.Module:
    return LRASPP(encoder, n_classes, **options)


def _transformer(_: str, encoder: str, options: dict[str, Any], n_classes: int) -> nn.Module:
    return Transformer(encoder, n_classes, options)


def _mask_rcnn(_: str, encoder: str, options: dict[str, Any], n_classes: int) -> nn.Module:
    return MaskRCNN(encoder, n_classes, **options)


Builder = Callable[[str, str, dict[str, Any], int], nn.Module]

ARCHITECTURES: dict[str, Builder] = {
    "unet": _unet,
    **dict.fromkeys(("unetplusplus", "deeplabv3", "deeplabv3plus", "pspnet", "fpn", "segformer"), _from_smp),
    "fcn": _fcn,
    "lraspp": _lraspp,
    "mask_rcnn": _mask_rcnn,
    "transformers": _transformer,
}
"""Name in a configuration → what builds it: smp's own names, three of torchvision, and `transformers`."""
