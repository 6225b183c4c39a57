"""`avreview completion`: scripts that complete what there is, and cost a review nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from avreview.cli.shells import SCRIPTS, Command, Option
from avreview.engine.cards import catalogue
from avreview.probes.request import PROBES
from avreview.report import FORMATS

ROOT = Path(__file__).parents[1]


def script(shell: str) -> str:
    """What `avreview completion` prints."""
    ended = subprocess.run([sys.executable, "-m", "avreview", "completion", shell], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "avreview.bash"
    path.write_text(script("bash"), encoding="utf-8")
    return path


def completed(bash: Path, *words: str, folder: Path = ROOT) -> list[str]:
    """What bash offers for the last of the words; it parts them at equals signs, as it does on a command line."""
    program = (
        f"source '{bash}'; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _avreview 2>/dev/null; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ended = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", "avreview", *words], cwd=folder, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return [line for line in ended.stdout.splitlines() if line]


def test_commands_are_completed(bash: Path) -> None:
    assert {"baseline", "check", "completion", "explain", "rules", "schema"} <= set(completed(bash, ""))
    assert completed(bash, "expl") == ["explain"]
    assert completed(bash, "--v") == ["--version"]


def test_options_are_completed_where_a_dash_stands(bash: Path) -> None:
    assert completed(bash, "check", "--fo") == ["--format"]
    assert "--statistics" in completed(bash, "check", "--")
    assert "--statistics" not in completed(bash, "rules", "--")
    assert {"-f", "-o", "-q", "-h"} <= set(completed(bash, "check", "-"))


@pytest.mark.parametrize("words", [["--format", ""], ["-f", ""], ["--format", "="], ["--format", "=", ""]])
def test_values_are_completed_however_they_are_parted(bash: Path, words: list[str]) -> None:
    assert completed(bash, "check", *words) == list(FORMATS)


def test_rules_are_completed_by_id_name_and_question(bash: Path) -> None:
    assert completed(bash, "explain", "AV30") == [rule for rule in catalogue().cards if rule.startswith("AV30")]
    assert completed(bash, "explain", "dropout-a") == ["dropout-active-at-inference"]
    assert completed(bash, "check", "--ignore", "item1") == ["item1"]
    assert completed(bash, "check", "--select", "AV301,AV70") == [
        f"AV301,{rule}" for rule in catalogue().cards if rule.startswith("AV70")
    ]


def test_probes_are_completed_behind_the_equals_sign_only(bash: Path) -> None:
    assert completed(bash, "check", "--probe", "=", "") == ["all", *PROBES]
    assert completed(bash, "check", "--probe", "=", "repeat,si") == ["repeat,signal"]
    assert "all" not in completed(bash, "check", "--probe", "")


def test_models_and_companions_are_files(bash: Path, tmp_path: Path) -> None:
    for name in ("two words.onnx", "a.pt"):
        (tmp_path / name).touch()
    assert sorted(completed(bash, "check", "", folder=tmp_path)) == ["a.pt", "two words.onnx"]
    assert completed(bash, "check", "two words.onnx", "--checkpoint", "a", folder=tmp_path) == ["a.pt"]
    assert completed(bash, "check", "a.pt", "-o", "tw", folder=tmp_path) == ["two words.onnx"]
    assert completed(bash, "check", "--seed", "", folder=tmp_path) == []


def test_every_option_of_check_is_in_every_script(bash: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", "avreview", "check", "--help"], capture_output=True, text=True)
    options = {word.strip(",") for word in ended.stdout.split() if word.startswith("--") and word.strip("-,").isalpha()}
    assert {"--quiet", "--statistics", "--select"} <= options
    scripts = {"bash": bash.read_text("utf-8"), "zsh": script("zsh"), "fish": script("fish")}
    for shell, text in scripts.items():
        for option in options:
            assert (f"-l {option[2:]} " if shell == "fish" else option) in text, f"{shell}: {option}"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_the_script_for_bash_is_clean_shell(bash: Path) -> None:
    checked = subprocess.run(["shellcheck", "--shell=bash", str(bash)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("shell", "options"), [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_the_script_can_be_parsed_by_its_shell(shell: str, options: list[str], tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (tmp_path / "script").write_text(script(shell), encoding="utf-8")
    ended = subprocess.run([shell, *options, "script"], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_help_texts_are_quoted_for_each_shell() -> None:
    option = Option(("--of", "-o"), "it's [a] thing: $(x) \\", takes_value=True, values=("a", "b"))
    command = Command("do", "what's: done", [option], [], takes_files=True)
    assert r"""'[it'\''s \[a\] thing\: $(x) \\]: :(a b)'""" in SCRIPTS["zsh"]([command])
    assert r"'do:what'\''s\: done'" in SCRIPTS["zsh"]([command])
    assert r"-l of -s o -x -a 'a b' -d 'it\'s [a] thing: $(x) \\'" in SCRIPTS["fish"]([command])
    assert "what" not in SCRIPTS["bash"]([command])


def test_an_unknown_shell_ends_with_two() -> None:
    ended = subprocess.run([sys.executable, "-m", "avreview", "completion", "csh"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "bash" in ended.stderr


def test_a_review_does_not_import_what_completion_needs() -> None:
    code = (
        "import sys\nfrom avreview.cli.main import main\ntry: main()\nfinally: "
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "check", "--help"], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    loaded = set(ended.stderr.split())
    assert "avreview.cli.completion" in loaded
    assert not {"avreview.cli.shells", "avreview.probes.request"} & loaded
