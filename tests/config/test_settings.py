"""What a configuration comes to, and what it must not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from avreview.config.document import ConfigError
from avreview.config.nearest import nearest
from avreview.config.reading import read_settings
from avreview.config.settings import Planned, Settings
from avreview.engine.cards import shipped
from avreview.engine.review import Severity
from avreview.errors import UsageError


def written(folder: Path, text: str, name: str = "avreview.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def settings(folder: Path, text: str, name: str = "avreview.yaml", profile: str | None = None) -> Settings:
    return read_settings(written(folder, text, name), profile, shipped())


WHOLE = """
profile: strict
select: [item3, AV501]
ignore: AV409
rules:
  AV501: {severity: warning, thresholds: {min_trained_norms: 10}}
  dead-units: {severity: off}
overrides:
- modules: ["backbone.*", stem]
  ignore: [AV502]
  severity: {AV106: note}
waivers: accepted.yaml
baseline: known.yaml
memory: 512MB
probe: {timeout: 60, memory: 2GB, seed: 7}
reviews:
- {name: lanes, role: lane head, model: models/lanes.onnx, checkpoint: models/lanes.pt, weights: ema, modality: camera}
- {model: models/bev.onnx, inputs: data/bev.npz, reference: team.models:bev}
"""


def test_a_whole_configuration(tmp_path: Path) -> None:
    found = settings(tmp_path, WHOLE)
    assert found.files == (str(tmp_path / "avreview.yaml"),)
    assert (found.profile, found.fail_on) == ("strict", Severity.WARNING)
    assert (found.select, found.ignore) == (("item3", "AV501"), ("AV409",))
    assert found.severities == {"AV501": Severity.WARNING, "AV106": None}
    assert found.thresholds == {"AV501": {"min_trained_norms": 10}}
    (override,) = found.overrides
    assert override.modules == ("backbone.*", "stem")
    assert override.severities == {"AV502": None, "AV106": Severity.NOTE}
    assert found.waivers == (str(tmp_path / "accepted.yaml"),)
    assert found.baseline == str(tmp_path / "known.yaml")
    assert (found.memory, found.probe_timeout, found.probe_memory, found.seed) == ("512MB", 60, "2GB", 7)
    models = tmp_path / "models"
    assert list(found.reviews) == [
        Planned(
            str(models / "lanes.onnx"), "lanes", "lane head", str(models / "lanes.pt"), weights="ema", modality="camera"
        ),
        Planned(
            str(models / "bev.onnx"), inputs=str(tmp_path / "data/bev.npz"), reference="team.models:bev"
        ),
    ]  # fmt: skip


def test_the_same_from_a_pyproject(tmp_path: Path) -> None:
    toml = """
[project]
name = "x"
[tool.avreview]
profile = "audit"
select = ["item3"]
[tool.avreview.rules.AV501]
severity = "note"
[[tool.avreview.reviews]]
model = "lanes.onnx"
"""
    found = settings(tmp_path, toml, "pyproject.toml")
    assert (found.profile, found.fail_on, found.select) == ("audit", Severity.NOTE, ("item3",))
    assert found.severities == {"AV501": Severity.NOTE}
    assert list(found.reviews) == [Planned(str(tmp_path / "lanes.onnx"))]


def test_an_empty_file_and_no_file_say_nothing(tmp_path: Path) -> None:
    assert settings(tmp_path, "# nothing yet\n") == Settings(files=(str(tmp_path / "avreview.yaml"),))
    assert read_settings(None, None, shipped()) == Settings()
    assert read_settings(None, "strict", shipped()).fail_on is Severity.WARNING


def test_the_command_lines_profile_outranks_the_files(tmp_path: Path) -> None:
    assert settings(tmp_path, "profile: audit\n", profile="default").fail_on is Severity.ERROR
    assert settings(tmp_path, "profile: audit\nfail_on: warning\n").fail_on is Severity.WARNING
    with pytest.raises(UsageError, match="no profile is called 'bogus'"):
        read_settings(None, "bogus", shipped())


def test_extends_adds_to_lists_of_reviews_and_overrides(tmp_path: Path) -> None:
    written(tmp_path, "fail_on: warning\nignore: AV409\noverrides: [{modules: stem, ignore: AV106}]\n", "base/b.yaml")
    found = settings(tmp_path, "extends: base/b.yaml\nignore: [AV502]\noverrides: [{modules: head, ignore: AV106}]\n")
    assert (found.fail_on, found.ignore) == (Severity.WARNING, ("AV502",))
    assert [override.modules for override in found.overrides] == [("stem",), ("head",)]
    assert found.files == (str(tmp_path / "avreview.yaml"), str(tmp_path / "base/b.yaml"))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("extends: avreview.yaml\n", "1:1", "'avreview.yaml' builds on this file again"),
        ("extends: ../other.yaml\n", "1:1", "lies outside the folder of the configuration"),
        ("extends: /etc/passwd\n", "1:1", "lies outside the folder of the configuration"),
        ("extends: https://example.com/a.yaml\n", "1:1", "lies outside the folder of the configuration"),
        ("select: [AV301, AV999]\n", "1:17", "no rule is called 'AV999'"),
        ("ignore: dead-unitz\n", "1:1", "did you mean dead-units?"),
        ("rules:\n  AV777: {severity: off}\n", "2:3", "no rule is called 'AV777'"),
        ("rules:\n  AV501:\n    thresholds: {max_batches: 3}\n", "3:18", "AV501 has no threshold 'max_batches'"),
        ("rules:\n  AV106:\n    thresholds: {max_dead: 1}\n", "3:18", "did you mean max_dead_share?"),
        ("overrides:\n- modules: a\n  severity: {AV0x: note}\n", "3:14", "no rule is called 'AV0x'"),
        ("rule_folders: [avreview.yaml]\n", "1:16", "is no folder; name one that holds rule cards"),
        ("fail_on: note\nrule_folders: nothing\n", "2:1", "nothing' is no folder"),
        ("augment: team.data:train\n", "1:1", "asked for on the command line: --augment TARGET"),
        ("reviews:\n- {recipe: a.yaml, augment: a:b}\n", "2:20", "asked for on the command line: --augment TARGET"),
    ],
)
def test_what_names_nothing_is_an_error_at_its_line(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        settings(tmp_path, text)
    assert str(refusal.value).startswith(f"{tmp_path / 'avreview.yaml'}:{place}: ")
    assert words in str(refusal.value)


def test_a_cycle_over_several_files_ends(tmp_path: Path) -> None:
    written(tmp_path, "extends: two.yaml\n", "one.yaml")
    written(tmp_path, "extends: one.yaml\n", "two.yaml")
    with pytest.raises(ConfigError, match=r"two\.yaml:1:1: 'one\.yaml' builds on this file again"):
        read_settings(tmp_path / "one.yaml", None, shipped())


def test_a_long_chain_ends(tmp_path: Path) -> None:
    for number in range(20):
        written(tmp_path, f"extends: c{number + 1}.yaml\n", f"c{number}.yaml")
    with pytest.raises(ConfigError, match="in a row that builds on another"):
        read_settings(tmp_path / "c0.yaml", None, shipped())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.avreview]\nprofil = 'strict'\n", "pyproject.toml:2:1: 'profil' is no key here; did you mean profile?"),
        ("[tool.avreview\n", "pyproject.toml:1:15: is no TOML"),
        ("tool.avreview = 3\n", "pyproject.toml:1:1: has to be a mapping"),
        ("[tool.other]\n", "pyproject.toml: has no [tool.avreview]"),
    ],
)
def test_a_pyproject_that_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        settings(tmp_path, text, "pyproject.toml")
    assert words in str(refusal.value)


def test_the_nearest_file_within_the_repository_is_found(tmp_path: Path) -> None:
    outer = written(tmp_path, "", "avreview.yaml")
    inner = tmp_path / "repository" / "models" / "deep"
    inner.mkdir(parents=True)
    assert nearest(inner) == outer
    (tmp_path / "repository" / ".git").mkdir()
    assert nearest(inner) is None
    pyproject = written(tmp_path / "repository", "[tool.avreview]\n", "pyproject.toml")
    assert nearest(inner) == pyproject
    nearer = written(inner.parent, "", "avreview.yaml")
    assert nearest(inner) == nearer
