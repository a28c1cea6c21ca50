"""Mask R-CNN: torchvision's, trained on instances; what it finds is merged into logits per pixel.

torchvision's own inference keeps as many boxes as there happen to be, which no exported graph can. Here their number is
fixed: boxes that overlap a better one lose their score instead of their place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import FeaturePyramidNetwork, box_iou, clip_boxes_to_image, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

DEPTH = 5
"""How often the encoder halves the image: the levels below need all of that."""
ANCHOR_SIZES = (16, 32, 64, 128, 256)
"""Pixels, at strides 4, 8, 16, 32 and 64."""
STRIDE = 4
"""Of the finest features, and of the logits; every level halves them."""
ANCHOR_RATIOS = (0.5, 1.0, 2.0, 4.0)
"""Height / width; poles and people are tall."""
BOX_SIZE = 7
"""Features per side from which torchvision classifies a box."""
FEWEST_PIXELS = 1.0
"""Boxes count as at least so wide and high."""
CANDIDATES = 2
"""So many times as many boxes as proposals are looked at, of every level."""
SUPPRESSIONS = 8
"""Links of a chain of boxes of which each overlaps the next."""
FEWEST_CLASSES = 3
"""Where nothing is found, all classes are equally likely: of two, either would seem likely enough to drive on."""
LEAST = 1e-4
"""Probability of a class that is ruled out."""

Instances = Mapping[str, Tensor]
"""Of one image: boxes (M, 4) int64, x1, y1, x2, y2 in pixels, the last ones beyond the instance;
labels (M,) int64 from 1; masks (M, H, W) uint8."""


class Pyramid(nn.Module):
    """Features of an encoder of smp or timm at strides 4 to 64, all with `out_channels` channels."""

    def __init__(self, encoder: str, out_channels: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = smp.encoders.get_encoder(encoder, weights=None, depth=DEPTH, output_stride=2**DEPTH, **options)
        self.out_channels = out_channels
        channels = self.encoder.out_channels[2:]
        self.pyramid = FeaturePyramidNetwork(channels, out_channels, LastLevelMaxPool())

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """In float32 also under autocast: boxes need more than the 8 significant bits of bfloat16."""
        features = self.encoder(image)[2:]
        levels: dict[str, Tensor] = self.pyramid(OrderedDict((str(i), level) for i, level in enumerate(features)))
        return {name: level.float() for name, level in levels.items()}


class MaskRCNN(nn.Module):
    """Images of sides that are multiples of 32 → losses of instances, or logits per pixel at stride 4.

    proposals: boxes that are classified. detections: those of them that get a mask. Raises ValueError for fewer classes
    than FEWEST_CLASSES.
    """

    def __init__(
        self,
        encoder: str,
        n_classes: int,
        pyramid_channels: int = 256,
        proposals: int = 200,
        detections: int = 50,
        **encoder_options: Any,
    ) -> None:
        super().__init__()
        if n_classes < FEWEST_CLASSES:
            raise ValueError(f"instances need at least {FEWEST_CLASSES} classes, the table has {n_classes}")
        width = pyramid_channels
        self._proposals = proposals
        self.detector = detection.MaskRCNN(
            Pyramid(encoder, width, encoder_options),
            rpn_anchor_generator=AnchorGenerator(tuple((size,) for size in ANCHOR_SIZES), ANCHOR_RATIOS),
            box_head=TwoMLPHead(width * BOX_SIZE**2, 4 * width),
            box_predictor=FastRCNNPredictor(4 * width, n_classes + 1),  # the first class is no object
            rpn_pre_nms_top_n_test=CANDIDATES * proposals,
            rpn_post_nms_top_n_test=proposals,
            box_detections_per_img=detections,
            mask_head=MaskRCNNHeads(width, (width,) * 4, 1),
            mask_predictor=MaskRCNNPredictor(width, width, n_classes + 1),
        )
        self.register_buffer("classes", torch.arange(n_classes).reshape(-1, 1), persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The part that a classifier's weights fit."""
        encoder: nn.Module = self.detector.backbone.encoder
        return encoder

    def loss(self, image: Tensor, instances: Sequence[Instances]) -> Tensor:
        """(N, 3, H, W) and the instances of every image → scalar: the sum of the five losses of the paper."""
        detector, sizes = self.detector, [tuple(image.shape[-2:])] * len(image)
        targets = [{**of_image, "boxes": of_image["boxes"].float()} for of_image in instances]
        features = detector.backbone(image)
        with torch.autocast(image.device.type, enabled=False):
            proposals, of_proposals = detector.rpn(ImageList(image, sizes), features, targets)
            _, of_instances = detector.roi_heads(features, proposals, sizes, targets)
        return torch.stack([*of_proposals.values(), *of_instances.values()]).sum()

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → logits (N, C, H / 4, W / 4)."""
        features = self.detector.backbone(image)
        with torch.autocast(image.device.type, enabled=False):
            of_each = [{name: f[i : i + 1] for name, f in features.items()} for i in range(len(image))]
            return torch.stack([self._logits(image[i : i + 1], f) for i, f in enumerate(of_each)])

    def _logits(self, image: Tensor, features: dict[str, Tensor]) -> Tensor:
        """Of one image, (C, h, w): logarithms of what adds up to 1, of every class the best instance's score x mask.

        What the instances leave of 1 is shared out evenly, so the confidence is low where there are none.
        """
        size = (image.shape[-2], image.shape[-1])
        boxes, scores, labels = self._classify(features, self._propose(image, features), size)
        pooled = _pool(self.detector.roi_heads.mask_roi_pool, features, boxes)
        heads = self.detector.roi_heads
        masks = heads.mask_predictor(heads.mask_head(pooled)).sigmoid()
        own = masks[torch.arange(len(masks), device=masks.device), labels + 1]
        height, width = features["0"].shape[-2:]
        found = scores[:, None, None] * _paste(own, boxes / STRIDE, (height, width))
        by_class = torch.where((self.classes == labels)[..., None, None], found, 0.0).amax(1)
        total = by_class.sum(0)
        rest = (1.0 - total).clamp(min=0.0)
        return ((by_class + rest / len(by_class)) / (total + rest)).clamp(min=LEAST).log()

    def _propose(self, image: Tensor, features: dict[str, Tensor]) -> Tensor:
        """Of one image, (proposals, 4): the boxes that most likely hold an object."""
        rpn, levels, count = self.detector.rpn, list(features.values()), self._proposals
        size = (image.shape[-2], image.shape[-1])
        objectness, deltas = rpn.head(levels)
        counts = [level[0].numel() for level in objectness]
        flat, flat_deltas = concat_box_prediction_layers(objectness, deltas)
        anchors = rpn.anchor_generator(ImageList(image, [size]), levels)
        boxes = clip_boxes_to_image(rpn.box_coder.decode(flat_deltas, anchors)[:, 0], size)
        best = []
        for at_level, likely in zip(boxes.split(counts), flat[:, 0].sigmoid().split(counts), strict=True):
            scores, order = likely.topk(min(CANDIDATES * count, len(likely)))
            best.append((at_level[order], _suppress(at_level[order], scores, rpn.nms_thresh)))
        boxes, scores = (torch.cat(parts) for parts in zip(*best, strict=True))
        return boxes[scores.topk(min(count, len(scores))).indices]

    def _classify(
        self, features: dict[str, Tensor], proposals: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (detections, 4), scores and labels (detections,) of the instances that are surest."""
        heads = self.detector.roi_heads
        pooled = _pool(heads.box_roi_pool, features, proposals)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        decoded = heads.box_coder.decode(deltas, [proposals])[:, 1:].flatten(0, 1)
        scores, order = logits.softmax(1)[:, 1:].flatten().topk(len(proposals))  # a box can be several classes
        boxes, labels = clip_boxes_to_image(decoded[order], size), order % (logits.shape[1] - 1)
        scores = torch.where(scores > heads.score_thresh, scores, 0.0)
        scores = _suppress(boxes, scores, heads.nms_thresh, labels == labels[:, None])
        scores, order = scores.topk(min(heads.detections_per_img, len(scores)))
        return boxes[order], scores, labels[order]


def _suppress(boxes: Tensor, scores: Tensor, threshold: float, rivals: Tensor | None = None) -> Tensor:
    """Non-maximum suppression: the scores, 0 for boxes that overlap a better one that is kept, by over `threshold`.

    boxes (M, 4) and scores (M,), best first. rivals: (M, M), which boxes can suppress each other. What a box suppresses
    depends on whether it is itself suppressed; repeated for all boxes at once, that ends where one after the other does
    (Cluster-NMS, Zheng et al. 2021), here after at most SUPPRESSIONS links of such a chain.
    """
    rank = torch.arange(len(boxes), device=boxes.device)
    overlaps = (box_iou(boxes, boxes) > threshold) & (rank[:, None] < rank)
    if rivals is not None:
        overlaps = overlaps & rivals
    kept = torch.ones_like(scores)
    for _ in range(SUPPRESSIONS):
        kept = 1.0 - (overlaps * kept[:, None]).amax(0)
    return scores * kept


def _pool(pool: nn.Module, features: dict[str, Tensor], boxes: Tensor) -> Tensor:
    """torchvision's MultiScaleRoIAlign of one image: every box on every level, then the one that its size asks for."""
    strides = [STRIDE << level for level in range(len(pool.featmap_names))]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    level = (pool.canonical_level + torch.log2(area.sqrt() / pool.canonical_scale) + 1e-6).floor()
    level = level.clamp(2, 1 + len(strides)) - 2
    pooled = torch.zeros((), device=boxes.device)
    for index, (name, stride) in enumerate(zip(pool.featmap_names, strides, strict=True)):
        here = roi_align(features[name], [boxes], pool.output_size, 1 / stride, pool.sampling_ratio)
        pooled = torch.where((level == index)[:, None, None, None], here, pooled)
    return pooled


def _paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """masks (M, h, w) over their boxes, 0 outside, on a plane of `size` (height, width) in the boxes' units."""
    height, width = size
    low, extent = boxes[:, :2], (boxes[:, 2:] - boxes[:, :2]).clamp(min=FEWEST_PIXELS / STRIDE)
    x = (torch.arange(width, device=boxes.device) + 0.5 - low[:, :1]) / extent[:, :1]
    y = (torch.arange(height, device=boxes.device) + 0.5 - low[:, 1:]) / extent[:, 1:]
    grid = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], -1)
    pasted = functional.grid_sample(masks[:, None], 2 * grid - 1, padding_mode="zeros", align_corners=False)
    return pasted[:, 0]
