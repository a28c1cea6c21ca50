"""Samples: broken data sets are named file by file; the mixture keeps its shares and can be continued anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from box_scenes import CLASSES, HEIGHT, WIDTH, write_scenes

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.training.augment import augment
from seg_perception.training.config import AugmentConfig, TrainingConfig
from seg_perception.training.data import IndicesFrom, Mixture, Source, class_frequencies, load_sources
from seg_perception.training.samples import spread

TABLE = ClassTable.from_dicts(CLASSES)


def _load(document: dict[str, Any], folder: Path, **options: Any) -> list[Source]:
    document["train"] = {"folders": [{"path": str(folder), "void": [3], **options}]}
    return _sources(document)


def _sources(document: dict[str, Any]) -> list[Source]:
    config = TrainingConfig.from_dict(document)
    return load_sources(config, config.train, TABLE)


def test_void_becomes_unlabelled(document: dict[str, Any], scenes: Path) -> None:
    (source,) = _load(document, scenes / "train")
    _, labels = source.samples[0]
    assert set(np.unique(labels)) == {0, 1, 2, 255}
    assert (labels[0] == 255).all()


def test_samples_have_the_size_of_the_input(document: dict[str, Any], scenes: Path) -> None:
    document["input_size"] = [64, 32]
    image, labels = _load(document, scenes / "train")[0].samples[0]
    assert image.shape == (32, 64, 3)
    assert labels.shape == (32, 64)


def test_empty_folder_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="images: no image"):
        _load(document, tmp_path)


def _break_size(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels" / "001.png"), np.zeros((10, 20), np.uint8))


def _break_id(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels" / "001.png"), np.full((HEIGHT, WIDTH), 7, np.uint8))


def _break_channels(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels" / "001.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def _remove_labels(folder: Path) -> None:
    (folder / "labels" / "001.png").unlink()


def _truncate_image(folder: Path) -> None:
    (folder / "images" / "001.png").write_bytes(b"\x89PNG")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_break_size, r"images/001\.png: size \(96, 64\) differs from its labels' \(20, 10\)"),
        (_break_id, r"labels/001\.png: label 7 is not in the class table"),
        (_break_channels, r"labels/001\.png: has colours, this form of labels needs one channel"),
        (_remove_labels, r"images/001\.png: has no labels"),
        (_truncate_image, r"images/001\.png: cannot be decoded"),
    ],
)
def test_broken_pair_is_named(document: dict[str, Any], tmp_path: Path, damage: Any, message: str) -> None:
    write_scenes(tmp_path, 2, seed=3)
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        _load(document, tmp_path)


def test_images_of_one_name_are_both_named(document: dict[str, Any], tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, seed=3)
    shutil.copy(tmp_path / "images" / "000.png", tmp_path / "images" / "000.jpg")
    with pytest.raises(DataError, match=r"images/000\.png and .*images/000\.jpg: have one name"):
        _load(document, tmp_path)
    for hours in ("day", "night"):
        shutil.copytree(tmp_path / "images", tmp_path / "hours" / hours, ignore=lambda *_: ["000.jpg"])
    shutil.rmtree(tmp_path / "images")
    (tmp_path / "hours").rename(tmp_path / "images")
    with pytest.raises(DataError, match=r"night/000\.png and .*day/000\.png: have one name"):
        _load(document, tmp_path)


def test_images_stay_as_stored_like_their_labels(
    document: dict[str, Any], tmp_path: Path, upside_down: Callable[[bytes], bytes]
) -> None:
    write_scenes(tmp_path, 2, seed=3)
    for path in sorted((tmp_path / "images").iterdir()):
        jpeg = cv2.imencode(".jpg", cv2.imread(str(path)))[1].tobytes()
        path.with_suffix(".jpg").write_bytes(upside_down(jpeg))
        path.unlink()
    for image, labels in _load(document, tmp_path)[0].samples:
        assert image[labels == 0, 0].mean() > 150 > image[labels == 1, 0].mean()  # the sky is blue


def _flat_source(name: str, value: int, share: float) -> Source:
    sample = np.full((64, 64, 3), value, np.uint8), np.full((64, 64), value, np.uint8)
    return Source(name, [sample], share)


def test_mixture_draws_by_share_and_repeats_by_index() -> None:
    sources = [_flat_source("a", 0, 3.0), _flat_source("b", 1, 1.0)]
    mixture = Mixture(sources, AugmentConfig(crop=[32, 32]), seed=5)
    drawn = [int(mixture[index][1].min()) for index in range(400)]
    assert 0.19 < np.mean(drawn) < 0.31
    image, labels = mixture[17]
    again = Mixture(sources, AugmentConfig(crop=[32, 32]), seed=5)[17]
    assert (image == again[0]).all()
    assert (labels == again[1]).all()


def test_frequencies_follow_the_shares() -> None:
    sources = [_flat_source("a", 0, 3.0), _flat_source("b", 1, 1.0)]
    np.testing.assert_allclose(class_frequencies(sources, 3), [0.75, 0.25, 0.0])


def test_a_source_without_a_labelled_pixel_teaches_nothing() -> None:
    with pytest.raises(DataError, match="training source b: none of its pixels is labelled"):
        class_frequencies([_flat_source("a", 0, 3.0), _flat_source("b", 255, 1.0)], 3)


@pytest.mark.parametrize("seed", range(20))
def test_labels_move_with_the_pixels(seed: int) -> None:
    """An image whose blue channel is its label stays so through every geometric change."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (8, 8)), np.ones((16, 16))).astype(np.uint8)
    image = np.repeat(labels[..., None] * 60, 3, axis=2)
    config = AugmentConfig(crop=[96, 80], colour=0.0, blur=0.0, noise=0.0)
    crop, truth = augment(image, labels, config, rng)
    assert crop.shape == (80, 96, 3)
    inside = truth != 255
    assert inside.mean() > 0.3
    wrong = np.abs(crop[inside, 0].astype(int) - truth[inside].astype(int) * 60) > 30
    assert wrong.mean() < 0.05


def test_a_crop_as_large_as_the_image_is_all_of_it() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (64, 48), dtype=np.uint8)
    image = np.repeat(labels[..., None] * 60, 3, axis=2)
    config = AugmentConfig([48, 64], (1.0, 1.0), aspect=0.0, rotation_deg=0.0, colour=0.0, blur=0.0, noise=0.0)
    seen = [augment(image, labels, config, np.random.default_rng(seed))[1].tobytes() for seed in range(8)]
    assert set(seen) == {labels.tobytes(), labels[:, ::-1].tobytes()}


def _moved(old: Path, new: Path) -> Path:
    new.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(old, new))


def _camvid(root: Path) -> None:
    _moved(root / "images", root / "train")
    _moved(root / "labels", root / "trainannot")


def _colour(root: Path) -> None:
    for path in (root / "labels").iterdir():
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        palette = np.array([c["color"][::-1] for c in CLASSES] + [[0, 0, 0]], np.uint8)
        cv2.imwrite(str(path), palette[labels])


def _voc(root: Path) -> None:
    _moved(root / "images", root / "JPEGImages")
    _moved(root / "labels", root / "SegmentationClass")
    listing = root / "ImageSets" / "Segmentation" / "train.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("000\n001\n")
    cv2.imwrite(str(root / "JPEGImages" / "unlabelled.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def _cityscapes(root: Path) -> None:
    for kind, folder, suffix in (("images", "leftImg8bit", "leftImg8bit"), ("labels", "gtFine", "gtFine_labelIds")):
        for path in sorted((root / kind).iterdir()):
            _moved(path, root / folder / "train" / "ulm" / f"ulm_{path.stem}_000019_{suffix}.png")


@pytest.mark.parametrize(
    ("arrange", "options"),
    [
        (_camvid, {"layout": "camvid", "split": "train", "remap": {0: 0, 1: 1, 2: 2}}),
        (_colour, {"layout": "colour", "void": []}),
        (_voc, {"layout": "voc", "split": "train", "remap": {0: 0, 1: 1, 2: 2}}),
        (_cityscapes, {"layout": "cityscapes", "split": "train", "remap": {0: 0, 1: 1, 2: 2}}),
    ],
    ids=lambda value: value["layout"] if isinstance(value, dict) else "",
)
def test_layouts_hold_the_same_samples(
    document: dict[str, Any], tmp_path: Path, arrange: Callable[[Path], None], options: dict[str, Any]
) -> None:
    write_scenes(tmp_path, 2, seed=3)
    (plain,) = _load(document, tmp_path)
    expected = list(plain.samples)
    arrange(tmp_path)
    (source,) = _load(document, tmp_path, **options)
    assert len(source.samples) == 2
    for (image, labels), (expected_image, expected_labels) in zip(source.samples, expected, strict=True):
        np.testing.assert_array_equal(image, expected_image)
        np.testing.assert_array_equal(labels, expected_labels)


def test_remap_and_partial_labels(document: dict[str, Any], tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, seed=3)
    (plain,) = _load(document, tmp_path)
    (source,) = _load(document, tmp_path, remap={2: 1, 0: 255})
    ((_, before),), ((_, after),) = plain.samples, source.samples
    np.testing.assert_array_equal(after, np.array([255, 1, 1] + [255] * 253, np.uint8)[before])


def test_region_of_interest(document: dict[str, Any], tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, seed=3)
    ((image, labels),) = _load(document, tmp_path)[0].samples
    document["input_size"] = [WIDTH // 2, HEIGHT // 2]
    ((part, part_labels),) = _load(document, tmp_path, region=[0.5, 0.0, 1.0, 0.5])[0].samples
    np.testing.assert_array_equal(part, image[: HEIGHT // 2, WIDTH // 2 :])
    np.testing.assert_array_equal(part_labels, labels[: HEIGHT // 2, WIDTH // 2 :])


def test_listed_image_that_is_missing_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, seed=3)
    _voc(tmp_path)
    with pytest.raises(DataError, match=r"train\.txt: 001 is not in .*JPEGImages"):
        _load(document, tmp_path, layout="voc", split="train")


def test_samples_beyond_the_memory_limit_are_the_same(document: dict[str, Any], scenes: Path) -> None:
    everything = _load(document, scenes / "train")[0].samples
    document["schedule"]["memory_gb"] = 3 * 4 * WIDTH * HEIGHT / 2**30
    some = _load(document, scenes / "train")[0].samples
    assert some[0][0] is some[0][0]
    assert some[7][0] is not some[7][0]
    for (image, labels), (other, other_labels) in zip(everything, some, strict=True):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(labels, other_labels)


def test_fingerprint_follows_labels(document: dict[str, Any], tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, seed=3)
    before = _load(document, tmp_path)[0].fingerprint()
    assert _load(document, tmp_path)[0].fingerprint() == before
    cv2.imwrite(str(tmp_path / "labels" / "001.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    assert _load(document, tmp_path)[0].fingerprint() != before


def test_processes_share_every_batch() -> None:
    def first(indices: IndicesFrom, count: int) -> list[int]:
        return [index for index, _ in zip(indices, range(count), strict=False)]

    alone = first(IndicesFrom(5, 8), 16)
    assert alone == list(range(40, 56))
    parts = [first(IndicesFrom(5, 8, process, 2), 8) for process in range(2)]
    assert sorted(parts[0] + parts[1]) == alone
    assert sorted(parts[0][:4] + parts[1][:4]) == alone[:8]


@pytest.mark.parametrize(("count", "at_most", "chosen"), [(7, 3, [0, 2, 4]), (3, 7, [0, 1, 2]), (4, 4, [0, 1, 2, 3])])
def test_spread_is_even(count: int, at_most: int, chosen: list[int]) -> None:
    samples = [(np.full((2, 2, 3), index, np.uint8), np.zeros((2, 2), np.uint8)) for index in range(count)]
    assert [int(image[0, 0, 0]) for image, _ in spread(samples, at_most)] == chosen
