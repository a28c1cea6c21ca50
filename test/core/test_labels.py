"""Label folders: what was written in each form comes back as ids of the class table, and what is wrong is named."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.labels import LabelFolder, load_remap

TABLE = ClassTable.from_dicts(
    [
        {"id": 0, "name": "road", "color": [128, 64, 128], "cost": 0, "kind": "ground"},
        {"id": 2, "name": "car", "color": [0, 0, 142], "cost": 100, "kind": "obstacle"},
        {"id": 7, "name": "person", "color": [220, 20, 60], "cost": 100, "kind": "obstacle"},
    ]
)
"""Its names are also names of Cityscapes; car and person of VOC."""

MASK = np.array([[0, 2, 7], [255, 0, 7]], np.uint8)
masks = arrays(np.uint8, (5, 4), elements=st.sampled_from([0, 2, 7, 255]))

VOC_PALETTE = {0: (0, 0, 0), 7: (128, 128, 128), 15: (192, 128, 128), 255: (224, 224, 192)}
"""Known entries of Pascal VOC's palette, RGB."""


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def painted(mask: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    """(H, W, 3) BGR of ids in RGB colours."""
    picture = np.zeros((*mask.shape, 3), np.uint8)
    for value, colour in colours.items():
        picture[mask == value] = colour[::-1]
    return picture


def png(pixels: np.ndarray, depth: int, kind: int, *parts: tuple[bytes, bytes]) -> bytes:
    """A PNG of one channel with so many bits per pixel. kind: 0 grey, 3 palette. parts: between header and pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    bits = np.unpackbits(pixels[..., None], axis=2)[..., 8 - depth :].reshape(len(pixels), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    header = struct.pack(">IIBBBBB", *pixels.shape[::-1], depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *parts, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks)


def palette_png(indices: np.ndarray, palette: dict[int, tuple[int, int, int]]) -> bytes:
    """As VOC has them."""
    entries = b"".join(bytes(palette.get(index, (1, 2, 3))) for index in range(256))
    return png(indices, 8, 3, (b"PLTE", entries))


def write_ids(folder: Path, mask: np.ndarray) -> str:
    write(folder / "a.png", mask)
    return "a"


def write_colour(folder: Path, mask: np.ndarray) -> str:
    write(folder / "a.png", TABLE.colorize(mask))
    return "a"


def write_cityscapes(folder: Path, mask: np.ndarray) -> str:
    ids = np.zeros_like(mask)  # unlabeled
    for ours, theirs in {0: 7, 2: 26, 7: 24}.items():
        ids[mask == ours] = theirs
    write(folder / "bonn" / "bonn_000001_000019_gtFine_labelIds.png", ids)
    write(folder / "bonn" / "bonn_000001_000019_gtFine_color.png", TABLE.colorize(mask))
    return "bonn_000001_000019_leftImg8bit"


def write_cvat(folder: Path, mask: np.ndarray) -> str:
    colours = {0: (10, 20, 30), 2: (250, 50, 83), 7: (51, 221, 255)}
    write(folder / "SegmentationClass" / "drive" / "a.png", painted(mask, colours))
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "road:10,20,30::", "car:250,50,83:door,wheel:"]
    (folder / "labelmap.txt").write_text("\n".join([*lines, "person:51,221,255::", ""]))
    return "a"


def write_coco_panoptic(folder: Path, mask: np.ndarray) -> str:
    segments = {0: 3226956, 2: 255, 7: 256}  # one needs all three channels, one only green
    codes = np.zeros((*mask.shape, 3), np.uint8)
    for value, code in segments.items():
        codes[mask == value] = (code >> 16, code >> 8 & 255, code & 255)
    write(folder / "panoptic_val" / "000000000139.png", codes)
    info = [{"id": segments[0], "category_id": 149}, {"id": segments[2], "category_id": 3}]
    document = {
        "images": [{"id": 139, "file_name": "000000000139.jpg"}],
        "categories": [{"id": 149, "name": "road"}, {"id": 3, "name": "car"}, {"id": 1, "name": "person"}],
        "annotations": [
            {
                "image_id": 139,
                "file_name": "000000000139.png",
                "segments_info": [*info, {"id": segments[7], "category_id": 1}],
            }
        ],
    }
    (folder / "panoptic_val.json").write_text(json.dumps(document))
    return "000000000139"


def write_voc(folder: Path, mask: np.ndarray) -> str:
    indices = np.full_like(mask, 255)
    for ours, theirs in {0: 0, 2: 7, 7: 15}.items():
        indices[mask == ours] = theirs
    (folder / "SegmentationClass").mkdir(parents=True)
    (folder / "SegmentationClass" / "2007_000032.png").write_bytes(palette_png(indices, VOC_PALETTE))
    return "2007_000032"


WRITERS: dict[str, tuple[Callable[[Path, np.ndarray], str], dict[int | str, int]]] = {
    "ids": (write_ids, {}),
    "colour": (write_colour, {}),
    "cityscapes": (write_cityscapes, {}),
    "cvat": (write_cvat, {}),
    "coco_panoptic": (write_coco_panoptic, {}),
    "voc": (write_voc, {"background": 0}),
}


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=25)
@given(mask=masks)
def test_a_mask_written_in_any_form_comes_back(form: str, mask: np.ndarray) -> None:
    writer, remap = WRITERS[form]
    with TemporaryDirectory() as folder:
        stem = writer(Path(folder), mask)
        labels = LabelFolder(Path(folder), form, TABLE, remap)
        assert labels.stems() == [stem]
        read = labels.read(stem)
        assert read is not None and read.dtype == np.uint8
        np.testing.assert_array_equal(read, mask)
        assert labels.read("another") is None


@settings(max_examples=25)
@given(ids=arrays(np.uint8, (5, 4)), targets=st.lists(st.sampled_from([0, 2, 7, 255]), min_size=256, max_size=256))
def test_a_remap_of_all_ids_is_a_lookup(ids: np.ndarray, targets: list[int]) -> None:
    with TemporaryDirectory() as folder:
        write(Path(folder) / "a.png", ids)
        read = LabelFolder(Path(folder), "ids", TABLE, dict(enumerate(targets))).read("a")
        np.testing.assert_array_equal(read, np.array(targets, np.uint8)[ids])


@pytest.mark.parametrize(
    ("form", "remap", "become"),
    [
        ("ids", {2: 0, "person": 255}, {2: 0, 7: 255}),
        ("colour", {"car": 7}, {2: 7}),
        ("cityscapes", {26: 7, "person": 2, "unlabeled": 0}, {2: 7, 7: 2, 255: 0}),
        ("cvat", {"background": 7, "car": 255}, {255: 7, 2: 255}),
        ("coco_panoptic", {149: 2, "person": 0}, {0: 2, 7: 0}),
        ("voc", {"background": 0, 15: 2}, {7: 2}),
    ],
)
def test_a_remap_takes_ids_and_names_of_the_source(
    tmp_path: Path, form: str, remap: dict, become: dict[int, int]
) -> None:
    stem = WRITERS[form][0](tmp_path, MASK)
    expected = MASK.copy()
    for old, new in become.items():
        expected[old == MASK] = new
    np.testing.assert_array_equal(LabelFolder(tmp_path, form, TABLE, remap).read(stem), expected)


def test_colours_that_the_table_lacks_are_remapped_by_their_code(tmp_path: Path) -> None:
    write(tmp_path / "a.png", painted(np.array([[1, 2, 3]], np.uint8), {1: (64, 0, 128), 2: (0, 0, 142), 3: (0, 0, 0)}))
    np.testing.assert_array_equal(LabelFolder(tmp_path, "colour", TABLE, {"#400080": 7}).read("a"), [[7, 2, 255]])
    remap = {"#400080": 255, "#00008e": 0, "#000000": 2}  # also colours with a meaning of their own
    np.testing.assert_array_equal(LabelFolder(tmp_path, "colour", TABLE, remap).read("a"), [[255, 0, 2]])


def test_cityscapes_leaves_out_what_its_scores_leave_out(tmp_path: Path) -> None:
    ids = np.array([[*range(7), 9, 10, 14, 15, 16, 18, 29, 30, 255]], np.uint8)
    write(tmp_path / "x_gtFine_labelIds.png", ids)
    assert (LabelFolder(tmp_path, "cityscapes", TABLE).read("x_leftImg8bit") == 255).all()


def test_voc_is_read_without_its_folder_and_as_one_channel(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.array([[7, 15, 0, 255]], np.uint8))
    np.testing.assert_array_equal(LabelFolder(tmp_path, "voc", TABLE).read("a"), [[2, 7, 255, 255]])


def test_panoptic_pictures_beside_their_json_and_images_of_another_name(tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path, MASK)
    np.testing.assert_array_equal(
        LabelFolder(tmp_path / "panoptic_val", "coco_panoptic", TABLE).read("000000000139"), MASK
    )
    document = json.loads((tmp_path / "panoptic_val.json").read_text())
    document["images"][0]["file_name"] = "frames/first.jpg"
    (tmp_path / "panoptic_val.json").write_text(json.dumps(document))
    assert LabelFolder(tmp_path, "coco_panoptic", TABLE).stems() == ["first"]


@pytest.mark.parametrize(
    ("form", "picture", "words"),
    [
        ("ids", np.array([[0, 9]], np.uint8), r"a\.png: label 9 is not in the class table; remap it"),
        ("ids", np.array([[0, 300]], np.uint16), "label 300 is not"),
        ("ids", np.zeros((2, 2, 3), np.uint8), "needs one channel of ids"),
        ("colour", np.full((1, 1, 3), (3, 2, 1), np.uint8), "colour #010203 is not"),
        ("colour", np.zeros((2, 2), np.uint8), "needs colours"),
        ("voc", np.array([[3]], np.uint8), r"label 3 \(bird\) is not"),
        ("voc", np.full((1, 1, 3), (3, 2, 1), np.uint8), "colour #010203 is not"),
    ],
)
def test_a_label_without_a_class_is_named_with_its_file(
    tmp_path: Path, form: str, picture: np.ndarray, words: str
) -> None:
    write(tmp_path / "a.png", picture)
    with pytest.raises(DataError, match=words) as caught:
        LabelFolder(tmp_path, form, TABLE).read("a")
    assert "\n" not in str(caught.value)


def test_many_wrong_labels_are_summed_up(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.arange(100, 120, dtype=np.uint8)[None])
    with pytest.raises(DataError, match="label 100, label 101, label 102, label 103, label 104 and 15 more"):
        LabelFolder(tmp_path, "ids", TABLE).read("a")


def test_a_segment_that_the_json_does_not_list_is_named(tmp_path: Path) -> None:
    stem = write_coco_panoptic(tmp_path, MASK)
    document = json.loads((tmp_path / "panoptic_val.json").read_text())
    document["annotations"][0]["segments_info"].pop()
    (tmp_path / "panoptic_val.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="colour #000100 is not"):
        LabelFolder(tmp_path, "coco_panoptic", TABLE).read(stem)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        LabelFolder(tmp_path, "ids", TABLE).read("a")


@pytest.mark.parametrize(
    ("remap", "words"),
    [
        ({2: 3}, "remap 2: 3 leads to no class; use one of 0, 2, 7, or 255"),
        ({"pavement": 0}, "remap names 'pavement'.*they have road, car, person"),
        ({300: 0}, "remap names 300"),
    ],
)
def test_a_remap_that_cannot_work_is_refused(tmp_path: Path, remap: dict, words: str) -> None:
    write_ids(tmp_path, MASK)
    with pytest.raises(DataError, match=words):
        LabelFolder(tmp_path, "ids", TABLE, remap)


def test_a_remap_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "remap.yaml"
    path.write_text('11: 255\nsidewalk: 2\n"#400080": car\nsky: unlabelled\n')
    assert load_remap(path, TABLE) == {11: 255, "sidewalk": 2, "#400080": 2, "sky": 255}
    twice, impossible = "11: 2\n11: 0", "11: 2024-13-45"
    for text in ("11: void", "11: 3", "- 11", "1.5: 2", "11: true", "11: [2]", "", "{", twice, impossible):
        path.write_text(text)
        with pytest.raises(DataError, match="remap.yaml") as caught:
            load_remap(path, TABLE)
        assert "\n" not in str(caught.value)


def test_folders_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown form 'yolo'; choose one of ids, colour"):
        LabelFolder(tmp_path, "yolo", TABLE)
    with pytest.raises(DataError, match="no such folder"):
        LabelFolder(tmp_path / "absent", "ids", TABLE)
    for form in ("ids", "colour", "cityscapes", "cvat", "voc"):
        with pytest.raises(DataError, match="no label in it; this form expects"):
            LabelFolder(tmp_path, form, TABLE)


def test_what_a_form_needs_beside_the_pictures_is_named(tmp_path: Path) -> None:
    write_cvat(tmp_path / "cvat", MASK)
    (tmp_path / "cvat" / "labelmap.txt").write_text("road:1,2\n")
    with pytest.raises(DataError, match=r"labelmap.txt:1: 'road:1,2' is not name:red,green,blue"):
        LabelFolder(tmp_path / "cvat", "cvat", TABLE)
    (tmp_path / "cvat" / "labelmap.txt").unlink()
    with pytest.raises(DataError, match="labelmap.txt: cannot be read"):
        LabelFolder(tmp_path / "cvat", "cvat", TABLE)

    write_coco_panoptic(tmp_path / "coco", MASK)
    (tmp_path / "coco" / "instances.json").write_text("{}")
    with pytest.raises(DataError, match="more than one JSON"):
        LabelFolder(tmp_path / "coco", "coco_panoptic", TABLE)
    (tmp_path / "coco" / "panoptic_val.json").unlink()
    with pytest.raises(DataError, match="is not COCO's panoptic form"):
        LabelFolder(tmp_path / "coco", "coco_panoptic", TABLE)
    with pytest.raises(DataError, match="is not JSON"):
        (tmp_path / "coco" / "instances.json").write_text("{")
        LabelFolder(tmp_path / "coco", "coco_panoptic", TABLE)
    (tmp_path / "coco" / "instances.json").unlink()
    with pytest.raises(DataError, match=r"coco\.json: cannot be read"):
        LabelFolder(tmp_path / "coco", "coco_panoptic", TABLE)


def test_two_labels_of_one_image_are_refused(tmp_path: Path) -> None:
    write_cvat(tmp_path, MASK)
    write(tmp_path / "SegmentationClass" / "other" / "a.png", TABLE.colorize(MASK))
    with pytest.raises(DataError, match="have one name"):
        LabelFolder(tmp_path, "cvat", TABLE)


def test_recorded_labels_are_read(shared_data: Path) -> None:
    table = ClassTable.load(Path(__file__).parents[2] / "config" / "classes" / "camvid.yaml")
    labels = LabelFolder(shared_data / "camvid" / "val" / "labels", "ids", table, {11: 255})
    assert len(labels.stems()) == 101
    mask = labels.read(labels.stems()[0])
    assert mask is not None and mask.shape == (360, 480) and set(np.unique(mask)) <= {*range(11), 255}


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_ids_of_few_bits_are_those_that_were_written(tmp_path: Path, depth: int) -> None:
    classes = [
        {"id": i, "name": str(i), "color": [i, 0, 1], "cost": 0, "kind": "ground"} for i in range(min(2**depth, 16))
    ]
    mask = np.resize(np.arange(len(classes), dtype=np.uint8), (5, 7))
    (tmp_path / "a.png").write_bytes(png(mask, depth, 0))
    found = LabelFolder(tmp_path, "ids", ClassTable.from_dicts(classes)).read("a")
    assert found is not None
    np.testing.assert_array_equal(found, mask)
