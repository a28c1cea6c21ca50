"""The card of a model: what a person wants to know before it drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.engines.base import Engine
from seg_perception.training.config import ExportConfig
from seg_perception.training.data import Source
from seg_perception.training.export_variants import Tried
from seg_perception.training.samples import spread

CARD_FILE = "CARD.md"
PICTURES = 2
MAX_PICTURE_BYTES = 100_000
QUALITIES = (90, 80, 70, 60, 50, 40, 30)
MAX_PICTURE_WIDTH = 1280


@dataclass(frozen=True)
class CardFacts:
    """What the card tells.

    summary, data: sentences. class_iou: by variant (the first is the float reference), source and class.
    """

    name: str
    version: str
    summary: str
    data: str
    licence: str
    limits: ExportConfig
    table: ClassTable
    class_iou: Mapping[str, Mapping[str, Mapping[str, float]]]
    variants: Sequence[Tried]


def write_card(facts: CardFacts, examples: Source, engine: Engine) -> dict[str, bytes]:
    """The card and its pictures, by file name: images of `examples` beside what `engine` makes of them."""
    images = [image for image, _ in spread(examples.samples, PICTURES)]
    pictures = {f"card_{n}.jpg": _picture(image, engine, facts.table) for n, image in enumerate(images, 1)}
    text = "\n\n".join(
        [
            f"# {facts.name} {facts.version}",
            facts.summary,
            f"## Data and licence\n\n{facts.data}\n\nLicence of the weights: {facts.licence}",
            f"## Scores per class\n\nIoU on held-out images, in per cent.\n\n{_classes(facts)}",
            f"## The gate\n\n{_gate(facts)}",
            f"## Confidence\n\n{_confidence(facts)}",
            f"## Limits\n\n{_limits(facts)}",
            f"## Examples\n\nFrom `{examples.name}`, held out.\n\n" + "\n".join(f"![example]({p})" for p in pictures),
        ]
    )
    return {CARD_FILE: (text + "\n").encode(), **pictures}


def _classes(facts: CardFacts) -> str:
    """Rows: classes; columns: variant and source."""
    scores = facts.class_iou
    columns = [(variant, source) for variant, by_source in scores.items() for source in by_source]
    rows = [
        [
            entry.name,
            entry.kind.name.lower(),
            *(_percent(scores[variant][source].get(entry.name)) for variant, source in columns),
        ]
        for entry in facts.table.classes
    ]
    return _table(["class", "kind", *(f"{variant}, {source}" for variant, source in columns)], rows)


def _gate(facts: CardFacts) -> str:
    limits = facts.limits
    verdicts = [verdict for variant in facts.variants for verdict in variant.verdicts]
    names = list(verdicts[0].scores)
    rows = [
        [v.name, *(f"{v.scores[name]:.4f}" for name in names), "passed" if v.passed else "; ".join(v.failures)]
        for v in verdicts
    ]
    text = (
        "Every variant on every runtime that was at hand, against the float model on the held-out images. Limits: "
        f"{100 * limits.max_miou_drop:g} points of mIoU, {100 * limits.max_class_drop:g} of a class (where more than "
        f"chance), agreement of at least {100 * limits.min_agreement:g} % of the pixels, at most "
        f"{100 * limits.max_obstacle_to_ground:g} % of the obstacles' pixels newly called ground, "
        f"and a calibration error at most {limits.max_calibration_error:g} above that of its logits in float.\n\n"
    )
    table = _table(["variant", *(name.replace("_", " ") for name in names), "verdict"], rows)
    kept = [variant for variant in facts.variants if variant.float_layers]
    notes = [f"\n\nIn float within {v.name}: {', '.join(v.float_layers)}." for v in kept]
    notes += [
        f"\n\n**{v.name} is over the limits on {', '.join(v.overruled)}; it was accepted by hand.**"
        for v in facts.variants
        if v.overruled
    ]
    return text + table + "".join(notes)


def _confidence(facts: CardFacts) -> str:
    fitted = [(v.name, v.confidence) for v in facts.variants if v.confidence]
    if not fitted:
        return "As the network states it: there were no labels to fit it to."
    rows = [[name, f"{c.temperature:.3f}", f"{c.ece_before:.4f}", f"{c.ece_after:.4f}"] for name, c in fitted]
    return (
        "One temperature per variant, fitted to the held-out pixels; expected calibration error on the same, without "
        "and with it.\n\n" + _table(["variant", "temperature", "uncalibrated", "calibrated"], rows)
    )


def _limits(facts: CardFacts) -> str:
    scores = next(iter(facts.class_iou.values()), {})
    weak = [
        f"{name} ({100 * value:.0f} on {source})"
        for source, classes in scores.items()
        for name, value in classes.items()
        if value < 0.5
    ]
    lines = [
        "- Measured on the data above and nothing else: other cameras, mounts, weather, countries and night are "
        "unknown until you measure them on images of your own (`seg-perception evaluate`).",
        f"- Knows {', '.join(entry.name for entry in facts.table.classes)}; anything else becomes one of these.",
        f"- Weak, below 50 % IoU: {', '.join(weak)}." if weak else "- No class is below 50 % IoU.",
        "- The gate compares int8 with float. It does not say that the float model is good enough for your vehicle.",
    ]
    return "\n".join(lines)


def _picture(image: NDArray[np.uint8], engine: Engine, table: ClassTable) -> bytes:
    """Image and overlay side by side as a JPEG of at most MAX_PICTURE_BYTES."""
    mask = engine.infer(image).mask
    pair = np.hstack([image, table.overlay(image, mask)])
    if pair.shape[1] > MAX_PICTURE_WIDTH:
        scale = MAX_PICTURE_WIDTH / pair.shape[1]
        pair = np.asarray(cv2.resize(pair, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    for quality in QUALITIES:
        content = cv2.imencode(".jpg", pair, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()
        if len(content) <= MAX_PICTURE_BYTES:
            break
    return content


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
