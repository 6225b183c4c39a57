"""The configuration on the command line: what is found, what outranks what, and what goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from avreview.config.schemas import schema

SAMPLES = Path(__file__).parents[2] / "sample_models"
FAULTY = SAMPLES / "lane_head__dropout_active.onnx"
CLEAN = SAMPLES / "lane_head.onnx"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with two models and a configuration of both."""
    (tmp_path / ".git").mkdir()
    models = tmp_path / "models"
    models.mkdir()
    for path in (FAULTY, CLEAN):
        (models / path.name).write_bytes(path.read_bytes())
    configure(tmp_path, ignore="AV409")
    return tmp_path


def configure(folder: Path, **settings: Any) -> None:
    reviews = [{"name": "lanes", "model": f"models/{CLEAN.name}"}, {"model": f"models/{FAULTY.name}"}]
    (folder / "avreview.yaml").write_text(yaml.safe_dump({"reviews": reviews, **settings}))


def avreview(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1795305600"}  # 2026-11-22
    command = [sys.executable, "-m", "avreview", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def reviews(ended: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert ended.stderr == ""
    found: list[dict[str, Any]] = json.loads(ended.stdout)["reviews"]
    return found


def test_check_without_a_model_reviews_what_is_configured(project: Path) -> None:
    for folder in (project, project / "models"):
        ended = avreview(folder, "check", "-f", "json")
        assert ended.returncode == 1
        first, second = reviews(ended)
        assert (first["name"], first["verdict"]) == ("lanes", "pass")
        assert second["verdict"] == "fail"
        assert Path(second["subject"]["model"]["path"]).name == FAULTY.name


def test_a_model_that_is_named_takes_what_is_configured_for_it(project: Path) -> None:
    configure(project, rules={"AV701": {"severity": "note"}}, ignore="AV409")
    (review,) = reviews(avreview(project, "check", f"models/{CLEAN.name}", "-f", "json"))
    assert review["name"] == "lanes"
    ended = avreview(project, "check", FAULTY, "-f", "json")
    assert ended.returncode == 0
    assert avreview(project, "check", FAULTY, "--isolated").returncode == 1


def test_the_command_line_outranks_the_file(project: Path) -> None:
    configure(project, select="AV301", fail_on="note")
    chosen = reviews(avreview(project, "check", FAULTY, "--select", "AV701", "-f", "json"))[0]
    assert [rule["rule"] for rule in chosen["rules"]] == ["AV701"]
    configure(project, select="AV701", fail_on="error")
    assert avreview(project, "check", FAULTY, "--exit-zero").returncode == 0
    assert avreview(project, "check", "nothing.onnx", "--exit-zero").returncode == 2


def test_config_names_another_file_and_profile_another_beginning(project: Path) -> None:
    other = project / "other.yaml"
    other.write_text("select: AV409\n")
    assert avreview(project, "check", CLEAN, "--config", other).returncode == 0
    assert avreview(project, "check", CLEAN, "--config", other, "--profile", "audit").returncode == 1
    both = avreview(project, "check", CLEAN, "--config", other, "--isolated")
    assert (both.returncode, both.stderr.count("\n")) == (2, 1)
    assert avreview(project, "check", CLEAN, "--profile", "bogus").returncode == 2


def test_show_settings_prints_what_would_hold(project: Path) -> None:
    ended = avreview(project, "check", "--show-settings", "--ignore", "AV106")
    settings = yaml.safe_load(ended.stdout)
    assert (ended.returncode, settings["files"]) == (0, ["avreview.yaml"])
    assert settings["ignore"] == ["AV409", "AV106"]
    assert next(review["model"] for review in settings["reviews"]).endswith(CLEAN.name)


def test_nothing_to_review_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    ended = avreview(tmp_path, "check")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "avreview: no model to review; name one, or list `reviews` in avreview.yaml\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("profil: strict\n", "avreview.yaml:1:1: 'profil' is no key here; did you mean profile?"),
        ("a: &a [x]\nb: *a\n", "avreview.yaml:1:4: sets an anchor"),
        ("select: !!python/name:os.system x\n", "avreview.yaml:1:9: has the tag"),
        ("waivers: missing.yaml\n", "missing.yaml: cannot be read (No such file or directory)"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_two(project: Path, text: str, words: str) -> None:
    (project / "avreview.yaml").write_text(text)
    ended = avreview(project, "check", CLEAN)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_configuration_runs_nothing(project: Path) -> None:
    (project / "evil.py").write_text("open('ran', 'w').close()\n")
    reviews_ = [{"model": f"models/{CLEAN.name}", "reference": "evil:factory"}]
    (project / "avreview.yaml").write_text(yaml.safe_dump({"reviews": reviews_}))
    assert avreview(project, "check").returncode == 0
    assert not (project / "ran").exists()


def test_baseline_then_only_new_findings_fail(project: Path) -> None:
    ended = avreview(project, "baseline")
    assert ended.returncode == 0
    recorded = yaml.safe_load((project / "avreview-baseline.yaml").read_text())
    jsonschema.validate(recorded, schema("baseline"))
    assert "AV701" in {entry["rule"] for entry in recorded["findings"]}
    configure(project, baseline="avreview-baseline.yaml", ignore="AV409")
    assert avreview(project, "check").returncode == 0
    again = avreview(project, "baseline")
    assert again.returncode == 0
    assert yaml.safe_load((project / "avreview-baseline.yaml").read_text()) == recorded


def test_a_baseline_takes_no_configurations_place(project: Path) -> None:
    before = (project / "avreview.yaml").read_bytes()
    ended = avreview(project, "baseline", "--output", "avreview.yaml")
    assert ended.returncode == 2
    assert ended.stderr.startswith("avreview: avreview.yaml: what is written there would be taken for a configuration")
    assert (project / "avreview.yaml").read_bytes() == before


def test_a_recipe_and_manifests_are_reviewed_without_a_model(project: Path) -> None:
    (project / "avreview.yaml").write_text(yaml.safe_dump({"reviews": [{"name": "only", "recipe": "recipe.yaml"}]}))
    ended = avreview(project, "check")
    assert ended.returncode == 2
    assert "avreview: recipe.yaml: no such file" in ended.stderr
    (project / "avreview.yaml").write_text(yaml.safe_dump({"reviews": [{"name": "nothing"}]}))
    ended = avreview(project, "check")
    assert ended.returncode == 2
    assert "avreview.yaml:2:3: lacks 'model', or 'recipe', or 'manifests'" in ended.stderr


def test_a_waiver_is_shown_in_the_terminal(project: Path) -> None:
    entry = {"rule": "AV701", "module": "head.*", "reason": "sampled on purpose", "owner": "perception"}
    waivers = {"waivers": [{**entry, "expires": "2027-03-31"}, {**entry, "rule": "AV301", "expires": "2027-03-31"}]}
    (project / "accepted.yaml").write_text(yaml.safe_dump(waivers))
    configure(project, waivers="accepted.yaml", ignore="AV409")
    ended = avreview(project, "check")
    assert ended.returncode == 0
    shown = " ".join(ended.stdout.split())
    assert "waived until 2027-03-31 by perception: sampled on purpose" in shown
    assert "AV301 in head.*" in shown
    assert "unused" in shown


@pytest.mark.parametrize("kind", ["config", "waivers", "baseline"])
def test_schemas_are_printed(tmp_path: Path, kind: str) -> None:
    ended = avreview(tmp_path, "schema", kind)
    assert json.loads(ended.stdout) == schema(kind)


def test_a_recipe_by_itself_is_no_model_of_the_working_folder(project: Path) -> None:
    """Its entry has no model, and must not be taken for one of the folder that is named `.`."""
    (project / "recipe.yaml").write_text("schema: avreview/recipe/1\n")
    (project / "avreview.yaml").write_text("reviews:\n- {name: training, recipe: recipe.yaml}\n")
    ended = avreview(project, "check", ".", "--format", "json")
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["reviews"], report["unreadable"][0]["path"]) == (2, [], ".")
