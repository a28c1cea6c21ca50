"""What people write twice is refused: YAML would keep the last of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from seg_perception.core.yaml_file import load_yaml


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: 1\nschedule: 2\ntrain: 3\n", "line 3: train is listed twice"),
        ("a:\n- {b: 1, c: 2, b: 1}\n", "line 2: b is listed twice"),
        ("11: road\n12: car\n11: car\n", "line 3: 11 is listed twice"),
        ("a: [\nb: 1\n", "expected ',' or ']'"),
        ("a: \x07", "special characters are not allowed"),
    ],
)
def test_one_line_says_what_is_wrong_and_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        load_yaml(path)
    assert "\n" not in str(caught.value)


def test_keys_of_other_types_and_those_that_a_merge_overrides_are_not_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('base: &base {a: 1, b: 2}\nother:\n  <<: *base\n  b: 3\n11: x\n"11": y\n')
    assert load_yaml(path) == {"base": {"a": 1, "b": 2}, "other": {"a": 1, "b": 3}, 11: "x", "11": "y"}
    path.write_text("")
    assert load_yaml(path) is None
