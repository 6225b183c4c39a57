"""The command line as a person or a CI job meets it: exit codes, streams, and what each option changes."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema
import pytest
import yaml

from avreview import __version__
from avreview.cli import entry
from avreview.cli.main import main
from avreview.cli.reports import Format
from avreview.engine.cards import catalogue
from avreview.engine.checks import CHECKS, load_checks
from avreview.report import FORMATS
from avreview.report.schema import report_schema

SAMPLES = Path(__file__).parents[1] / "sample_models"
CLEAN = SAMPLES / "lane_head.onnx"  # one note, AV409
WARNED = SAMPLES / "lane_head__double_softmax.onnx"  # a warning, AV411, as well
FAULTY = SAMPLES / "lane_head__dropout_active.onnx"  # an error, AV701
Word: TypeAlias = str | Path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def review(self) -> dict[str, Any]:
        """The only review of a JSON report."""
        (review,) = json.loads(self.out)["reviews"]
        assert isinstance(review, dict)
        return review

    @property
    def rules(self) -> list[str]:
        return [outcome["rule"] for outcome in self.review["rules"]]

    @property
    def complaint(self) -> str:
        """The one line on stderr, when nothing else may stand there."""
        assert self.err.startswith("avreview: ")
        assert self.err.count("\n") == 1
        return self.err


Run: TypeAlias = Callable[..., Ended]


@pytest.fixture
def avreview(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process: `avreview("check", path)`."""

    def run(*words: Word) -> Ended:
        monkeypatch.setattr(sys, "argv", ["avreview", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Ended(int(ended.value.code or 0), written.out, written.err)

    return run


def process(*words: Word, code: Sequence[str] = ("-m", "avreview"), **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs `python -m avreview` in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60, **options}
    return subprocess.run([sys.executable, *code, *map(str, words)], check=False, **pipes)


# Exit codes


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([CLEAN], 0),
        ([WARNED], 0),
        ([FAULTY], 1),
        ([CLEAN, "--fail-on", "note"], 1),
        ([CLEAN, "--fail-on", "warning"], 0),
        ([WARNED, "--fail-on", "warning"], 1),
        ([FAULTY, "--fail-on", "error", "--ignore", "AV701"], 0),
        ([CLEAN, WARNED], 0),
        ([CLEAN, FAULTY, CLEAN], 1),
        ([FAULTY, "no_such.onnx"], 2),
        (["no_such.onnx", FAULTY], 2),
        ([SAMPLES], 2),
        ([SAMPLES / "README.md"], 2),
        ([], 2),
        ([CLEAN, "--fail-on", "fatal"], 2),
        ([CLEAN, "--modality", "sonar"], 2),
        ([CLEAN, "--format", "pdf"], 2),
        ([CLEAN, "--no-such-option"], 2),
    ],
)
def test_check_ends_with_the_documented_code(avreview: Run, words: Sequence[Word], code: int) -> None:
    ended = avreview("check", *words)
    assert ended.code == code
    assert "Traceback" not in ended.err
    assert (ended.err != "") is (code == 2)


def test_an_empty_file_ends_with_two_and_one_line(avreview: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.touch()
    ended = avreview("check", path)
    assert (ended.code, ended.out) == (2, "")
    assert str(path) in ended.complaint


def test_a_check_that_crashes_fails_the_review_and_names_itself(avreview: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(*_: object) -> Any:
        raise ZeroDivisionError("out of thin air")

    load_checks(catalogue())
    monkeypatch.setitem(CHECKS, "AV301", CHECKS["AV301"]._replace(function=crashes))
    ended = avreview("check", FAULTY)
    assert (ended.code, ended.out) == (2, "")
    for word in ("AV301", "batch-statistics-at-inference", "out of thin air", "--ignore AV301"):
        assert word in ended.complaint
    assert avreview("check", CLEAN, "--ignore", "AV301").code == 0


@pytest.mark.parametrize("error", [KeyError("lost"), EOFError(), OSError(errno.EPIPE, "broken"), MemoryError()])
def test_a_crash_anywhere_else_never_looks_like_findings(
    avreview: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def crashes(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr("avreview.api.review_planned", crashes)
    assert avreview("check", CLEAN).code not in (0, 1)


def test_a_crash_is_one_line_that_says_where(avreview: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(*_: object, **__: object) -> Any:
        raise KeyError("lost\nand found")

    monkeypatch.setattr("avreview.api.review_planned", crashes)
    ended = avreview("check", CLEAN)
    assert ended.code == 2
    assert "test_cli.py:" in ended.complaint
    assert "KeyError" in ended.complaint


# Streams


def test_stdout_holds_the_report_and_nothing_else(avreview: Run) -> None:
    ended = avreview("check", CLEAN, "no_such.onnx", "--format", "json")
    assert ended.code == 2
    assert ended.review["subject"]["model"]["path"] == str(CLEAN)
    assert "no_such.onnx" in ended.complaint


@pytest.mark.parametrize("words", [["check", CLEAN], ["rules"], ["explain", "AV301"], ["schema"], ["--version"]])
def test_what_goes_well_leaves_stderr_empty(avreview: Run, words: Sequence[Word]) -> None:
    ended = avreview(*words)
    assert ended.code == 0
    assert ended.out
    assert ended.err == ""


def test_a_report_that_cannot_be_written_to_stdout_ends_with_two() -> None:
    with open("/dev/full", "w") as full:
        ended = process("check", CLEAN, stdout=full)
    assert ended.returncode == 2
    assert ended.stderr == "avreview: standard output cannot be written (No space left on device)\n"


def test_a_report_that_nobody_reads_ends_with_two_and_in_silence() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = process("check", CLEAN, stdout=writer)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (2, "")


def test_a_closed_stdout_ends_with_two() -> None:
    command = f'exec "{sys.executable}" -m avreview check "{CLEAN}" >&-'
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert "--output" in ended.stderr


def test_an_ascii_terminal_gets_a_whole_report() -> None:
    ended = process("check", FAULTY, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.isascii()
    assert "head.dropout" in ended.stdout


def test_a_hostile_file_name_stays_on_its_line(avreview: Run) -> None:
    ended = avreview("check", "no\n::error::such\x1b[31m.onnx")
    assert "\x1b" not in ended.complaint
    assert "\n::" not in ended.complaint


# Which rules


@pytest.mark.parametrize(
    ("select", "rules"),
    [
        (["AV301"], ["AV301"]),
        (["av301"], ["AV301"]),
        (["batch-statistics-at-inference"], ["AV301"]),
        (["AV41"], ["AV410", "AV411", "AV412", "AV413"]),
        (["AV701,AV301"], ["AV301", "AV701"]),
        (["AV701", "AV301"], ["AV301", "AV701"]),
        (["item2"], [card.id for card in catalogue() if card.item == 2]),
        (["7"], [card.id for card in catalogue() if card.item == 7]),
        ([], list(catalogue().cards)),
        ([""], list(catalogue().cards)),
    ],
)
def test_select_takes_ids_prefixes_names_and_items(avreview: Run, select: Sequence[str], rules: Sequence[str]) -> None:
    options = [word for value in select for word in ("--select", value)]
    assert avreview("check", CLEAN, "--format", "json", *options).rules == rules


@pytest.mark.parametrize(
    ("ignore", "left_out"),
    [
        (["AV409"], {"AV409"}),
        (["no-parity-evidence"], {"AV409"}),
        (["AV41,AV301"], {"AV301", "AV410", "AV411", "AV412", "AV413"}),
        (["item8", "9"], {card.id for card in catalogue() if card.item in (8, 9)}),
    ],
)
def test_ignore_takes_the_same_words(avreview: Run, ignore: Sequence[str], left_out: set[str]) -> None:
    options = [word for value in ignore for word in ("--ignore", value)]
    left = avreview("check", CLEAN, "--format", "json", *options).rules
    assert set(left) == catalogue().cards.keys() - left_out


def test_ignore_takes_out_of_what_is_selected(avreview: Run) -> None:
    ended = avreview("check", FAULTY, "--select", "AV70", "--ignore", "AV701", "--format", "json")
    assert ended.rules == ["AV702", "AV703", "AV704", "AV705", "AV706"]
    assert ended.code == 0


def test_nothing_left_to_run_is_no_pass(avreview: Run) -> None:
    ended = avreview("check", CLEAN, "--select", "AV301", "--ignore", "item3")
    assert (ended.code, ended.out) == (2, "")
    assert "no rule is left" in ended.complaint


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["check", CLEAN, "--select", "AV3O1"], "AV301"),
        (["check", CLEAN, "--ignore", "dropout-active"], "dropout-active-at-inference"),
        (["explain", "batch-statistics"], "batch-statistics-at-inference"),
    ],
)
def test_an_unknown_rule_suggests_the_nearest(avreview: Run, words: Sequence[Word], suggested: str) -> None:
    ended = avreview(*words)
    assert (ended.code, ended.out) == (2, "")
    assert f"did you mean {suggested}?" in ended.complaint
    assert "`avreview rules`" in ended.complaint


# What a review is told


@pytest.mark.parametrize(("modality", "verdict"), [("lidar", "attention"), ("camera", "not-applicable")])
def test_modality_says_which_sensor_the_inputs_come_from(avreview: Run, modality: str, verdict: str) -> None:
    model = SAMPLES / "lidar_pillar_encoder__intensity_normalized.onnx"
    ended = avreview("check", model, "--select", "AV306", "--modality", modality, "--format", "json")
    assert [outcome["verdict"] for outcome in ended.review["rules"]] == [verdict]


def test_fail_on_makes_a_failure_of_what_was_attention(avreview: Run) -> None:
    def verdicts(severity: str) -> tuple[str, str]:
        review = avreview("check", WARNED, "--select", "AV411", "--fail-on", severity, "--format", "json").review
        return review["verdict"], review["rules"][0]["verdict"]

    assert verdicts("error") == ("attention", "attention")
    assert verdicts("warning") == verdicts("note") == ("fail", "fail")


# Reports


def test_two_files_make_one_report_with_two_reviews(avreview: Run) -> None:
    report = json.loads(avreview("check", CLEAN, FAULTY, "--format", "json").out)
    assert [review["subject"]["model"]["path"] for review in report["reviews"]] == [str(CLEAN), str(FAULTY)]
    assert [review["verdict"] for review in report["reviews"]] == ["attention", "fail"]
    assert report["unreadable"] == []


def test_an_unreadable_file_leaves_the_review_of_the_readable_one(avreview: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x08\x07garbage")
    ended = avreview("check", bad, FAULTY, "--format", "json")
    assert ended.code == 2
    assert ended.review["verdict"] == "fail"
    (unreadable,) = json.loads(ended.out)["unreadable"]
    assert unreadable["path"] == str(bad)
    assert unreadable["reason"] in ended.complaint


def test_yaml_and_json_say_the_same(avreview: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795305600")
    report = json.loads(avreview("check", FAULTY, "--format", "json").out)
    assert yaml.safe_load(avreview("check", FAULTY, "-f", "yaml").out) == report
    tool = {"name": "avreview", "version": __version__, "rules": catalogue().digest}
    assert tool.items() <= report["tool"].items()


def test_the_terminal_report_names_the_file_the_fault_and_the_verdict(avreview: Run) -> None:
    lines = avreview("check", FAULTY).out.splitlines()
    assert any(str(FAULTY) in line for line in lines)
    assert any("AV701 dropout-active-at-inference" in line for line in lines)
    assert any("module head.dropout" in line for line in lines)
    assert any(line.startswith("fail: 1 error, 1 note") for line in lines[-3:])


def test_verbose_unfolds_what_was_not_assessed(avreview: Run) -> None:
    short, whole = avreview("check", CLEAN).out, avreview("check", CLEAN, "--verbose").out
    assert "--verbose lists all" in short
    assert "--verbose lists all" not in whole
    assert avreview("check", CLEAN, "-v").out == whole
    assert all(card.name in whole for card in catalogue() if card.rooms == {"augmentation"})


def test_output_holds_what_stdout_would(avreview: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795305600")
    path = tmp_path / "report.yaml"
    ended = avreview("check", FAULTY, "--format", "yaml", "--output", path)
    assert (ended.code, ended.out, ended.err) == (1, "", "")
    assert path.read_text(encoding="utf-8") == avreview("check", FAULTY, "--format", "yaml").out
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.yaml"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_output_replaces_a_report_whole_or_not_at_all(
    avreview: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(report: object, format: str, stream: io.TextIOBase, **_: object) -> None:
        stream.write("half of a rep")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "report.yaml"
    path.write_text("the last one")
    monkeypatch.setattr("avreview.report.write", breaks_off)
    ended = avreview("check", CLEAN, "-o", path)
    assert (ended.code, ended.out) == (2, "")
    assert f"{path}: cannot be written (No space left on device)" in ended.complaint
    assert path.read_text() == "the last one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("model", [CLEAN, FAULTY])
def test_an_output_that_cannot_be_written_outranks_findings(avreview: Run, tmp_path: Path, model: Path) -> None:
    ended = avreview("check", model, "--output", tmp_path / "nowhere" / "report.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert "cannot be written" in ended.complaint


def test_an_output_that_is_a_folder_is_a_mistake(avreview: Run, tmp_path: Path) -> None:
    ended = avreview("check", CLEAN, "--output", tmp_path)
    assert ended.code == 2
    assert "is a directory" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_several_outputs_are_written_each_by_its_suffix(avreview: Run, tmp_path: Path) -> None:
    begins = {
        "report.txt": "avreview ",
        "report.yaml": "schema: avreview/report/1",
        "report.yml": "schema: avreview/report/1",
        "report.json": '{\n  "schema": "avreview/report/1"',
        "report.sarif": '{\n  "$schema": "https://docs.oasis-open.org/sarif/',
        "report.sarif.json": '{\n  "$schema": "https://docs.oasis-open.org/sarif/',
        "report.XML": "<?xml ",
        "report.gitlab.json": "[\n  {\n",
        "report.md": "## ",
        "report.html": "<!doctype html>",
        "report": "::error file=",
    }
    outputs = [word for name in begins for word in ("-o", tmp_path / name)]
    ended = avreview("check", FAULTY, "-f", "github", *outputs)
    assert (ended.code, ended.out, ended.err) == (1, "", "")
    assert {path.name for path in tmp_path.iterdir()} == begins.keys()
    for name, begin in begins.items():
        assert (tmp_path / name).read_text(encoding="utf-8")[: len(begin)].lower() == begin.lower(), name


def test_format_outranks_the_suffix_of_a_single_output(avreview: Run, tmp_path: Path) -> None:
    path = tmp_path / "gl-code-quality-report.json"
    assert avreview("check", FAULTY, "-f", "gitlab", "-o", path).code == 1
    assert json.loads(path.read_text())[0]["check_name"] == "AV701"


@pytest.mark.parametrize("over", ["recipe.yaml", "train.yaml", "waivers.yaml", "lists/val.yaml"])
def test_no_report_is_written_over_what_is_reviewed(
    avreview: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    files = {
        "recipe.yaml": "schema: avreview/recipe/1\nsplits: [{split: val, file: lists/val.yaml}]\n",
        "train.yaml": "- scene-0001\n", "waivers.yaml": "waivers: []\n", "lists/val.yaml": "- scene-0002\n",
        "avreview.yaml": "waivers: waivers.yaml\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    manifest = [] if over.startswith("lists") else ["--manifest", "train=train.yaml"]
    for option in ("--output", "--attest"):
        ended = avreview("check", "--recipe", "recipe.yaml", *manifest, option, over)
        assert (ended.code, ended.out) == (2, "")
        assert (
            ended.complaint
            == f"avreview: {over}: is read for the review, and would be written over; choose another --output\n"
        )
        assert {name: (tmp_path / name).read_text() for name in files} == files


def test_a_dash_is_standard_output_in_the_format_named(avreview: Run, tmp_path: Path) -> None:
    path = tmp_path / "report.sarif"
    ended = avreview("check", FAULTY, "-f", "json", "-o", "-", "-o", path)
    assert (ended.code, ended.err) == (1, "")
    assert ended.review["verdict"] == "fail"
    assert json.loads(path.read_text())["version"] == "2.1.0"
    assert avreview("check", FAULTY, "-o", "-").out == avreview("check", FAULTY).out


@pytest.mark.parametrize("format", [format.value for format in Format])
def test_every_format_goes_to_standard_output_and_to_a_file(avreview: Run, tmp_path: Path, format: str) -> None:
    path = tmp_path / "report"
    printed = avreview("check", FAULTY, "--format", format)
    assert (printed.code, printed.err) == (1, "")
    assert avreview("check", FAULTY, "--format", format, "--output", path).code == 1
    assert path.read_text(encoding="utf-8") == printed.out != ""


def test_the_formats_on_the_command_line_are_those_that_are_written() -> None:
    assert [format.value for format in Format] == list(FORMATS)


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        (["report.pdf"], "report.pdf: no format has this suffix"),
        (["report.yaml", "report.pdf"], "report.pdf: no format has this suffix"),
        (["report.yaml", "report.yaml"], "the same --output is named twice"),
        (["-", "-"], "the same --output is named twice"),
    ],
)
def test_outputs_that_cannot_be_meant_end_with_two_before_anything_is_read(
    avreview: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: Sequence[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = avreview("check", "no_such.onnx", *(word for output in outputs for word in ("-o", output)))
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.complaint
    assert list(tmp_path.iterdir()) == []


def test_of_several_outputs_all_are_written_or_none(
    avreview: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, other = tmp_path / "report.yaml", tmp_path / "report.json"
    kept.write_text("the last one")
    nowhere = tmp_path / "nowhere" / "report.md"
    ended = avreview("check", CLEAN, "-o", kept, "-o", nowhere, "-o", "-")
    assert (ended.code, ended.out) == (2, "")
    assert f"{nowhere}: cannot be written (No such file or directory)" in ended.complaint

    def breaks_off(report: object, format: str, stream: io.TextIOBase, **_: object) -> None:
        stream.write("half of a rep")
        if format == "yaml":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("avreview.report.write", breaks_off)
    for outputs in ([kept, other], [other, kept]):
        ended = avreview("check", CLEAN, *(word for path in outputs for word in ("-o", path)))
        assert (ended.code, ended.out) == (2, "")
        assert f"{kept}: cannot be written (No space left on device)" in ended.complaint
    assert kept.read_text() == "the last one"
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("format", [format.value for format in Format])
def test_where_nothing_could_be_read_a_pipeline_still_gets_its_file(avreview: Run, tmp_path: Path, format: str) -> None:
    path = tmp_path / "report"
    ended = avreview("check", "no_such.onnx", "--format", format, "--output", path)
    assert (ended.code, ended.out) == (2, "")
    assert "no_such.onnx: no such file" in ended.complaint
    if format == "terminal":  # a person has read the reason on stderr
        assert not path.exists()
    else:
        assert "no_such.onnx" in path.read_text(encoding="utf-8")


def test_output_follows_a_link(avreview: Run, tmp_path: Path) -> None:
    link, target = tmp_path / "latest.yaml", tmp_path / "report.yaml"
    link.symlink_to(target.name)
    assert avreview("check", CLEAN, "-f", "yaml", "-o", link).code == 0
    assert link.is_symlink()
    assert target.read_text().startswith("schema: avreview/report/1")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_output_to_a_pipe_or_a_device_leaves_it_what_it_is(avreview: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    ended = avreview("check", CLEAN, "-f", "json", "-o", pipe)
    reader.join(timeout=10)
    assert ended.code == 0
    assert pipe.is_fifo()
    assert json.loads(got[0])["reviews"]


# The other commands


def test_rules_lists_every_rule(avreview: Run) -> None:
    listed = avreview("rules").out
    assert all(f"{card.id}" in listed and card.name in listed for card in catalogue())


def test_rules_as_data(avreview: Run) -> None:
    listed = json.loads(avreview("rules", "--format", "json").out)
    assert [rule["id"] for rule in listed["rules"]] == list(catalogue().cards)
    assert yaml.safe_load(avreview("rules", "-f", "yaml").out) == listed


def test_explain_prints_the_rules_it_is_asked_for_in_order(avreview: Run) -> None:
    lines = avreview("explain", "AV701", "batch-statistics-at-inference", "AV301").out.splitlines()
    titles = [line for line in lines if line.startswith("AV")]
    assert titles == ["AV301 batch-statistics-at-inference", "AV701 dropout-active-at-inference"]
    assert lines[lines.index(titles[1]) - 1] == ""


@pytest.mark.parametrize("words", [["schema"], ["schema", "report"]])
def test_schema_is_the_package_s_own(avreview: Run, words: Sequence[str]) -> None:
    assert json.loads(avreview(*words).out) == report_schema()


def test_schema_describes_a_real_report(avreview: Run) -> None:
    schema = json.loads(avreview("schema", "report").out)
    report = json.loads(avreview("check", CLEAN, FAULTY, "no_such.onnx", "--format", "json").out)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(report)
    del report["reviews"][0]["verdict"]
    assert not validator.is_valid(report)


def test_version(avreview: Run) -> None:
    assert avreview("--version").out == f"avreview {__version__}\n"


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["check", "-h"], ["check", "--help"]])
def test_help_names_what_there_is(avreview: Run, words: Sequence[str]) -> None:
    ended = avreview(*words)
    assert (ended.code, ended.err) == (0, "")
    names = ["--select", "--ignore", "--fail-on", "--modality", "--format", "--output", "--verbose", "Exit codes"]
    for name in names if "check" in words else ["check", "rules", "explain", "schema", "--version"]:
        assert name in ended.out


def test_the_kept_help_page_is_the_one_that_typer_writes(avreview: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    written = avreview("--help").out
    assert Path(entry.HELP).read_text("utf-8") == written
    for words in (["--help"], ["-h"]):
        ended = process(*words, code=["-c", "from avreview.cli.entry import main; main()"])
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, written, "")


def test_the_entry_leaves_all_else_to_typer() -> None:
    ended = process("--version", code=["-c", "from avreview.cli.entry import main; main()"])
    assert (ended.returncode, ended.stdout) == (0, f"avreview {__version__}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe's end is closed otherwise")
def test_the_kept_help_page_into_a_closed_pipe_is_no_traceback() -> None:
    code = "from avreview.cli.entry import main; main()"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -c '{code}' --help | true"], capture_output=True, text=True
    )
    assert ended.stderr == ""


def test_no_command_at_all_shows_the_help(avreview: Run) -> None:
    ended = avreview()
    assert ended.code == 2
    assert "Commands:" in ended.err


def test_python_m_avreview_is_the_same_program() -> None:
    ended = process("check", FAULTY, "--format", "json")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert json.loads(ended.stdout)["reviews"][0]["verdict"] == "fail"


# What start-up costs

HEAVY = {"torch", "onnxruntime", "onnxscript", "onnx", "onnx_ir"}
_IMPORTED = """
import sys
from avreview.cli.main import main
try:
    main()
finally:
    print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], {*HEAVY, "numpy", "ml_dtypes", "rich", "yaml"}),
        (["check", "--help"], {*HEAVY, "numpy", "ml_dtypes", "rich", "yaml"}),
        (["--version"], {*HEAVY, "numpy", "ml_dtypes", "rich", "yaml"}),
        (["rules"], {*HEAVY, "numpy", "ml_dtypes"}),
        (["explain", "AV301"], {*HEAVY, "numpy", "ml_dtypes"}),
        (["schema"], {*HEAVY, "numpy", "ml_dtypes", "yaml"}),
        (["check", CLEAN, FAULTY], HEAVY),
        (["check", CLEAN, "--format", "json"], {*HEAVY, "rich"}),
    ],
    ids=lambda value: " ".join(Path(word).name for word in value) if isinstance(value, list) else "",
)
def test_no_command_imports_what_it_does_not_use(words: Sequence[Word], unwanted: set[str]) -> None:
    ended = process(*words, code=["-c", _IMPORTED])
    imported = set(ended.stderr.split())
    assert "avreview" in imported
    assert not imported & unwanted


@pytest.mark.parametrize(
    ("command", "words"),
    [("check", "model folders to review"), ("augment", "imported and called"), ("verify", "in its YAML or JSON form")],
)
def test_the_help_of_a_command_says_what_its_arguments_are(avreview: Run, command: str, words: str) -> None:
    assert words in " ".join(avreview(command, "--help").out.split())
