"""Probes on the command line: nothing runs unless asked for, and what runs is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import hostile_models
import pytest

SAMPLES = Path(__file__).parents[1] / "sample_models"
CLEAN = str(SAMPLES / "lane_head.onnx")
FAULTY = str(SAMPLES / "lane_head__dropout_active.onnx")


def avreview(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "avreview", *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    "words", [["--probe", FAULTY], [FAULTY, "--probe"], ["--probe=repeat", FAULTY], [FAULTY, "--probe=signal,repeat"]]
)
def test_probe_takes_names_behind_an_equals_sign_or_none(words: Sequence[str]) -> None:
    ended = avreview("check", *words, "--select", "AV702", "--format", "json")
    assert (ended.returncode, ended.stderr) == (1, "")
    (review,) = json.loads(ended.stdout)["reviews"]
    assert review["rules"] == [{"rule": "AV702", "name": "output-not-repeatable", "verdict": "fail"}]
    (run,) = review["evidence"]["probes"]
    assert run["probe"] == "repeat"
    assert run["inputs"]["seed"] == 0
    (array,) = run["inputs"]["arrays"]
    assert (array["name"], array["shape"]) == ("image", [2, 3, 40, 80])


def test_a_model_named_probe_behind_the_dashes_is_a_model() -> None:
    ended = avreview("check", "--", "--probe")
    assert ended.returncode == 2
    assert ended.stderr.startswith("avreview: --probe: ")


def test_without_probe_nothing_is_run_and_the_report_says_how_to_ask() -> None:
    ended = avreview("check", FAULTY, "--select", "AV702")
    assert ended.returncode == 0
    assert "needs the model to be run, which has to be asked for; pass --probe" in " ".join(ended.stdout.split())
    assert "What was run" not in ended.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--probe=repet"], "no probe is called 'repet'; did you mean repeat?"),
        (["--inputs", "batch.npz"], "--inputs is for probes, and nothing is run unless asked for; add --probe"),
        (["--reference", "model.pt2"], "--reference is for probes, and nothing is run unless asked for; add --probe"),
    ],
)
def test_what_cannot_be_meant_ends_with_two_and_one_line(words: Sequence[str], complaint: str) -> None:
    ended = avreview("check", CLEAN, *words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"avreview: {complaint}")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["--probe-timeout", "0"], ["--probe-memory", "much"], ["--seed", "-1"]])
def test_limits_have_limits(words: Sequence[str]) -> None:
    ended = avreview("check", CLEAN, "--probe", *words)
    assert ended.returncode == 2
    assert words[0] in ended.stderr


def test_the_seed_draws_the_inputs_and_the_same_seed_the_same_report() -> None:
    words = ["check", FAULTY, "--probe=repeat", "--select", "AV702", "--format", "json"]
    seeds = [json.loads(avreview(*words, "--seed", seed).stdout)["reviews"][0]["evidence"] for seed in ("7", "7", "8")]
    assert seeds[0] == seeds[1]
    assert seeds[2]["probes"][0]["inputs"]["seed"] == 8


def test_the_terminal_says_what_was_run() -> None:
    ended = avreview("check", FAULTY, "--probe=repeat", "--select", "AV702")
    lines = [line.strip() for line in ended.stdout.splitlines()]
    assert "✓  repeat: image float32 [2, 3, 40, 80] (image)" in lines
    assert "Inputs made up from seed 0." in lines


def test_a_progress_bar_shows_on_a_terminal_alone(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    path = hostile_models.saved(hostile_models.endless(), tmp_path)
    words = [sys.executable, "-m", "avreview", "check", str(path), "--probe=repeat", "--probe-timeout", "3"]
    words += ["--select", "AV702"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert b"repeat: hostile.onnx" in shown
    assert process.returncode == 0
    assert subprocess.run(words, capture_output=True).stderr == b""


def test_a_reference_that_is_not_there_ends_with_two_and_the_rest_of_the_review() -> None:
    ended = avreview("check", CLEAN, "--probe=parity,repeat", "--reference", "nowhere.onnx", "--format", "json")
    assert ended.returncode == 2
    assert ended.stderr == (
        "avreview: nowhere.onnx: no such file; check the path, or name a factory as pkg.module:factory\n"
    )
    verdicts = {entry["rule"]: entry["verdict"] for entry in json.loads(ended.stdout)["reviews"][0]["rules"]}
    assert verdicts["AV402"] == "not-assessed"
    assert verdicts["AV702"] == "pass"
