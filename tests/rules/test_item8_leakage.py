from __future__ import annotations

from pathlib import Path

import pytest
from recipe_pipelines import judged, written
from recipe_reviews import recipe

from avreview.engine.review import Severity, Verdict
from avreview.recipe.manifests import Manifests, open_manifests
from avreview.recipe.model import Place, Recipe, Split


def lists(folder: Path, *, role: str = "val", suffix: str = "txt", train: str, other: str) -> Manifests:
    sides = [("train", train), (role, other)]
    paths = [(side, str(written(folder, f"{side}.{suffix}", content))) for side, content in sides]
    return open_manifests(paths)


def test_av809_a_scene_on_both_sides(tmp_path: Path) -> None:
    given = lists(tmp_path, train="scene-0001\nscene-0002\nscene-0003\n", other="scene-0004\nscene-0002\n")
    finding = judged(None, "AV809", given).only
    assert finding.severity is Severity.ERROR
    assert finding.message == "1 of 2 scenes of val is in train as well: 'scene-0002'."
    places = [(Path(place.artifact).name, place.line, place.module) for place in (finding.location, *finding.also)]
    assert places == [("val.txt", 2, "train-val.scene"), ("train.txt", 2, "train-val.scene")]
    assert judged(None, "AV809", lists(tmp_path, train="scene-0001\n", other="scene-0004\n")).passed


def test_av809_the_most_telling_kind_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    train = "file_name,sequence\na/1532402927612460.jpg,s1\na/1532402927612461.jpg,s1\n"
    given = lists(tmp_path, suffix="csv", train=train, other="file_name,sequence\nb/1532402927612461.jpg,s1\n")
    finding = judged(None, "AV809", given).only
    assert finding.location.module == "train-val.file"
    assert finding.location.line == 2
    assert finding.observed == {"shared_file": 1, "first": ["1532402927612461"], "also_shared": {"sequence": 1}}


NUSCENES = "samples/LIDAR_TOP/n015-2018-07-24-11-22-{:02d}+0800__LIDAR_TOP__15324029276{:05d}.pcd.bin\n"


def frames(logs: range, first: int) -> str:
    return "".join(NUSCENES.format(log, first + log) for log in logs)


def test_av809_a_log_that_other_scenes_are_of(tmp_path: Path) -> None:
    few = lists(tmp_path, train=frames(range(20), 100), other=frames(range(19, 30), 500))
    assert judged(None, "AV809", few).only.severity is Severity.WARNING
    most = lists(tmp_path, train=frames(range(20), 100), other=frames(range(20), 500))
    assert judged(None, "AV809", most).only.severity is Severity.ERROR
    log = "2021.05.12.22.00.38_veh-35_01008_01518\n"
    alone = lists(tmp_path, train=log, other=log + log.replace("veh-35", "veh-36") * 9)
    assert judged(None, "AV809", alone).only.severity is Severity.ERROR


def test_av809_folders_of_frames_are_a_warning(tmp_path: Path) -> None:
    given = lists(tmp_path, train="town01/run_7/000001.png\n", other="town01/run_7/000002.png\n")
    finding = judged(None, "AV809", given).only
    assert finding.severity is Severity.WARNING
    assert finding.message == "1 of 1 folder of numbered frames of val is in train as well: 'town01/run_7'."


def test_av809_a_test_set_is_compared_too(tmp_path: Path) -> None:
    given = lists(tmp_path, role="test", train="scene-0001\n", other="scene-0001\n")
    assert judged(None, "AV809", given).only.location.module == "train-test.scene"


@pytest.mark.parametrize(
    ("train", "other", "words"),
    [
        ("scene-0001\n", "drives/2011_09_26_drive_0001/a.png\n", "train names scene, and val names drive, file"),
        ("000000\n000001\n", "000000\n", "both lists may count for themselves"),
    ],
)
def test_av809_what_cannot_be_compared_is_not_assessed(tmp_path: Path, train: str, other: str, words: str) -> None:
    assessed = judged(None, "AV809", lists(tmp_path, train=train, other=other))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert words in (assessed.reason or "")
    assert (assessed.reason or "").startswith("needs ids of one kind on both sides")


def test_av809_without_lists_or_with_one_side() -> None:
    assessed = judged(recipe(), "AV809")
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert (assessed.reason or "").endswith("pass --manifest train=FILE --manifest val=FILE")


def test_av809_one_side_alone(tmp_path: Path) -> None:
    given = open_manifests([("train", str(written(tmp_path, "a.txt", "scene-0001\n")))])
    assert (judged(None, "AV809", given).reason or "").endswith("pass --manifest val=FILE")


def beside(folder: Path, train: str, val: str) -> Recipe:
    """A recipe in a folder, which names its lists."""
    path = str(folder / "recipe.yaml")
    splits = [Split("train", train, Place(path, 4)), Split("val", val, Place(path, 5))]
    return Recipe(path=path, dialect="plain", files={}, splits=splits)


def test_av809_lists_that_the_recipe_names_and_that_lie_beside_it(tmp_path: Path) -> None:
    written(tmp_path, "sets/train.txt", "scene-0001\nscene-0002\n")
    written(tmp_path, "sets/val.txt", "scene-0002\n")
    finding = judged(beside(tmp_path, "sets/train.txt", "./sets/val.txt"), "AV809").only
    assert finding.location.line == 1


@pytest.mark.parametrize("outside", ["../train.txt", "/etc/hostname", "sets/link.txt", "none.pkl", "\0"])
def test_av809_nothing_outside_the_recipes_folder_is_read(tmp_path: Path, outside: str) -> None:
    folder = tmp_path / "inner"
    written(tmp_path, "train.txt", "scene-0001\n")
    written(folder, "sets/val.txt", "scene-0001\n")
    (folder / "sets/link.txt").symlink_to(tmp_path / "train.txt")
    assert judged(beside(folder, outside, "sets/val.txt"), "AV809").verdict is Verdict.NOT_ASSESSED
