"""Training: learns, continues after an interruption as if there had been none, and stops before it does harm."""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from box_scenes import CLASSES, HEIGHT, WIDTH
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seg_perception.cli import main
from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError, TrainingError
from seg_perception.training import checkpoint
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import load_sources
from seg_perception.training.trained import Trained
from seg_perception.training.trainer import Trainer


def _trainer(document: dict[str, Any], out: Path) -> Trainer:
    config = TrainingConfig.from_dict(document)
    table = ClassTable.from_dicts(CLASSES)
    train = load_sources(config, config.train, table)
    return Trainer(config, table, train, load_sources(config, config.validation, table), out)


def _log(out: Path) -> list[dict[str, str]]:
    with open(out / "log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_network_of_instances_trains_in_mixed_precision_and_goes_on(document: dict[str, Any], tmp_path: Path) -> None:
    options = {"channels": [8, 8, 16, 16], "pyramid_channels": 8, "proposals": 20, "detections": 8}
    document["model"] = {"architecture": "mask_rcnn", "encoder": "tu-resnet10t", "options": options}
    document["schedule"].update(steps=2, validate_every=1, bf16=True)
    assert _trainer(document, tmp_path).fit()
    document["schedule"].update(steps=3)
    again = _trainer(document, tmp_path)
    again.resume()
    assert again.fit() and [int(row["step"]) for row in _log(tmp_path)] == [1, 2, 3]
    network = Trained.load(tmp_path).network
    assert network(torch.zeros((1, 3, HEIGHT, WIDTH))).shape == (1, 3, HEIGHT, WIDTH)


def test_learns_and_leaves_its_records(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"].update(steps=60, validate_every=20)
    assert _trainer(document, tmp_path).fit()
    rows = _log(tmp_path)
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])
    (score,) = (float(value) for key, value in rows[-1].items() if key.startswith("miou "))
    assert score > 0.7
    assert cv2.imread(str(tmp_path / "curves.png")) is not None
    (confusion,) = tmp_path.glob("confusion_*_val.png")
    assert cv2.imread(str(confusion)) is not None
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (tag,) = (tag for tag in events.Tags()["scalars"] if tag.startswith("miou/"))
    assert [round(event.value, 5) for event in events.Scalars(tag)] == [
        round(float(value), 5) for row in rows for key, value in row.items() if key.startswith("miou ")
    ]
    (best,) = checkpoint.load(tmp_path / checkpoint.BEST)["scores"].values()
    assert best >= score


@pytest.mark.parametrize("architecture", ["unet", "deeplabv3plus"])  # the second has dropout
def test_resumed_training_equals_the_uninterrupted_one(
    document: dict[str, Any], tmp_path: Path, architecture: str
) -> None:
    if architecture != "unet":
        document["model"] = {"architecture": architecture, "encoder": "tu-resnet10t"}
    _trainer(document, tmp_path / "whole").fit()

    killed = _trainer(document, tmp_path / "parts")
    _stop_at(killed, step=6)
    assert not killed.fit()
    resumed = _trainer(document, tmp_path / "parts")
    resumed.resume()
    assert resumed.step == 6
    assert resumed.fit()

    whole = checkpoint.load(tmp_path / "whole" / checkpoint.LAST)
    parts = checkpoint.load(tmp_path / "parts" / checkpoint.LAST)
    for name, weights in whole["average"].items():
        torch.testing.assert_close(parts["average"][name], weights, msg=name)
    columns = [key for key in _log(tmp_path / "whole")[0] if key not in ("elapsed_s", "loss")]
    rows = [[[row[key] for key in columns] for row in _log(tmp_path / part)] for part in ("whole", "parts")]
    assert rows[0] == rows[1]


def _stop_at(trainer: Trainer, step: int) -> None:
    """Send this process SIGTERM, as `kill` does, after a step."""

    def hook(*_: object) -> None:
        if trainer.step == step - 1 and trainer.network.training:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.network.register_forward_hook(hook)


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(document: dict[str, Any], tmp_path: Path) -> None:
    trainer = _trainer(document, tmp_path)

    def poison(_: object, __: object, logits: Any) -> Any:
        return logits * math.nan if trainer.step == 6 else logits

    trainer.network.register_forward_hook(poison)
    with pytest.raises(TrainingError, match=r"step 6: the loss is nan; the last good state is .*last\.pt"):
        trainer.fit()
    state = checkpoint.load(tmp_path / checkpoint.LAST)
    assert state["step"] == 4
    assert all(torch.isfinite(weights).all() for weights in state["network"].values())


def test_loss_that_is_not_finite_before_anything_is_saved_names_no_checkpoint(
    document: dict[str, Any], tmp_path: Path
) -> None:
    trainer = _trainer(document, tmp_path)
    trainer.network.register_forward_hook(lambda _, __, logits: logits * math.nan)
    with pytest.raises(TrainingError, match=r"step 0: the loss is nan; no state was saved yet; .* and start again$"):
        trainer.fit()
    assert not (tmp_path / checkpoint.LAST).exists()


def test_a_resumed_training_has_the_weight_decay_of_its_configuration(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"].update(steps=1, weight_decay=0.01)
    _trainer(document, tmp_path).fit()
    document["schedule"].update(steps=2, weight_decay=0.5)
    resumed = _trainer(document, tmp_path)
    resumed.resume()
    resumed.fit()
    groups = checkpoint.load(tmp_path / checkpoint.LAST)["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


def test_a_finished_training_is_left_as_it_is(
    document: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    document["schedule"].update(steps=2)
    interrupted = _trainer(document, tmp_path)
    _stop_at(interrupted, step=1)
    assert not interrupted.fit()
    for steps, said in ((1, False), (1, True), (2, False), (2, True)):  # the first one ends where it was interrupted
        document["schedule"].update(steps=steps)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        resumed = _trainer(document, tmp_path)
        resumed.resume()
        caplog.clear()
        assert resumed.fit()
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert (f"{tmp_path}: finished already, at step {steps}; lengthen" in caplog.text) == (before == after) == said
    assert [row["step"] for row in _log(tmp_path)] == ["1", "2"]


def test_another_model_is_not_resumed(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"]["steps"] = 1
    _trainer(document, tmp_path).fit()
    document["model"] = {**document["model"], "options": {"channels": [8, 16, 16, 16]}}
    with pytest.raises(TrainingError, match="was trained with another model"):
        _trainer(document, tmp_path).resume()


def test_damaged_checkpoint_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / checkpoint.LAST).write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match=r"last\.pt: not a checkpoint"):
        _trainer(document, tmp_path).resume()


def test_weights_alone_are_not_resumed(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"]["steps"] = 1
    _trainer(document, tmp_path).fit()
    (tmp_path / checkpoint.LAST).write_bytes((tmp_path / checkpoint.BEST).read_bytes())
    with pytest.raises(TrainingError, match=r"last\.pt: holds weights, not the state of a training"):
        _trainer(document, tmp_path).resume()


def test_a_validation_without_a_step_states_no_loss(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"].update(steps=4, validate_every=100)
    stopped = _trainer(document, tmp_path)
    _stop_at(stopped, step=2)
    assert not stopped.fit()
    document["schedule"].update(steps=2)
    resumed = _trainer(document, tmp_path)
    resumed.resume()
    assert resumed.fit()
    assert [row.get("loss") for row in _log(tmp_path)] == [None]


def test_unknown_encoder_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    document["model"] = {"architecture": "unet", "encoder": "tu-nonsense"}
    with pytest.raises(TrainingError, match="tu-nonsense"):
        _trainer(document, tmp_path)


@contextmanager
def _command(document: dict[str, Any], out: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, running in a process group of its own, as soon as it has saved something."""
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "seg_perception.cli", "train", "--device", "cpu"]
    with subprocess.Popen(
        [*command, "--config", str(config), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not (out / checkpoint.LAST).exists():
            assert process.poll() is None, "the command ended early"
            time.sleep(0.005)
        yield process


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [descendant for child in children for descendant in (*_children(child), child)]


def test_a_signal_to_all_its_processes_ends_it_in_order(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"].update(steps=100_000, workers=1)
    with _command(document, tmp_path / "out") as process:
        for pid in [*_children(process.pid), process.pid]:  # as systemd and Slurm do
            os.kill(pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    step = checkpoint.load(tmp_path / "out" / checkpoint.LAST)["step"]
    assert f"stopped at step {step}; go on with --resume" in said


def test_a_loader_that_was_killed_ends_it_with_the_reason(document: dict[str, Any], tmp_path: Path) -> None:
    """As the kernel does where memory is short."""
    document["schedule"].update(steps=100_000, workers=2)
    with _command(document, tmp_path / "out") as process:
        os.kill(_children(process.pid)[-1], signal.SIGKILL)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = (line for line in told.splitlines() if line.startswith("error: "))
    # The kill is not told where it tore a message of the loader in two: that is noticed before the signal.
    assert re.search(r"DataLoader worker .*(killed by signal: Killed|exited unexpectedly); it loaded images", line)
    assert "schedule.workers" in line and "--resume" in line
    assert "Traceback" not in told


def test_nothing_is_lost_by_a_kill(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"].update(steps=12, validate_every=6)
    with _command(document, tmp_path / "killed") as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert checkpoint.load(tmp_path / "killed" / checkpoint.LAST)["step"] < 12
    resumed = _trainer(document, tmp_path / "killed")
    resumed.resume()
    assert resumed.fit()
    _trainer(document, tmp_path / "whole").fit()

    whole, parts = (checkpoint.load(tmp_path / name / checkpoint.LAST) for name in ("whole", "killed"))
    for key in ("network", "average"):
        for name, weights in whole[key].items():
            torch.testing.assert_close(parts[key][name], weights, rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_two_processes_learn_one_network(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"].update(steps=60, validate_every=20, accumulate=2)
    config = tmp_path / "boxes.yaml"
    config.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "seg_perception.cli", "train", "--device", "cpu", "--processes", "2"]
    run = subprocess.run([*command, "--config", config, "--out", tmp_path / "out"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("trained 60 steps") == 1
    rows = _log(tmp_path / "out")
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert max(float(value) for row in rows for key, value in row.items() if key.startswith("miou ")) > 0.7


def test_a_batch_in_parts_learns_as_well(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"].update(steps=40, validate_every=20, accumulate=2)
    assert _trainer(document, tmp_path).fit()
    first, last = (float(row["loss"]) for row in _log(tmp_path))
    assert last < 0.8 * first


def test_a_batch_that_cannot_be_shared_is_refused(document: dict[str, Any]) -> None:
    document["schedule"].update(batch=4, accumulate=3)
    with pytest.raises(TrainingError, match="accumulate: is 3; allowed: a divisor of batch 4"):
        TrainingConfig.from_dict(document)


def test_an_image_alone_is_too_few_for_some_networks(document: dict[str, Any], tmp_path: Path) -> None:
    document["model"] = {"architecture": "deeplabv3plus", "encoder": "resnet18"}
    document["schedule"].update(batch=2, accumulate=2)
    with pytest.raises(TrainingError, match=r"schedule\.batch 2 leaves one image .*; raise it, or lower .*accumulate"):
        _trainer(document, tmp_path).fit()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere/out"])
def test_a_place_that_cannot_be_written_is_refused_at_once(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    config, out = tmp_path / "boxes.yaml", tmp_path / place
    config.write_text(yaml.safe_dump(document))
    (tmp_path / "file").write_text("what was there")
    training = ["--training", str(tmp_path / "none")]
    for command in (
        ["train", "--config", str(config)],
        ["distil", "--config", str(config), "--teacher", str(tmp_path / "none")],
        ["prune", *training],
        ["qat", *training],
    ):
        assert main([*command, "--out", str(out)]) == 2
        assert re.fullmatch(rf"error: {out}: cannot be written \(.+\); .*\n", capsys.readouterr().err)
    with pytest.raises(TrainingError, match="cannot be written"):
        checkpoint.save(out / checkpoint.LAST, {})
    assert (tmp_path / "file").read_text() == "what was there"


def test_held_out_images_without_a_label_are_refused(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(Path(document["base"]) / "val", tmp_path / "blank")
    document["validation"]["folders"].append({"path": str(tmp_path / "blank"), "void": [0, 1, 2, 3]})
    document["schedule"]["steps"] = 1
    config = tmp_path / "boxes.yaml"
    config.write_text(yaml.safe_dump(document))
    assert main(["train", "--config", str(config), "--out", str(tmp_path / "out")]) == 2
    assert re.search(r"^error: validation source \S+/blank: none of its pixels is", capsys.readouterr().err, re.M)


def test_dollars_in_names_are_no_formulas(document: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(Path(document["base"]) / "val", tmp_path / "$x_$^{")
    document["validation"]["folders"][0]["path"] = str(tmp_path / "$x_$^{")
    document["schedule"]["steps"] = 1
    assert _trainer(document, tmp_path / "out").fit()
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


@contextmanager
def _full_disk(free: int) -> Iterator[None]:
    """No file can grow beyond `free` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_what_was_there(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"]["steps"] = 4
    _trainer(document, tmp_path).fit()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    document["schedule"]["steps"] = 8
    resumed = _trainer(document, tmp_path)
    resumed.resume()
    with _full_disk(free=20_000), pytest.raises(TrainingError, match=r"cannot be written \(File too large\)"):
        resumed.fit()
    kept = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert kept.keys() == before.keys()
    for name in (checkpoint.LAST, checkpoint.BEST):
        assert kept[tmp_path / name] == before[tmp_path / name]


def test_checkpoints_of_older_versions_are_resumed(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"]["steps"] = 4
    _trainer(document, tmp_path).fit()
    state = checkpoint.load(tmp_path / checkpoint.LAST)
    for key in ("objective", "learning_rate"):
        del state[key]
    state["validated_on"] = list(state["validated_on"])
    state["config"]["schedule"] = {"steps": 4, "batch": 4}
    checkpoint.save(tmp_path / checkpoint.LAST, state)
    document["schedule"]["steps"] = 8
    resumed = _trainer(document, tmp_path)
    resumed.resume()
    assert resumed.step == 4
    assert resumed.fit()


def test_other_validation_frames_begin_a_new_best(document: dict[str, Any], tmp_path: Path) -> None:
    """A score on frames that were replaced under the same names must not stand against those on the new ones."""
    shutil.copytree(document["base"], tmp_path / "scenes")
    document["base"] = str(tmp_path / "scenes")
    document["schedule"].update(steps=40, validate_every=20)
    _trainer(document, tmp_path / "out").fit()
    (before,) = checkpoint.load(tmp_path / "out" / checkpoint.BEST)["scores"].values()
    for path in (tmp_path / "scenes" / "val" / "images").iterdir():
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 60, np.uint8))
    document["schedule"].update(steps=41)
    resumed = _trainer(document, tmp_path / "out")
    resumed.resume()
    assert resumed.fit()
    state = checkpoint.load(tmp_path / "out" / checkpoint.BEST)
    (after,) = state["scores"].values()
    assert state["step"] == 41
    assert after < before


def _trainer_on_broken_images(document: dict[str, Any], folder: Path, workers: int) -> Trainer:
    shutil.copytree(document["base"], folder / "scenes")
    document["base"] = str(folder / "scenes")
    document["schedule"].update(workers=workers, memory_gb=0.0)
    trainer = _trainer(document, folder / "out")
    for path in (folder / "scenes" / "train" / "images").iterdir():
        path.write_bytes(b"cut")
    return trainer


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_breaks_on_the_way_is_named_in_one_line(
    document: dict[str, Any], tmp_path: Path, workers: int
) -> None:
    trainer = _trainer_on_broken_images(document, tmp_path, workers)
    with pytest.raises(DataError, match=r"^/\S*/train/images/\d+\.png: cannot be decoded; remove it or replace it$"):
        trainer.fit()


def test_a_process_ends_though_a_failure_that_is_kept_keeps_its_loader(
    document: dict[str, Any], tmp_path: Path
) -> None:
    trainer, kept = _trainer_on_broken_images(document, tmp_path, workers=1), []

    def fail() -> None:
        try:
            trainer.fit()
        except DataError as error:
            kept.append(error)

    process = multiprocessing.get_context("fork").Process(target=fail)
    process.start()
    process.join(60)
    try:
        assert process.exitcode == 0
    finally:
        process.kill()


def test_a_file_of_torch_that_is_no_checkpoint_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / checkpoint.LAST)
    with pytest.raises(TrainingError, match=r"last\.pt: of torch, but not a checkpoint of this program"):
        _trainer(document, tmp_path).resume()
