"""Bundles survive being written and read; whatever is wrong with one is named."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from seg_perception.core.errors import BundleError
from seg_perception.engines.bundle import MANIFEST_FILE, Bundle, find_bundle, installed_bundles, require_target
from seg_perception.engines.manifest import Accepted, Runtime


def edit(root: Path, key: str, value: Any) -> None:
    """Set one value of the manifest, `key` dotted; a value of None removes the key."""
    path = root / MANIFEST_FILE
    document = yaml.safe_load(path.read_text())
    *parents, last = key.split(".")
    section = document
    for parent in parents:
        section = section[int(parent)] if isinstance(section, list) else section[parent]
    if value is None:
        del section[last]
    else:
        section[last] = value
    path.write_text(yaml.safe_dump(document))


def test_what_was_written_is_read(bundle, make_model, image, mask):
    manifest = bundle.manifest
    assert (manifest.name, manifest.version, manifest.licence) == ("halves", "1.0.0", "MIT")
    assert manifest.provenance == {"data": ["drawn by hand"]}
    assert [entry.name for entry in bundle.table.classes] == ["road", "wall"]
    variant = bundle.variants["fp32"]
    assert variant.accepted == (Accepted(Runtime("cpu"), {"miou": 1.0}, 1.0),)
    assert bundle.read_model(variant) == make_model()
    golden_image, golden_mask = bundle.read_golden(variant)
    np.testing.assert_array_equal(golden_image, image)
    np.testing.assert_array_equal(golden_mask, mask)


def test_writing_replaces_the_whole_bundle(make_bundle):
    runtime = (Accepted(Runtime("cpu"), {}),)
    make_bundle(accepted={"fp32": runtime, "int8": runtime})
    root = make_bundle(version="2.0.0")
    assert Bundle.load(root).manifest.version == "2.0.0"
    assert sorted(path.name for path in root.iterdir()) == [
        "bundle.yaml", "golden.fp32.png", "golden.png", "model.fp32.onnx"
    ]  # fmt: skip
    assert [path.name for path in root.parent.iterdir()] == ["halves"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"golden_mask": np.zeros((3, 3), np.uint8)}, "mask is 3x3, the input 32x24"),
        ({"golden_mask": np.zeros((24, 32), np.float32)}, "golden sample is float32"),
        ({"accepted": {"../fp32": (Accepted(Runtime("cpu"), {}),)}}, "variant name is '../fp32'"),
        ({"accepted": {"fp32": (Accepted(Runtime("openvino"), {}),)}}, "precision_hint is missing"),
        ({"data": np.float32(1.0)}, "bundle halves: provenance is not plain YAML"),
        ({"resize": "tile"}, "input.resize is 'tile'; expected one of stretch, letterbox, crop"),
    ],
)
def test_a_bundle_that_could_not_be_loaded_is_not_written(make_bundle, wrong, message):
    root = make_bundle()
    with pytest.raises(BundleError, match=re.escape(message)):
        make_bundle(**wrong)
    assert Bundle.load(root).manifest.version == "1.0.0"
    assert [path.name for path in root.parent.iterdir()] == ["halves"]


def test_a_folder_of_something_else_is_not_replaced(make_bundle, tmp_path):
    (tmp_path / "halves").mkdir()
    (tmp_path / "halves" / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="halves: is something else than a bundle"):
        make_bundle()
    assert (tmp_path / "halves" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("my halves", "my halves: bundle name is 'my halves'; expected letters"),
        ("file", "file: is something else than a bundle"),
        ("file/halves", "file/halves: cannot be written ("),
        ("/proc/nowhere/halves", "/proc/nowhere/halves: cannot be written ("),
    ],
)
def test_a_place_for_no_bundle_is_named_before_and_while_writing(make_bundle, tmp_path, place, message):
    (tmp_path / "file").write_text("what was there")
    for write in (lambda name: require_target(tmp_path / name), make_bundle):
        with pytest.raises(BundleError, match=re.escape(message)):
            write(place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_place_for_a_bundle_is_left_as_it_is(make_bundle, tmp_path):
    for name in ("halves", "new/below"):
        assert require_target(tmp_path / name) == tmp_path / name
    assert not list(tmp_path.iterdir())
    assert require_target(make_bundle()) == tmp_path / "halves"


def test_a_full_disk_leaves_the_bundle_that_was_there(make_bundle):
    root = make_bundle()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(BundleError, match=r"halves: cannot be written \(File too large\); make room"):
            make_bundle(version="2.0.0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Bundle.load(root).manifest.version == "1.0.0"
    assert [path.name for path in root.parent.iterdir()] == ["halves"]


def test_bundles_are_found_by_name_in_sourced_workspaces(make_bundle, tmp_path, monkeypatch):
    root = make_bundle()
    models = tmp_path / "install" / "share" / "seg_perception" / "config" / "models"
    models.mkdir(parents=True)
    root.rename(models / "halves")
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(["/opt/ros/none", str(tmp_path / "install")]))
    (tmp_path / "halves").mkdir()
    (tmp_path / "halves" / MANIFEST_FILE).write_text("of another model, which a launch would start here")
    monkeypatch.chdir(tmp_path)
    assert find_bundle("halves") == models / "halves"
    assert find_bundle("./halves") == Path("halves")
    assert find_bundle(tmp_path / "halves") == tmp_path / "halves"
    assert models / "halves" in installed_bundles()
    with pytest.raises(BundleError, match=rf"'thirds': not found in .*{re.escape(str(models))}.*there are: .*halves"):
        find_bundle("thirds")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BundleError, match=re.escape(f"{tmp_path}/nowhere: no such folder")):
        Bundle.load(tmp_path / "nowhere")


def test_a_folder_without_manifest_is_named(tmp_path):
    with pytest.raises(BundleError, match=re.escape(f"{tmp_path}: no bundle.yaml")):
        Bundle.load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"a: [", b"\xff\xfe\x00binary", b"x: !!python/object/apply:os.system ['true']", b"version: 2024-13-45"]
)
def test_a_manifest_that_is_no_plain_yaml_is_named(bundle, content):
    (bundle.root / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(BundleError, match="bundle.yaml: cannot be read as YAML") as caught:
        Bundle.load(bundle.root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", 99, "schema is 99; this version reads 1"),
        ("schema", None, "schema is missing"),
        ("name", "../etc", "name is '../etc'; expected letters"),
        ("version", 1.0, "version is 1.0; expected a text in quotes"),
        ("input", [32, 24], "input is not a mapping"),
        ("input.width", "32", "input.width is '32'; expected an integer 1..8192"),
        ("input.height", 0, "input.height is 0"),
        ("input.channel_order", "gbr", "input.channel_order is 'gbr'; expected one of bgr, rgb"),
        ("golden.agreement", 1.5, "golden.agreement is 1.5; expected a number 0.0..1.0"),
        ("golden.agreement", float("nan"), "golden.agreement is nan"),
        ("scores", {"miou": "high"}, "scores.miou is 'high'"),
        ("variants", {}, "variants is empty"),
        ("variants", {"a/b": {}}, "the name of a variant is 'a/b'"),
        ("variants.fp32.model.file", "../../model.onnx", "variants.fp32.model.file is '../../model.onnx'"),
        ("variants.fp32.model.file", "/etc/passwd", "variants.fp32.model.file is '/etc/passwd'"),
        ("variants.fp32.golden_mask.file", "..", "variants.fp32.golden_mask.file is '..'"),
        ("variants.fp32.model.sha256", "abc", "variants.fp32.model.sha256 is 'abc'; expected 64"),
        ("variants.fp32.model.file", "other.onnx", "other.onnx missing"),
        ("variants.fp32.accepts", "cpu", "variants.fp32.accepts is 'cpu'; expected a list"),
        ("variants.fp32.accepts.0.provider", "tpu", "variants.fp32.accepts[0].provider is 'tpu'; expected one of"),
        ("variants.fp32.accepts.0.precision_hint", "bf16", "accepts[0].precision_hint is 'bf16'; expected no such key"),
        ("variants.fp32.accepts.0.latency_ms", -1, "accepts[0].latency_ms is -1"),
        ("classes", "camvid", "classes is 'camvid'; expected a list of classes"),
        ("classes", [], "class table: no classes"),
        ("classes.1.kind", "wall", "class table: entry 1"),
        ("classes.1.id", 0, "class table: id 0 used twice"),
    ],
)
def test_a_wrong_manifest_is_refused_by_file_and_field(bundle, key, value, message):
    edit(bundle.root, key, value)
    with pytest.raises(BundleError, match=re.escape(message)) as caught:
        Bundle.load(bundle.root)
    assert str(bundle.root) in str(caught.value)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden.png", "golden.fp32.png"])
def test_missing_files_are_named(bundle, name):
    (bundle.root / name).unlink()
    with pytest.raises(BundleError, match=re.escape(f"{bundle.root}: {name} missing")):
        Bundle.load(bundle.root)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden.png", "golden.fp32.png"])
def test_tampered_files_are_named(bundle, name):
    path = bundle.root / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    loaded = Bundle.load(bundle.root)
    with pytest.raises(BundleError, match=re.escape(f"{path}: SHA-256 is ")):
        loaded.read_model(loaded.variants["fp32"])
        loaded.read_golden(loaded.variants["fp32"])
