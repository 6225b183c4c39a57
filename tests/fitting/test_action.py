"""action.yml: read as GitHub does, its steps run by bash in a scratch folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_models"
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPTS = {step["name"]: step for step in STEPS if "run" in step}


def test_the_action_has_what_github_asks_for() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert {"name", "description", "inputs", "outputs", "runs"} <= ACTION.keys()
    for value in (*ACTION["inputs"].values(), *ACTION["outputs"].values()):
        assert value["description"]
    assert all(isinstance(entry["default"], str) for entry in ACTION["inputs"].values())
    assert all(step["shell"] == "bash" for step in SCRIPTS.values())


def test_every_input_and_step_that_is_named_exists() -> None:
    text = (ROOT / "action.yml").read_text("utf-8")
    assert set(re.findall(r"\binputs\.([\w-]+)", text)) == ACTION["inputs"].keys()
    ids = {step["id"] for step in STEPS if "id" in step}
    assert set(re.findall(r"steps\.(\w+)\.", text)) == ids
    written = set(re.findall(r"printf '([\w-]+)=", SCRIPTS["Review"]["run"]))
    assert set(re.findall(r"steps\.review\.outputs\.([\w-]+)", text)) <= written


def test_no_expression_stands_in_a_script() -> None:
    """What somebody writes into an input comes by the environment; in a script it would be code."""
    for step in SCRIPTS.values():
        assert "${{" not in step["run"]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_clean_shell(name: str, tmp_path: Path) -> None:
    script = tmp_path / "step.sh"
    script.write_text("#!/usr/bin/env bash\n" + SCRIPTS[name]["run"], encoding="utf-8")
    checked = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@dataclass
class Ended:
    """How a step ended, and what it left for the next ones."""

    code: int
    out: str
    err: str
    outputs: dict[str, str]
    summary: str

    @property
    def reports(self) -> list[str]:
        return sorted(path.name for path in Path(self.outputs["reports"]).iterdir())


@dataclass
class Runner:
    """A runner's folders, with a checkout that holds models."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("temp", "checkout/models"):
            (self.folder / name).mkdir(parents=True)
        self.bin.mkdir(parents=True)

    @property
    def bin(self) -> Path:
        return self.folder / "temp" / "avreview" / "bin"

    def step(self, name: str, environment: dict[str, str]) -> Ended:
        """Runs a step's script as a runner does. `environment` takes the place of the expressions."""
        (self.folder / "output").write_text("")
        (self.folder / "summary").write_text("")
        given = {
            "PATH": os.environ["PATH"],
            "RUNNER_TEMP": str(self.folder / "temp"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            **environment,
        }
        script = self.folder / "step.sh"
        script.write_text(SCRIPTS[name]["run"], encoding="utf-8")
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder / "checkout", env=given, capture_output=True, text=True,
        )  # fmt: skip
        outputs = dict(line.split("=", 1) for line in (self.folder / "output").read_text().splitlines())
        return Ended(ended.returncode, ended.stdout, ended.stderr, outputs, (self.folder / "summary").read_text())

    def review(self, models: str = "", args: str = "", formats: str = "yaml sarif") -> Ended:
        script = self.bin / "avreview"
        if not script.exists():
            script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m avreview "$@"\n')
            script.chmod(0o755)
        values = {"models": models, "args": args, "formats": formats}
        expressions = {key: str(value) for key, value in SCRIPTS["Review"]["env"].items()}
        assert expressions == {f"AVREVIEW_{name.upper()}": f"${{{{ inputs.{name} }}}}" for name in values}
        return self.step("Review", {f"AVREVIEW_{name.upper()}": value for name, value in values.items()})

    def put(self, sample: str, name: str) -> None:
        shutil.copy(SAMPLES / sample, self.folder / "checkout" / "models" / name)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_findings_are_annotated_summed_up_and_reported(runner: Runner) -> None:
    runner.put("lane_head__dropout_active.onnx", "broken.onnx")
    runner.put("lane_head.onnx", "lane head.onnx")
    ended = runner.review("models/*.onnx\n", "--select\nitem7\n", "yaml, sarif junit gitlab html json")
    assert (ended.code, ended.err) == (0, "")  # the last step fails, after the upload
    assert ended.outputs["exit-code"] == "1"
    assert ended.out.startswith("::error file=models/broken.onnx,title=AV701 dropout-active-at-inference::")
    assert "avreview: models/lane head.onnx: pass" in ended.out
    assert "AV701" in ended.summary
    kinds = ["gitlab.json", "html", "json", "md", "sarif", "xml", "yaml"]
    assert ended.reports == sorted(f"report.{kind}" for kind in kinds)
    sarif = json.loads(Path(ended.outputs["sarif"]).read_text("utf-8"))
    assert sarif["version"] == "2.1.0"


@pytest.mark.parametrize(
    ("code", "models", "args"),
    [
        (0, "models/good.onnx", ""),
        (1, "models/good.onnx", "--fail-on=note"),
        (2, "models/nothing*.onnx", ""),  # a pattern that matches nothing is no pass
        (2, "", ""),  # neither models nor a configuration
        (2, "models/good.onnx", "--no-such-option"),
        (0, "models/good.onnx\r\n\r\n", "--fail-on\r\nerror\r\n"),
    ],
)
def test_the_action_ends_as_avreview_does(runner: Runner, code: int, models: str, args: str) -> None:
    runner.put("lane_head.onnx", "good.onnx")
    ended = runner.review(models, args)
    assert ended.code == 0
    assert ended.outputs["exit-code"] == str(code)
    assert runner.step("Verdict", {"AVREVIEW_CODE": ended.outputs["exit-code"]}).code == code


def test_without_models_the_configuration_s_are_reviewed(runner: Runner) -> None:
    runner.put("lane_head.onnx", "good.onnx")
    (runner.folder / "checkout" / "avreview.yaml").write_text("reviews: [{name: lanes, model: models/good.onnx}]\n")
    ended = runner.review(formats="")
    assert (ended.code, ended.outputs["exit-code"]) == (0, "0")
    assert ended.reports == ["report.md"]
    assert "sarif" not in ended.outputs


def test_an_unknown_format_ends_with_two_and_is_no_command(runner: Runner) -> None:
    ended = runner.review(formats="sarif::error::x")
    assert ended.code == 2
    assert ended.out.count("\n") == 1
    assert ended.out.count("::error::") == 1


@pytest.mark.parametrize("text", ["$(touch pwned)", "`touch pwned`", "; touch pwned", '" && touch pwned "', "-- x"])
def test_what_stands_in_an_input_is_never_run(runner: Runner, text: str) -> None:
    ended = runner.review(text, text)
    assert ended.outputs["exit-code"] == "2"
    assert not (runner.folder / "checkout" / "pwned").exists()


def test_a_model_whose_name_looks_like_an_option_is_a_model(runner: Runner) -> None:
    shutil.copy(SAMPLES / "lane_head.onnx", runner.folder / "checkout" / "--exit-zero.onnx")
    ended = runner.review("*.onnx")
    assert ended.outputs["exit-code"] == "0"
    assert "avreview: --exit-zero.onnx: " in ended.out


def test_the_package_is_installed_from_the_action_s_own_folder(runner: Runner, tmp_path: Path) -> None:
    """With a python that notes what it was asked for: pip and a package index are not this test's matter."""
    shutil.rmtree(runner.bin.parent)
    stub = tmp_path / "stub"
    stub.mkdir()
    note = tmp_path / "noted"
    fake = (
        f'#!/bin/sh\necho "$@" >>"{note}"\nif [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi\n'
    )
    (stub / "python3").write_text(fake)
    (stub / "python3").chmod(0o755)
    environment = {"PATH": f"{stub}{os.pathsep}{os.environ['PATH']}", "AVREVIEW_SOURCE": "/actions/avreview"}
    assert SCRIPTS["Install avreview"]["env"] == {"AVREVIEW_SOURCE": "${{ github.action_path }}"}
    assert runner.step("Install avreview", environment).code == 0
    asked: Sequence[str] = note.read_text().splitlines()
    assert asked[0] == f"-m venv {runner.bin.parent}"
    assert asked[1].startswith("-m pip install ")
    assert asked[1].endswith(" /actions/avreview")
