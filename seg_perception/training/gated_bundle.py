"""The end of every export and import: the variants that passed the gate become a bundle, with its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import ExportError
from seg_perception.engines.bundle import NewVariant, write_bundle
from seg_perception.engines.manifest import InputSpec
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine
from seg_perception.training.data import Source
from seg_perception.training.export_card import CardFacts, write_card
from seg_perception.training.export_variants import Tried


def accepted_of(variants: Sequence[Tried]) -> list[Tried]:
    """Those that may drive somewhere. Raises ExportError where there is none."""
    accepted = [variant for variant in variants if variant.accepted]
    if not accepted:
        raise ExportError(
            "no variant passed the gate; see the table above, and the limits under export: in the configuration, which "
            "counts as it was at the training unless --config gives it (--accept keeps a variant nevertheless)"
        )
    return accepted


def write_gated(
    out: Path,
    facts: CardFacts,
    spec: InputSpec,
    examples: Source,
    golden: NDArray[np.uint8],
    *,
    provenance: Mapping[str, Any],
    scores: Mapping[str, float],
    threads: int,
    weights: bytes | None = None,
) -> None:
    """Write the bundle and say so. examples: for the card. golden: (H, W, 3) uint8 BGR.

    Raises ExportError, BundleError.
    """
    accepted = accepted_of(facts.variants)
    best = accepted[0]
    engine = OnnxRuntimeEngine(best.model, spec, best.accepted[0].runtime, threads=threads)
    bundle = write_bundle(
        out,
        version=facts.version,
        licence=facts.licence,
        provenance=provenance,
        scores=scores,
        table=facts.table,
        input_spec=spec,
        golden_image=golden,
        variants=[NewVariant(v.name, v.model, v.golden_mask, v.accepted, v.format) for v in accepted],
        extras=write_card(facts, examples, engine),
        weights=weights,
    )
    print(f"wrote {bundle.root}: {', '.join(bundle.variants)}")
