"""The files for forges and pre-commit in docs/ci and at the top: read as their programs do, and their lines run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_action import ACTION

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_models"


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a line of a job. `pip` is left to the package index; `avreview` is the one that runs this test."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command],
        cwd=folder, env={**kept, "PATH": path, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(params=[("lane_head.onnx", 0), ("lane_head__dropout_active.onnx", 1)], ids=["clean", "faulty"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    """A checkout with a model, and the code that its review ends with."""
    sample, code = request.param
    (tmp_path / "models").mkdir()
    (tmp_path / ".git").mkdir()
    shutil.copy(SAMPLES / sample, tmp_path / "models" / "lanes.onnx")
    return tmp_path, code


def test_the_gitlab_job_runs_and_leaves_what_it_names(checkout: tuple[Path, int]) -> None:
    folder, code = checkout
    job = read("docs/ci/gitlab.yml")["avreview"]
    install, review = job["script"]
    assert install.startswith("pip install ")
    ended = run(review, folder)
    assert (ended.returncode, ended.stderr) == (code, "")
    reports = job["artifacts"]["reports"]
    for name in (*job["artifacts"]["paths"], *reports.values()):
        assert (folder / name).stat().st_size > 0 or name == reports["codequality"], name
    assert job["artifacts"]["when"] == "always"


def test_the_workflow_without_the_action_runs_and_leaves_what_it_names(checkout: tuple[Path, int]) -> None:
    folder, code = checkout
    steps = read("docs/ci/github-without-action.yml")["jobs"]["avreview"]["steps"]
    install, review, summary = [step["run"] for step in steps if "run" in step]
    assert install.startswith("pip install ")
    ended = run(review, folder)
    assert ended.returncode == code
    assert ended.stdout.startswith("::" if code else "::notice file=models/lanes.onnx")
    assert run(f"GITHUB_STEP_SUMMARY=summary.md; {summary}", folder).returncode == 0
    assert (folder / "summary.md").read_text("utf-8").startswith("#")
    uploads = [step for step in steps if "upload" in step.get("uses", "")]
    assert [step["if"] for step in uploads] == ["always()", "always()"]
    for name in (uploads[0]["with"]["sarif_file"], uploads[1]["with"]["path"]):
        assert (folder / name).is_file()


def test_the_workflow_with_the_action_gives_it_inputs_that_it_has() -> None:
    workflow = read("docs/ci/github.yml")
    steps = workflow["jobs"]["avreview"]["steps"]
    (action,) = [step for step in steps if "/avreview@" in step.get("uses", "")]
    assert action["with"].keys() <= ACTION["inputs"].keys()
    assert all(isinstance(value, str) for value in action["with"].values())
    named = re.findall(rf"steps\.{action['id']}\.outputs\.([\w-]+)", (ROOT / "docs/ci/github.yml").read_text("utf-8"))
    assert named
    assert set(named) <= ACTION["outputs"].keys()
    assert workflow["permissions"] == {"contents": "read", "security-events": "write"}
    assert True in workflow or "on" in workflow  # YAML 1.1 reads the key `on` as true


def test_no_report_of_a_snippet_is_named_as_a_configuration() -> None:
    for path in (ROOT / "docs" / "ci").iterdir():
        outputs = re.findall(r"--output (\S+)", path.read_text("utf-8"))
        assert not {"avreview.yaml", "pyproject.toml"} & set(outputs), path.name


# pre-commit

(HOOK,) = read(".pre-commit-hooks.yaml")


@pytest.mark.parametrize(
    ("name", "reviewed"),
    [
        ("models/lanes.onnx", True),
        ("runs/EPOCH_24.PTH", True),
        ("a.pt", True),
        ("a.ckpt", True),
        ("a.pt2", True),
        ("model-00001-of-00002.safetensors", True),
        ("a.onnx.md", False),
        ("onnx", False),
        ("a.ptx", False),
        ("weights.bin", False),
        ("train.py", False),
    ],
)
def test_the_hook_reviews_models_and_nothing_else(name: str, reviewed: bool) -> None:
    assert bool(re.search(HOOK["files"], name)) is reviewed


def test_the_hook_s_command_fails_on_a_broken_model(checkout: tuple[Path, int]) -> None:
    folder, code = checkout
    assert (HOOK["id"], HOOK["language"], HOOK["require_serial"]) == ("avreview", "python", True)
    ended = run(f"{HOOK['entry']} models/lanes.onnx", folder)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert ("AV701" in ended.stdout) is bool(code)


def test_the_example_for_pre_commit_names_the_hook_and_options_that_exist(tmp_path: Path) -> None:
    (repository,) = read("docs/ci/pre-commit-config.yaml")["repos"]
    (hook,) = repository["hooks"]
    assert hook["id"] == HOOK["id"]
    command = " ".join([HOOK["entry"], *hook["args"], str(SAMPLES / "lane_head__double_softmax.onnx")])
    assert run(command, tmp_path).returncode == 1  # a warning, and --fail-on warning
