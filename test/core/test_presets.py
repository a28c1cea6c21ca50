"""What a launch reads of a robot's parameter files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from seg_perception.core.errors import DataError
from seg_perception.core.presets import (
    as_yaml,
    camera_names,
    merged,
    preset,
    read_sections,
    require_addressed,
    require_own_topics,
    robot_files,
)

SHARE = Path(__file__).resolve().parents[2]


def test_a_robot_is_a_preset_by_name_or_a_file_by_path_and_the_users_file_comes_last(tmp_path):
    own, mine = tmp_path / "own.yaml", tmp_path / "mine.yaml"
    for file in (own, mine):
        file.write_text("")
    assert robot_files(SHARE, "car", "") == [SHARE / "config" / "robots" / "car.yaml"]
    assert robot_files(SHARE, str(own), str(mine)) == [own, mine]


@pytest.mark.parametrize(
    ("robot", "params_file", "reason"),
    [
        ("tank", "", "robot 'tank': there is no such file or folder; installed are: car, car_surround"),
        ("", "", "robot '': there is no such"),
        ("car", "/no/such.yaml", "params_file '/no/such.yaml': there is no such file or folder$"),
    ],
)
def test_what_is_not_there_is_named_with_its_argument(robot, params_file, reason):
    with pytest.raises(DataError, match=reason):
        robot_files(SHARE, robot, params_file)


def test_a_preset_comes_before_a_file_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "car").write_text("")
    installed = tmp_path / "car.yaml"
    installed.write_text("")
    assert preset("robot", "car", {"car": installed}) == installed
    assert preset("robot", "car", {}) == tmp_path / "car"


@pytest.mark.parametrize("section", ["/**/segmenter", "/*/segmenter", "/front/segmenter", "front/segmenter", "/**"])
def test_sections_that_reach_a_node(tmp_path, section):
    file = tmp_path / "mine.yaml"
    file.write_text(f"{section}: {{ros__parameters: {{device: cpu}}}}\n/**/controller: {{ros__parameters: {{a: 1}}}}\n")
    require_addressed([file], ["/front/segmenter", "/grid_mapper"])


def test_a_file_may_hold_sections_for_another_launch_as_well(tmp_path):
    file = tmp_path / "both.yaml"
    file.write_text("".join(f"/{n}/grid_mapper: {{ros__parameters: {{a: 1}}}}\n" for n in ("left", "right")))
    require_addressed([file], ["/left/segmenter", "/left/grid_mapper"])


@pytest.mark.parametrize("section", ["segmenter", "/rear/segmenter", "/a/*/segmenter"])
def test_a_section_that_would_reach_no_node_is_refused(tmp_path, section):
    file = tmp_path / "mine.yaml"
    file.write_text(f"{section}: {{ros__parameters: {{device: cpu}}}}\n")
    with pytest.raises(
        DataError, match=r"mine\.yaml: section .*segmenter is not for /front/segmenter; call it /\*\*/segmenter"
    ):
        require_addressed([file], ["/front/segmenter", "/grid_mapper"])


def test_parameters_without_their_heading_are_named(tmp_path):
    file = tmp_path / "bare.yaml"
    file.write_text("grid_mapper: {resolution: 0.2}\n")
    with pytest.raises(DataError, match=r"bare\.yaml: .*grid_mapper has resolution without `ros__parameters:`"):
        read_sections(file)


def test_a_parameter_that_is_there_twice_is_refused(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("/**/grid_mapper:\n  ros__parameters:\n    max_range: 25.0\n    max_range: 5.0\n")
    with pytest.raises(DataError, match=r"twice\.yaml: .*line 4: max_range is listed twice"):
        read_sections(file)


@pytest.mark.parametrize(("robot", "names"), [("car", [""]), ("car_surround", ["front", "left", "right", "rear"])])
def test_cameras_of_the_shipped_robots(robot, names):
    assert camera_names(robot_files(SHARE, robot, "")) == names


def test_later_files_name_other_cameras_or_leave_them_as_they_are(tmp_path):
    other, silent = tmp_path / "other.yaml", tmp_path / "silent.yaml"
    other.write_text("/**/grid_mapper:\n  ros__parameters:\n    cameras: [front, rear]\n")
    silent.write_text("/**/grid_mapper:\n  ros__parameters:\n    half_life: 2.0\n")
    surround = SHARE / "config" / "robots" / "car_surround.yaml"
    assert camera_names([surround, other, silent]) == ["front", "rear"]


def test_cameras_are_those_of_the_grid_mapper_in_any_form_that_ros_reads(tmp_path):
    nested, single = tmp_path / "nested.yaml", tmp_path / "single.yaml"
    nested.write_text(
        "local_costmap:\n  local_costmap:\n    ros__parameters:\n      cameras: [other]\n"
        "robot:\n  grid_mapper:\n    ros__parameters:\n      cameras: [front, rear]\n"
        "/**/tracker:\n  ros__parameters:\n    cameras: [third]\n"
    )
    assert camera_names([nested]) == ["front", "rear"]
    single.write_text("/**:\n  ros__parameters:\n    cameras: front\n")
    assert camera_names([nested, single]) == ["front"]


def test_cameras_that_are_no_names_are_refused(tmp_path):
    file = tmp_path / "odd.yaml"
    file.write_text("/**/grid_mapper:\n  ros__parameters:\n    cameras: [5]\n")
    with pytest.raises(DataError, match=r"odd\.yaml: cannot be .* \(cameras is \[5\]; must be a list of names"):
        camera_names([file])


@pytest.mark.parametrize(
    "text", ["- a list", "grid_mapper: {no: parameters}", "grid_mapper: [", "just words", "grid_mapper: 2024-13-45"]
)
def test_files_of_something_else_are_named(tmp_path, text):
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(DataError, match=r"odd\.yaml: cannot be read as ROS parameters"):
        camera_names([file])


def test_files_are_merged_whatever_the_types_of_their_values(tmp_path):
    robot, mine = tmp_path / "robot.yaml", tmp_path / "mine.yaml"
    robot.write_text(
        "/**/grid_mapper: {ros__parameters: {max_range: 20, cameras: front, mount: {x: 1, z: 2.0}}}\n"
        "front: {segmenter: {ros__parameters: {threads: 2}}}\n"
        "/**/other: {ros__parameters: {threads: 9}}\n"
    )
    mine.write_text("/**/grid_mapper: {ros__parameters: {max_range: 12.5, cameras: [front, rear], mount.x: 0.5}}\n")
    nodes = ["/front/segmenter", "/rear/segmenter", "/grid_mapper"]
    assert merged([read_sections(robot), read_sections(mine)], nodes) == {
        "/front/segmenter": {"ros__parameters": {"threads": 2}},
        "/grid_mapper": {
            "ros__parameters": {"max_range": 12.5, "cameras": ["front", "rear"], "mount.x": 0.5, "mount.z": 2.0}
        },
    }
    assert camera_names([robot, mine]) == ["front", "rear"]


@pytest.mark.parametrize(
    ("robot", "mine"),
    [
        ("/**/segmenter", "/**"),
        ("/front/segmenter", "/**/segmenter"),
        ("/**/segmenter", "/front/segmenter"),
        ("/**", "/*/segmenter"),
    ],
)
def test_the_later_file_overrides_however_its_section_is_called(robot, mine):
    document = merged([{mine: {"threads": 1}, robot: {"threads": 2}}, {mine: {"threads": 3}}], ["/front/segmenter"])
    assert document == {"/front/segmenter": {"ros__parameters": {"threads": 3}}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "it has no sections, which"), ("/**/segmentor: {ros__parameters: {a: 1}}", "its sections are /../segmentor")],
)
def test_a_file_that_reaches_no_node_is_refused(tmp_path, text, reason):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(DataError, match=rf"mine\.yaml: {reason}.*call them /\*\*/grid_mapper and /\*\*/segmenter"):
        require_addressed([file], ["/segmenter", "/grid_mapper"])


def test_cameras_have_topics_of_their_own():
    require_own_topics([""], {"image": "/one/image_raw"})
    require_own_topics(["front", "rear"], {"image": "image_rect", "depth": "depth"})
    with pytest.raises(DataError, match="depth:=/one/depth would be that of each of the cameras front, rear"):
        require_own_topics(["front", "rear"], {"image": "image_rect", "depth": "/one/depth"})


def test_what_nodes_have_in_common_is_written_out_for_each():
    document = merged([{"/**": {"cameras": ["front", "rear"]}}], ["/segmenter", "/grid_mapper"])
    assert not set("&*") & set(as_yaml(document))
    assert yaml.safe_load(as_yaml(document)) == document
