"""Every architecture that a configuration can name learns, and does in the engine what it does in torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="export needs ONNX Runtime: pip install -r requirements/runtime.txt")

from torch.nn import functional

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import TrainingError
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine
from seg_perception.models.build import ARCHITECTURES, InstanceClassifier, PixelClassifier, build
from seg_perception.models.deploy import Deployed, decision_step, normalise
from seg_perception.training.export import export_onnx

WIDTH, HEIGHT, CLASSES = 96, 64, 3
RESNET, RESNET_OPTIONS = "tu-resnet10t", {"channels": [8, 8, 16, 16]}
MOBILENET = "tu-mobilenetv3_small_050"


class Case(NamedTuple):
    """A network of an architecture, as small as it gets."""

    architecture: str
    encoder: str
    options: dict[str, Any]


CASES = {
    "unet": Case("unet", RESNET, {**RESNET_OPTIONS, "decoder_channels": [16, 16, 8, 8, 8]}),
    "unet_half": Case("unet", RESNET, {**RESNET_OPTIONS, "decoder_channels": [16, 16, 8, 8]}),
    "unet_scse": Case(
        "unet",
        RESNET,
        {"channels": [16] * 4, "decoder_channels": [16] * 5, "decoder_attention_type": "scse"},
    ),
    "unetplusplus": Case(
        "unetplusplus", RESNET, {**RESNET_OPTIONS, "encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    ),
    "deeplabv3": Case("deeplabv3", RESNET, {**RESNET_OPTIONS, "decoder_channels": 16}),
    "deeplabv3plus": Case("deeplabv3plus", RESNET, {**RESNET_OPTIONS, "decoder_channels": 16}),
    "pspnet": Case("pspnet", RESNET, {**RESNET_OPTIONS, "psp_out_channels": 16}),
    "fpn": Case("fpn", RESNET, {**RESNET_OPTIONS, "decoder_pyramid_channels": 16, "decoder_segmentation_channels": 32}),
    "fcn": Case("fcn", RESNET, RESNET_OPTIONS),
    "mask_rcnn": Case(
        "mask_rcnn", RESNET, {**RESNET_OPTIONS, "pyramid_channels": 16, "proposals": 20, "detections": 8}
    ),
    "lraspp": Case("lraspp", MOBILENET, {"head_channels": 16}),
    "segformer": Case("segformer", "mit_b0", {"decoder_segmentation_channels": 16}),
    "transformers": Case(
        "transformers",
        "segformer",
        {
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "decoder_hidden_size": 16,
            "num_attention_heads": [1, 1, 2, 2],
        },
    ),
}
SLOW = {"deeplabv3", "unetplusplus", "segformer"}
"""Their relatives are in the default run."""


def test_every_architecture_has_a_case() -> None:
    assert {case.architecture for case in CASES.values()} == set(ARCHITECTURES)


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW), id=n) for n in CASES])
def network(request: pytest.FixtureRequest) -> PixelClassifier:
    """With random weights."""
    torch.manual_seed(0)
    return build(*CASES[request.param], CLASSES)


def _images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=generator)


def test_a_step_lowers_the_loss(network: PixelClassifier) -> None:
    if isinstance(network, InstanceClassifier):
        pytest.skip("learns from instances, not from its logits: test_mask_rcnn.py")
    images = normalise(_images(2))
    labels = (images[:, 0] > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(4):
        loss = functional.cross_entropy(network.train()(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None for p in network.network.encoder.parameters() if p.requires_grad)
    assert losses[-1] < losses[0]


def test_logits_are_those_of_the_pixels_at_every_step(network: PixelClassifier) -> None:
    images = normalise(_images(1))[..., :50, :70]
    with torch.inference_mode():
        assert network.eval()(images).shape == (1, CLASSES, 50, 70)
        assert network(images, step=2).shape == (1, CLASSES, 25, 35)


@pytest.mark.parametrize(("channels", "stride"), [([8] * 5, 1), ([8] * 4, 2), ([8] * 3, 4)])
def test_a_unet_ends_where_its_decoder_channels_end(channels: list[int], stride: int) -> None:
    unet = build("unet", RESNET, {**RESNET_OPTIONS, "decoder_channels": channels}, CLASSES)
    assert unet.network(torch.zeros(1, 3, 64, 96)).shape == (1, CLASSES, 64 // stride, 96 // stride)
    assert decision_step(unet) == min(stride, 2)


@pytest.mark.parametrize("depth", [1, 3, 5])
@pytest.mark.parametrize("encoder", ["tu-mobilenetv3_small_050", "tu-tf_efficientnet_lite0", "tu-resnet10t"])
def test_nothing_below_the_deepest_features_is_computed(encoder: str, depth: int) -> None:
    network = build("unet", encoder, {"encoder_depth": depth, "decoder_channels": [8] * depth}, 3)
    network(torch.zeros(1, 3, 64, 64)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("options", "rows"), [({}, 384), ({"encoder_depth": 4, "decoder_channels": [8] * 4}, 368)])
def test_images_are_padded_as_far_as_the_encoder_needs_it(options: dict[str, Any], rows: int) -> None:
    network = build("unet", "resnet18", options, 3).eval()
    seen: list[tuple[int, ...]] = []
    network.network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 360, 32)).shape[-2:] == (360, 32)
    assert seen == [(1, 3, rows, 32)]


def test_the_engine_does_what_torch_does(network: PixelClassifier) -> None:
    deployed = Deployed(network.eval(), temperature=1.0)
    spec = InputSpec(WIDTH, HEIGHT)
    engine = OnnxRuntimeEngine(export_onnx(deployed, spec), spec, Runtime("cpu"))
    image = _images(1)
    with torch.inference_mode():
        mask, confidence = deployed(image)
    found = engine.infer(image[0].numpy())
    assert np.mean(found.mask == mask[0].numpy()) > 0.99
    assert np.abs(found.confidence.astype(int) - confidence[0].numpy()).max() <= 3


@pytest.mark.parametrize(
    ("architecture", "encoder", "options", "message"),
    [
        ("resnet", RESNET, {}, r"model resnet: no such architecture; there are .*unet"),
        ("unet", "tu-nonsense", {}, "model unet with encoder tu-nonsense"),
        ("fpn", RESNET, {"nonsense": 3}, "nonsense"),
        ("fcn", RESNET, {"nonsense": 3}, "nonsense"),
        ("transformers", "nonsense", {}, "nonsense"),
    ],
)
def test_wrong_names_are_told(architecture: str, encoder: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        build(architecture, encoder, options, CLASSES)


class Fixed(torch.nn.Module):
    """Always the same logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(1, -1, *image.shape[-2:])


@pytest.mark.parametrize(
    ("logits", "decided"), [([2.0, 5.0, 5.0], 1), ([7.0, 7.0, 7.0], 0), ([2.0, torch.nan, 9.0], UNLABELLED)]
)
def test_the_first_of_equal_logits_decides_and_without_numbers_none(logits: list[float], decided: int) -> None:
    fixed = PixelClassifier(Fixed(torch.tensor(logits).reshape(1, 3, 1, 1)), multiple=1)
    mask, _ = Deployed(fixed, temperature=1.0)(torch.zeros((1, 2, 3, 3), dtype=torch.uint8))
    assert set(mask.flatten().tolist()) == {decided}
