"""The report: what it says, that it is safe and small, and how a browser takes it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import browse, browse_title, needs_browser
from evaluated_run import frames_of, metrics_of, write_run

from seg_perception.core.errors import DataError
from seg_perception.evaluation.report import write_report
from seg_perception.evaluation.verdict import check


class Page(HTMLParser):
    """Text, addresses and tags of a page; fails on tags that are not closed in their order."""

    VOID = {"meta", "link", "img", "br"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.addresses, self.tags, self._open, self._silent = "", [], [], [], 0
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += f" {data.strip()}" if data.strip() else ""


def report(out: Path) -> Page:
    write_report(out)
    return Page((out / "report.html").read_text(encoding="utf-8"))


def with_thresholds(out: Path, text: str) -> None:
    (out / "thresholds.yaml").write_text(text)
    check(out, out / "thresholds.yaml")


def test_the_verdict_comes_first_and_names_what_was_missed(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(30))
    page = report(out)
    assert page.text.index("No thresholds given") < page.text.index("Summary")
    with_thresholds(out, "mask.miou: {min: 0.1}\nlatency_ms.total.p50: {max: 1000}")
    assert "Passed: all 2 kept" in report(out).text
    with_thresholds(out, "mask.miou: {min: 0.99}\nmask.iou.tram: {min: 0}\nmask.iou.road: {min: 0}")
    text = report(out).text
    assert "Failed: 2 of 3 thresholds missed" in text
    assert "mask.iou.tram is missing: mask.iou has sky, building" in text


def test_the_figures_are_those_of_the_evaluation(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(60))
    metrics = json.loads((out / "metrics.json").read_text())
    text = report(out).text
    for value in (metrics["mask"]["miou"], metrics["mask"]["iou"]["pole"], metrics["grid"]["0-15"]["false_free"]):
        assert f" {value:.4f}" in text
    assert f"{metrics['latency_ms']['total']['p99']:.1f} ms" in text
    assert "60 frames in 5.9 s" in text and "no pose 2 7, 57: no transform at the stamp" in text
    assert "Compared with the recorded true grid" in text
    diagonal = 100 * metrics["mask"]["confusion"][3][3] / sum(metrics["mask"]["confusion"][3])
    assert f" {diagonal:.0f} " in text.partition("Confusion")[2]


def test_images_of_folders_have_names_and_no_time(tmp_path: Path) -> None:
    frames = [{**frame, "name": f"street_{frame['index']}.png"} for frame in frames_of(60)]
    text = report(write_run(tmp_path / "run", frames)).text
    assert "60 frames;" in text and "seconds since the first frame" not in text
    assert "frame street_10.png:" in text and "no pose 2 street_7.png, street_57.png:" in text


def test_recordings_that_failed_and_what_is_damaged_is_said_with_the_verdict(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(12))
    metrics = json.loads((out / "metrics.json").read_text())
    metrics |= {"failed": [{"bag": "/x/torn", "reason": "no image in it"}], "damage": ["drive.mcap: cut off after 3 s"]}
    (out / "metrics.json").write_text(json.dumps(metrics))
    before_summary = report(out).text.partition("Summary")[0]
    assert "/x/torn could not be evaluated: no image in it" in before_summary
    assert "damaged: drive.mcap: cut off after 3 s" in before_summary


def test_a_run_without_any_truth_is_reported_all_the_same(tmp_path: Path) -> None:
    frames = frames_of(5)
    out = write_run(tmp_path / "run", [*frames * 3])
    bare = [
        {key: frame[key] for key in ("index", "bag", "camera", "skipped", "latency_ms")} | {"stamp_ns": 0}
        for frame in frames
    ]
    (out / "frames.jsonl").write_text("".join(json.dumps(frame) + "\n" for frame in bare))
    metrics = metrics_of(frames) | {"mask": None, "grid": None, "grid_truth": None, "flicker": {"mask": None}}
    (out / "metrics.json").write_text(json.dumps(metrics))
    (out / "pictures.json").write_text("[]")
    text = report(out).text
    assert "Latency" in text and "mIoU" not in text and "False free" not in text and "Classes" not in text
    (out / "frames.jsonl").write_text("")
    assert "Summary" in report(out).text


def test_nothing_in_the_inputs_becomes_markup(tmp_path: Path) -> None:
    frames = frames_of(12, cameras=("<b>front</b>", "left"))
    for frame in frames:
        frame["bag"] = "<script>alert(1)</script>"
        frame["skipped"] = "<i>reason</i>"
    out = write_run(tmp_path / "run", frames)
    metrics = json.loads((out / "metrics.json").read_text())
    metrics["inputs"] = ["<script>alert(1)</script>"]
    metrics["model"]["bundle"] = "</td><img src=x>"
    (out / "metrics.json").write_text(json.dumps(metrics))
    page = report(out)
    assert "script" not in page.tags and page.tags.count("img") == 3 * 2 * 5
    for text in ("<script>alert(1)</script>", "<i>reason</i>", "<b>front</b>", "</td><img src=x>"):
        assert text in page.text


def test_the_colours_of_the_classes_are_told_beside_the_pictures(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(12))
    html = report(out) and (out / "report.html").read_text()
    assert html.count('<i style="background: rgb(128, 64, 128)"></i>road</li>') == html.count('class="frames"') > 0


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(12))
    page = report(out)
    assert page.addresses and all(address.startswith("data:") for address in page.addresses)
    html = (out / "report.html").read_text()
    assert "script" not in page.tags and "url(" not in html and "@import" not in html
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_pictures_are_embedded_in_their_order_and_a_lost_one_is_named(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(12))
    (out / "pictures" / "lowest_miou_000010_overlay.png").unlink()
    page = report(out)
    assert page.tags.count("img") == 3 * 2 * 5 - 1
    assert "overlay: pictures/lowest_miou_000010_overlay.png cannot be read" in page.text
    assert page.text.index("lowest mIoU") < page.text.index("called free") < page.text.index("Snapshots")


def test_pictures_are_made_small(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(12))
    pictures = json.loads((out / "pictures.json").read_text())[:2]
    (out / "pictures.json").write_text(json.dumps(pictures))
    for entry in pictures:
        cv2.imwrite(str(out / entry["file"]), np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8))
    report(out)
    assert (out / "report.html").stat().st_size < 2 * 400_000 < (out / pictures[0]["file"]).stat().st_size


def test_an_hour_is_not_larger_than_a_minute(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(600))
    report(out)
    minute = (out / "report.html").stat().st_size
    lines = (out / "frames.jsonl").read_text().splitlines()
    hour = []
    for index in range(36_000):
        frame = json.loads(lines[index % 600]) if index % 9 == 0 else {"camera": "", "bag": "/recordings/drive"}
        frame.pop("confusion", None)
        frame |= {"index": index, "stamp_ns": index * 100_000_000}
        hour.append(json.dumps(frame))
    (out / "frames.jsonl").write_text("\n".join(hour) + "\n")
    assert "36000" not in report(out).text  # the count is that of metrics.json
    assert (out / "report.html").stat().st_size < minute + 200_000


def test_lone_peaks_and_gaps_survive_the_thinning_of_curves(tmp_path: Path) -> None:
    frames = frames_of(1500)
    frames[777]["grid"]["false_free"] = 1.0
    out = write_run(tmp_path / "run", frames)
    assert re.search(r"False free, 0-15 m lowest 0, middle [0-9.]+, highest 1 ", report(out).text)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("metrics.json", None, r"metrics\.json: cannot be read"),
        ("metrics.json", "{", r"metrics\.json: cannot be read"),
        ("metrics.json", "{}", r"metrics\.json: has not what a report needs"),
        ("frames.jsonl", None, r"frames\.jsonl: cannot be read"),
        ("frames.jsonl", '{"index": 0}\n[]\n', r"frames\.jsonl:2: cannot be read"),
        ("pictures.json", '[{"kind": "best"}]', r"pictures\.json: cannot be read"),
    ],
)
def test_files_that_are_lost_or_damaged_are_named_and_the_old_page_stays(
    tmp_path: Path, file: str, content: str | None, words: str
) -> None:
    out = write_run(tmp_path / "run", frames_of(12))
    report(out)
    before = (out / "report.html").read_bytes()
    if content is None:
        (out / file).unlink()
    else:
        (out / file).write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        write_report(out)
    assert "\n" not in str(caught.value)
    assert (out / "report.html").read_bytes() == before


@needs_browser
def test_a_browser_shows_and_prints_it_without_a_complaint(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(60, cameras=("front", "left")))
    with_thresholds(out, "mask.miou: {min: 0.99}")
    write_report(out)
    page = out / "report.html"
    assert browse(page, f"--screenshot={tmp_path / 'desk.png'}", "--window-size=1200,900") == ""
    assert browse(page, f"--print-to-pdf={tmp_path / 'page.pdf'}") == ""
    desk = cv2.imread(str(tmp_path / "desk.png"))
    assert desk is not None and len(np.unique(desk.reshape(-1, 3), axis=0)) > 50
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@needs_browser
def test_the_console_of_the_browser_is_heard(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>undefinedName</script>")
    assert "undefinedName" in browse(page, f"--screenshot={tmp_path / 'shot.png'}")


@needs_browser
def test_a_phone_need_not_scroll_sideways(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", frames_of(60, cameras=("front", "left")))
    write_report(out)
    html = (out / "report.html").read_text()
    probe = "<script>const e = document.documentElement; document.title = e.scrollWidth - e.clientWidth</script></body>"
    inner = out / "probe.html"
    inner.write_text(re.sub("<meta http-equiv.*?>", "", html).replace("</body>", probe))
    frame = out / "phone.html"  # the narrowest window of a headless browser is 500 pixels wide, a frame is not
    frame.write_text(
        f'<iframe src="{inner.name}" width="360" height="800" onload="document.title = this.contentDocument.title">'
    )
    assert browse_title(frame) == "0"
