"""The files behind a recipe: the report names each with its digest, and no review is given again when one changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RECIPE = """\
schema: avreview/recipe/1
splits:
- {split: train, file: splits/train.txt}
- {split: val, file: splits/val.txt}
"""

ULTRALYTICS = """\
task: detect
mode: train
model: yolov8n.pt
data: signs.yaml
epochs: 100
lr0: 0.01
weight_decay: 0.0005
degrees: 10.0
fliplr: 0.5
mosaic: 1.0
close_mosaic: 10
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe whose lists lie beside it, and share no scene."""
    (tmp_path / "train" / "splits").mkdir(parents=True)
    (tmp_path / "train" / "recipe.yaml").write_text(RECIPE)
    lists(tmp_path, train=12, val=34)
    return tmp_path


def lists(folder: Path, **scenes: int) -> None:
    for split, scene in scenes.items():
        (folder / "train" / "splits" / f"{split}.txt").write_text(f"scene-{scene:04}\n")


def avreview(folder: Path, *words: str) -> tuple[int, str]:
    environment = {**os.environ, "AVREVIEW_CACHE_DIR": str(folder / "kept"), "SOURCE_DATE_EPOCH": "1795305600"}
    ended = subprocess.run(
        [sys.executable, "-m", "avreview", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return ended.returncode, ended.stdout


def reviewed(folder: Path, *words: str) -> dict[str, Any]:
    """The review of the recipe, with the cache."""
    _, out = avreview(folder, "check", "--cache", "--recipe", "train/recipe.yaml", *words, "--format", "json")
    (review,) = json.loads(out)["reviews"]
    return dict(review)


def leak(review: dict[str, Any]) -> str:
    return next(str(rule["verdict"]) for rule in review["rules"] if rule["rule"] == "AV809")


def test_lists_that_the_recipe_names_are_among_its_files(folder: Path) -> None:
    recipe = reviewed(folder)["subject"]["recipe"]
    assert [file["path"] for file in recipe["files"]] == ["train/splits/train.txt", "train/splits/val.txt"]


def test_lists_that_no_rule_asked_for_are_not_read(folder: Path) -> None:
    assert "files" not in reviewed(folder, "--select", "AV601")["subject"]["recipe"]


def test_the_report_no_longer_holds_when_such_a_list_changes(folder: Path) -> None:
    avreview(folder, "check", "--recipe", "train/recipe.yaml", "--output", "report.yaml", "--attest", "statement.json")
    assert avreview(folder, "verify", "report.yaml")[0] == 0
    subjects = json.loads((folder / "statement.json").read_text())["subject"]
    assert [entry["name"] for entry in subjects] == [
        "train/recipe.yaml", "train/splits/train.txt", "train/splits/val.txt"
    ]  # fmt: skip
    lists(folder, val=12)
    code, out = avreview(folder, "verify", "report.yaml")
    assert code == 1
    assert "changed" in next(line for line in out.splitlines() if "val.txt" in line)
    (folder / "train" / "splits" / "train.txt").unlink()
    assert "missing" in next(
        line for line in avreview(folder, "verify", "report.yaml")[1].splitlines() if "n.txt" in line
    )


def test_a_kept_review_follows_the_lists(folder: Path) -> None:
    assert leak(reviewed(folder)) == leak(reviewed(folder)) == "pass"
    lists(folder, val=12)
    assert leak(reviewed(folder)) == "fail"
    (folder / "train" / "splits" / "val.txt").unlink()
    assert leak(reviewed(folder)) == leak(reviewed(folder)) == "not-assessed"
    lists(folder, val=12)
    assert leak(reviewed(folder)) == "fail"


def test_a_kept_review_follows_what_appears_beside_the_recipe(folder: Path) -> None:
    """The data set of an ultralytics recipe is read where it stands beside it."""
    (folder / "train" / "recipe.yaml").write_text(ULTRALYTICS)
    assert "files" not in reviewed(folder)["subject"]["recipe"]
    (folder / "train" / "signs.yaml").write_text("names: [left, right]\n")
    assert [file["path"] for file in reviewed(folder)["subject"]["recipe"]["files"]] == ["train/signs.yaml"]


def test_every_manifest_of_a_split_is_named(folder: Path) -> None:
    given = [f"--manifest=train=train/splits/{name}.txt" for name in ("train", "val")]
    (folder / "other.txt").write_text("scene-0099\n")
    subject = reviewed(folder, *given, "--manifest=val=other.txt")["subject"]
    assert {role: entry["path"] for role, entry in subject.items() if "manifest" in role} == {
        "train manifest 1": "train/splits/train.txt",
        "train manifest 2": "train/splits/val.txt",
        "val manifest": "other.txt",
    }
    assert "files" not in subject["recipe"]  # what was given takes the place of what the recipe names


def test_a_kept_review_follows_every_manifest(folder: Path) -> None:
    given = ["--manifest=train=train/splits/train.txt", "--manifest=val=train/splits/val.txt", "--manifest=val=a.txt"]
    (folder / "a.txt").write_text("scene-0099\n")
    assert leak(reviewed(folder, *given)) == "pass"
    lists(folder, val=12)
    assert leak(reviewed(folder, *given)) == "fail"
