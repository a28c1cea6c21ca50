"""Model bundles on disk: a folder with a manifest, the graph in one or more precisions, and a golden sample.

    road_lite/
      bundle.yaml                           what `Manifest` says
      model.<variant>.onnx                  image uint8 (1, H, W, 3) → mask, confidence uint8 (1, H, W)
      model.<variant>.pt2                   the same as a program of torch.export, see torch_program.py
      golden.png, golden.<variant>.png      an image, and the mask each variant gives for it
      weights.pt                            what a training can go on from; bundles that were imported have none

Nothing here executes or unpickles what it reads; every file is checked against its hash before it is used.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import BundleError, one_line
from seg_perception.core.pictures import decoded
from seg_perception.core.share import share_folders
from seg_perception.core.writable import require_writable, writing
from seg_perception.engines.manifest import Accepted, FileRef, InputSpec, Manifest, Variant, require_plain_name

MANIFEST_FILE = "bundle.yaml"
GOLDEN_IMAGE_FILE = "golden.png"
MODEL_FILE = "model.{variant}.{format}"
GOLDEN_MASK_FILE = "golden.{variant}.png"
WEIGHTS_FILE = "weights.pt"
GOLDEN_AGREEMENT = 0.98


@dataclass(frozen=True)
class Bundle:
    """A folder whose manifest is well-formed and whose files are all there."""

    root: Path
    manifest: Manifest

    @classmethod
    def load(cls, bundle: Path | str) -> Bundle:
        """Open a bundle by name or folder. Raises BundleError; files are hashed when they are read."""
        root = find_bundle(bundle)
        path = root / MANIFEST_FILE
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BundleError(f"{root}: no {MANIFEST_FILE} in it; give the folder of a model bundle") from error
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise BundleError(f"{path}: cannot be read as YAML ({one_line(error)}); copy the bundle again") from error
        loaded = cls(root, Manifest.from_dict(document, str(path)))
        loaded._check_files_exist()
        return loaded

    @property
    def table(self) -> ClassTable:
        """The classes of the masks."""
        return self.manifest.table

    @property
    def variants(self) -> Mapping[str, Variant]:
        """Precision variants by name."""
        return self.manifest.variants

    def read_model(self, variant: Variant) -> bytes:
        """The graph of a variant; raises BundleError unless it is the one that was exported."""
        return self._read(variant.model)

    def read_golden(self, variant: Variant) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The golden image (H, W, 3) uint8 BGR and the variant's mask (h, w) uint8 at the size of the input."""
        image = self._read_png(self.manifest.golden_image, cv2.IMREAD_COLOR)
        mask = self._read_png(variant.golden_mask, cv2.IMREAD_GRAYSCALE)
        size = (self.manifest.input.width, self.manifest.input.height)
        if mask.shape[::-1] != size:
            raise BundleError(
                f"{self.root / variant.golden_mask.file}: mask is {mask.shape[1]}x{mask.shape[0]}, the input "
                f"{size[0]}x{size[1]}; export the bundle again"
            )
        return image, mask

    def read_weights(self) -> bytes:
        """The weights that a training can go on from; raises BundleError where there are none."""
        if self.manifest.weights is None:
            raise BundleError(f"{self.root}: was made without {WEIGHTS_FILE}; give the training that it came from")
        return self._read(self.manifest.weights)

    def _check_files_exist(self) -> None:
        references = [self.manifest.golden_image, *([self.manifest.weights] if self.manifest.weights else [])]
        for variant in self.variants.values():
            references += [variant.model, variant.golden_mask]
        missing = [reference.file for reference in references if not (self.root / reference.file).is_file()]
        if missing:
            raise BundleError(f"{self.root}: {', '.join(missing)} missing; copy or export the whole bundle again")

    def _read(self, reference: FileRef) -> bytes:
        path = self.root / reference.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}); copy the bundle again") from error
        digest = _sha256(content)
        if digest != reference.sha256:
            raise BundleError(
                f"{path}: SHA-256 is {digest[:12]}…, {MANIFEST_FILE} says {reference.sha256[:12]}…; the file is "
                "corrupt or was changed: copy or export the bundle again"
            )
        return content

    def _read_png(self, reference: FileRef, flags: int) -> NDArray[np.uint8]:
        content = self._read(reference)
        pixels = decoded(content, flags)
        if pixels is None:
            raise BundleError(f"{self.root / reference.file}: not an image; export the bundle again")
        return np.asarray(pixels, np.uint8)


def find_bundle(bundle: Path | str) -> Path:
    """The folder of a bundle given as a path, or as a name under config/models of the source tree or installation.

    A bare name means an installed one, whatever lies in the working directory.
    """
    given = Path(bundle).expanduser()
    if given.name != str(bundle):
        if given.is_dir():
            return given
        raise BundleError(f"{given}: no such folder; give the folder of a model bundle or the name of an installed one")
    installed = installed_bundles()
    for folder in installed:
        if folder.name == given.name:
            return folder
    if (given / MANIFEST_FILE).is_file():
        return given
    searched = ", ".join(map(str, _model_folders())) or "any installation"
    raise BundleError(
        f"model bundle {str(bundle)!r}: not found in {searched}; there are: "
        f"{', '.join(dict.fromkeys(folder.name for folder in installed)) or 'none'}. A folder works too"
    )


def installed_bundles() -> list[Path]:
    """Folders of the bundles in the source tree and in installations; of one name, the first is used."""
    return [path.parent for folder in _model_folders() for path in sorted(folder.glob(f"*/{MANIFEST_FILE}"))]


@dataclass(frozen=True)
class NewVariant:
    """What the exporter hands over for one precision: golden_mask (H, W) uint8 is the graph's own output.

    format: of the model, onnx or pt2.
    """

    name: str
    model: bytes
    golden_mask: NDArray[np.uint8]
    accepted: tuple[Accepted, ...]
    format: str = "onnx"

    def __post_init__(self) -> None:
        require_plain_name(self.name, "variant name")
        require_plain_name(self.format, "format")


def require_target(target: Path | str) -> Path:
    """The folder of a bundle to write, absolute; ask before the work that a bundle takes.

    Raises BundleError unless the name is plain, nothing but a bundle is there, and the folder can be written.
    """
    target = Path(target).expanduser().absolute()
    require_plain_name(target.name, f"{target}: bundle name")
    with writing(target, BundleError):
        _refuse_foreign(target)
        require_writable(target.parent)
    return target


def require_texts(**texts: str) -> None:
    """Raises BundleError for one that the manifest would refuse, by its name."""
    for name, text in texts.items():
        if not text.strip():
            raise BundleError(f"{name} is {text!r}; give a text")


def write_bundle(
    target: Path | str,
    *,
    version: str,
    licence: str,
    provenance: Mapping[str, Any],
    scores: Mapping[str, float],
    table: ClassTable,
    input_spec: InputSpec,
    golden_image: NDArray[np.uint8],
    variants: Sequence[NewVariant],
    extras: Mapping[str, bytes] | None = None,
    weights: bytes | None = None,
) -> Bundle:
    """Write the folder `target` (its name is the bundle's name) at once: it is replaced whole or left as it was.

    golden_image: (H, W, 3) uint8 BGR of any size. extras: further files for people, content by plain name.
    weights: what a training can go on from.
    Raises BundleError.
    """
    target = require_target(target)
    with writing(target, BundleError), _scratch_beside(target) as scratch:
        fresh = scratch / "new"
        fresh.mkdir()
        manifest = Manifest(
            name=target.name,
            version=version,
            licence=licence,
            provenance=provenance,
            scores=scores,
            table=table,
            input=input_spec,
            golden_image=_write(fresh / GOLDEN_IMAGE_FILE, _png(golden_image)),
            golden_agreement=GOLDEN_AGREEMENT,
            weights=None if weights is None else _write(fresh / WEIGHTS_FILE, weights),
            variants={variant.name: _write_variant(fresh, variant) for variant in variants},
        )
        for name, content in (extras or {}).items():
            _write(fresh / require_plain_name(name, "file name"), content)
        _write(fresh / MANIFEST_FILE, _yaml(manifest))
        _verify(fresh)
        _swap(fresh, target, scratch / "old")
    return Bundle.load(target.absolute())


def _model_folders() -> list[Path]:
    return [models for folder in share_folders() if (models := folder / "config" / "models").is_dir()]


def _write_variant(folder: Path, variant: NewVariant) -> Variant:
    return Variant(
        variant.name,
        _write(folder / MODEL_FILE.format(variant=variant.name, format=variant.format), variant.model),
        _write(folder / GOLDEN_MASK_FILE.format(variant=variant.name), _png(variant.golden_mask)),
        variant.accepted,
    )


def _write(path: Path, content: bytes) -> FileRef:
    path.write_bytes(content)
    return FileRef(path.name, _sha256(content))


def _yaml(manifest: Manifest) -> bytes:
    try:
        text = yaml.safe_dump(
            manifest.to_dict(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
        )
    except yaml.representer.RepresenterError as error:
        raise BundleError(f"bundle {manifest.name}: provenance is not plain YAML ({one_line(error)})") from error
    return text.encode("utf-8")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size:
        raise BundleError(f"golden sample is {pixels.dtype} {pixels.shape}; give a non-empty uint8 image or mask")
    return cv2.imencode(".png", pixels)[1].tobytes()


def _verify(folder: Path) -> None:
    bundle = Bundle.load(folder)
    for variant in bundle.variants.values():
        bundle.read_golden(variant)


@contextmanager
def _scratch_beside(target: Path) -> Iterator[Path]:
    """A folder on the same disk, from which the bundle moves to its place at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        yield Path(scratch)


def _refuse_foreign(target: Path) -> None:
    is_empty_folder = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty_folder and not (target / MANIFEST_FILE).is_file():
        raise BundleError(f"{target}: is something else than a bundle; choose another folder, or remove it")


def _swap(fresh: Path, target: Path, old: Path) -> None:
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
