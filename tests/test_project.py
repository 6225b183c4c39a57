"""The project's own papers: what they tell people to do works, and what they say is so."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

from avreview import __version__
from avreview.config.document import read_document
from avreview.config.schemas import schema
from avreview.config.validation import validate
from avreview.engine.cards import catalogue

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
CI = (ROOT / ".ci" / "run").read_text("utf-8")
EXAMPLE = (ROOT / "docs" / "writing-a-rule.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def files(text: str) -> list[tuple[str, str, str]]:
    """The path, place (`a new file`, `at the end`) and code of every block that belongs into a file."""
    pattern = r"^`([^`\n]+)`, (a new file|at the end):\n\n```\w+\n(.*?)^```"
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)


# The worked example of docs/writing-a-rule.md


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the worked example was followed to the letter."""
    copy = tmp_path_factory.mktemp("example")
    for folder in ("avreview", "docs", "rules", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "snapshots"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    (copy / "sample_models").symlink_to(ROOT / "sample_models")
    for path, place, code in files(EXAMPLE):
        target = copy / path
        assert target.exists() is (place == "at the end"), path
        before = target.read_text("utf-8").rstrip("\n") + "\n\n\n" if target.exists() else ""
        target.write_text(before + code, "utf-8")
    return copy


def ran(command: list[str], folder: Path) -> str:
    """What a command printed in that folder; it must succeed. `python` is the one that runs this test."""
    words = [sys.executable if word == "python" else word for word in command]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_worked_example_has_a_card_a_function_and_twins() -> None:
    assert [(Path(path).parts[0], place) for path, place, _ in files(EXAMPLE)] == [
        ("rules", "a new file"),
        ("avreview", "at the end"),
        ("tests", "at the end"),
    ]


def test_the_worked_example_works_when_followed(followed: Path) -> None:
    (block,) = blocks(EXAMPLE, "sh")
    generate, *commands = [shlex.split(line) for line in block.splitlines() if line.startswith("python ")]
    assert "docs/rules/AV510-norm-stats-in-half-precision.md: written" in ran(generate, followed)
    assert "AV510" in (followed / "docs" / "rules" / "README.md").read_text("utf-8")
    printed = {command[3]: ran(command, followed) for command in commands}
    assert printed["explain"].startswith("AV510 norm-stats-in-half-precision")
    assert "pass: no findings" in printed["check"]
    assert re.search(r"^[4-9] passed", printed["tests/rules"], re.MULTILINE)


def test_the_worked_example_is_as_tidy_as_the_house(followed: Path) -> None:
    written = [path for path, _, _ in files(EXAMPLE) if path.endswith(".py")]
    ran(["python", "-m", "ruff", "check", *written], followed)
    ran(["python", "-m", "ruff", "format", "--check", *written], followed)


# One set of commands everywhere


def test_the_first_two_commands_of_the_readme_review_a_sample_and_run_the_tests() -> None:
    review, tests = (block.strip() for block in blocks(README, "sh")[:2])
    assert "pip install . " in review
    assert "torch" not in review
    sample = review.split()[-1]
    assert (ROOT / sample).is_file()
    assert tests.endswith("/pytest -n 2")
    assert "-c constraints.txt" in tests


def test_ci_and_contributing_give_the_readme_s_test_command() -> None:
    command = blocks(README, "sh")[1].strip()
    assert f"\n  {command}\n" in CI
    assert blocks(CONTRIBUTING, "sh")[0].strip() == command


def test_pre_commit_runs_what_ci_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    entries = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    assert entries == ["ruff check", "ruff format --check", "mypy"]
    assert all(f"\n  {entry}\n" in CI for entry in entries)


def test_the_configuration_in_the_readme_is_one(tmp_path: Path) -> None:
    (config,) = blocks(README, "yaml")
    (tmp_path / "avreview.yaml").write_text(config, encoding="utf-8")
    validate(read_document(tmp_path / "avreview.yaml"), schema("config"))


# What the papers say is so


@pytest.fixture(scope="module")
def offered() -> set[str]:
    """The options of `avreview check`."""
    help_text = ran(["python", "-m", "avreview", "check", "--help"], ROOT)
    return set(re.findall(r"--[a-z-]+", help_text)) - {"--help"}


def test_the_readme_describes_every_option_of_check(offered: set[str]) -> None:
    table = README[README.index("| option |") : README.index("| exit code |")]
    assert set(re.findall(r"^\| `(--[a-z-]+)", table, re.MULTILINE)) == offered


def test_the_readme_tells_which_questions_an_export_cannot_answer() -> None:
    rows = re.findall(r"^\| (\d) \| ([^|]+?) \| ([^|]+?) \| [^|]+ \|$", README, re.MULTILINE)
    told = {int(item): (question, decided != "nothing") for item, question, decided in rows}
    rules = catalogue()
    assert told == {
        item: (question.question, any(card.item == item and not card.planned for card in rules))
        for item, question in rules.questions.items()
        if item
    }


PAPERS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "sample_models/README.md"]
PAPERS += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("name", PAPERS)
def test_every_file_that_a_paper_links_to_exists(name: str) -> None:
    paper = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)\)", paper.read_text("utf-8")):
        assert target.startswith("https://") or (paper.parent / target).exists(), target


def test_every_rule_that_the_readme_names_exists() -> None:
    assert set(re.findall(r"\bAV\d{3}\b", README)) <= catalogue().cards.keys()


def test_the_picture_is_a_report_of_the_first_command() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "report.svg")
    text = " ".join("".join(picture.getroot().itertext()).split())
    sample = blocks(README, "sh")[0].split()[-1]
    assert f"avreview check {sample}" in text
    assert all(question.question in text for question in catalogue().questions.values() if question.item)
    assert "AV306" in text


def test_the_changelog_tells_of_this_version() -> None:
    titles = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert __version__ in titles
    assert titles[0] in ("Unreleased", __version__)


# The package


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="Python has it from 3.11 on")
    loaded: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return loaded


def test_torch_is_an_extra_and_its_version_a_constraint(metadata: dict[str, Any]) -> None:
    project = metadata["project"]
    assert not [name for name in project["dependencies"] if re.match("torch|onnxscript", name)]
    assert [name for name in project["optional-dependencies"]["torch"] if name.startswith("torch")]
    assert "==" not in "".join(project["dependencies"] + project["optional-dependencies"]["torch"])
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text("utf-8").splitlines()


def test_the_package_is_typed_and_licensed(metadata: dict[str, Any]) -> None:
    assert (ROOT / "avreview" / "py.typed").is_file()
    assert metadata["project"]["license"] == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text("utf-8").lstrip().startswith("Apache License")


def test_the_wheel_carries_the_rule_cards(metadata: dict[str, Any]) -> None:
    wheel = metadata["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"rules": "avreview/rules"}
