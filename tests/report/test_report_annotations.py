"""Annotations: GitHub's workflow commands, read back by the rules of its runner, and GitLab's Code Quality."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import report_sample as sample
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.engine.review import Location, Report, Waiver
from avreview.report import write
from avreview.report.escape import plain


@pytest.fixture(autouse=True, scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A repository as the working directory, so that paths come out the same everywhere."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".git").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


class Command(NamedTuple):
    name: str
    properties: dict[str, str]
    text: str


def written(report: Report, format: str) -> str:
    stream = io.StringIO()
    write(report, format, stream)
    return stream.getvalue()


def commands(report: Report) -> list[Command]:
    """What GitHub's runner makes of the lines."""
    found = [_parsed(line) for line in written(report, "github").split("\n")]
    return [command for command in found if command is not None]


def _parsed(line: str) -> Command | None:
    """A line as the runner's parser reads it: `::name key=value,…::text`, with three or five escapes undone."""
    line = line.lstrip()
    if not line.startswith("::"):
        assert "##[" not in line
        return None
    info, _, text = line[2:].partition("::")
    name, _, properties = info.partition(" ")
    pairs = [pair.split("=", 1) for pair in properties.split(",")]
    return Command(name, {key: _undone(value, {"%3A": ":", "%2C": ","}) for key, value in pairs}, _undone(text, {}))


def _undone(text: str, more: dict[str, str]) -> str:
    for escape, character in {"%0D": "\r", "%0A": "\n", **more, "%25": "%"}.items():
        text = text.replace(escape, character)
    return text


# GitHub


def test_each_open_finding_is_one_command_worst_first() -> None:
    found = commands(sample.two_reviews())
    assert [(command.name, command.properties["title"].split()[0]) for command in found] == [
        ("error", "avreview"),
        ("error", "AV301"),
        ("error", "AV502"),
        ("warning", "AV705"),
        ("notice", "AV304"),
        ("notice", "AV304"),
    ]


def test_a_command_names_the_file_and_only_a_recipe_s_line() -> None:
    found = {command.properties["title"].split()[0]: command for command in commands(sample.full_report())}
    assert found["AV301"].properties == {"file": sample.MODEL, "title": "AV301 batch-statistics-at-inference"}
    assert found["AV705"].properties["line"] == "118"
    assert found["AV705"].properties["file"] == "configs/bevfusion.yaml"
    first, where, seen, expected, remedy = found["AV301"].text.split("\n")
    assert first == "20 of 21 batch norms compute their statistics from the batch they are given."
    assert where.startswith("Where: module neck.bn1, node /neck/bn1/BatchNormalization, and 19 more: ")
    assert (seen, expected) == ("Seen: training_mode: 1, outputs: 3", "Expected: training_mode: 0, outputs: 1")
    assert remedy.startswith("Do: Call `model.eval()`")


def test_the_log_ends_with_a_line_for_each_review() -> None:
    lines = written(sample.two_reviews(), "github").splitlines()
    assert lines[-2:] == [
        "avreview: exports/bevfusion-r18.onnx: fail: 2 errors, 1 warning, 2 notes; 43 of 81 rules assessed",
        "avreview: exports/lane-net.onnx: pass: no findings; 1 of 2 rules assessed",
    ]


def test_what_could_not_be_read_is_an_error_on_its_file() -> None:
    (command,) = commands(Report("0", "0", [], [("a,b:c.onnx", "a,b:c.onnx: no such file")]))
    assert command.properties == {"file": "a,b:c.onnx", "title": "avreview could not review this file"}
    assert command.text == "a,b:c.onnx: no such file"


def test_paths_are_relative_to_the_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "sub").mkdir(exist_ok=True)
    monkeypatch.chdir(checkout / "sub")
    finding = sample.findings()[0]._replace(location=Location("../m.onnx"))
    report = Report("0", "0", [sample.full_review()._replace(findings=[finding])])
    assert commands(report)[0].properties["file"] == "m.onnx"
    assert json.loads(written(report, "gitlab"))[0]["location"]["path"] == "m.onnx"


@pytest.mark.parametrize("format", ["github", "gitlab"])
def test_what_is_accepted_is_not_annotated(format: str) -> None:
    waiver = Waiver("AV301", "neck.*", "harmless", "A. Person", "2027-01-31", "waivers.yaml", 3)
    first, second, third, *_ = sample.findings()
    found = [first._replace(waived=waiver), second._replace(known=True), third]
    text = written(Report("0", "0", [sample.full_review()._replace(findings=found)]), format)
    assert "neck.lateral1.conv" in text
    assert "neck.lateral0.conv" not in text
    assert "AV301" not in text


@settings(max_examples=80, deadline=None)
@given(text=st.one_of(st.text(), st.text(alphabet=st.sampled_from("%:,\n\r=#[] \x85\u2028::0AD2"), max_size=30)))
def test_a_name_is_read_back_as_it_was_and_starts_no_command(text: str) -> None:
    report = sample.hostile_report(text)
    output = written(report, "github")
    for line in output.split("\n"):
        assert line.isprintable(), ascii(line)
        assert "##" not in line
    found = commands(report)
    assert [command.name for command in found] == ["error"] * 3  # an unreadable file and two findings
    assert all(command.properties.keys() <= {"file", "line", "title"} for command in found)
    assert found[-1].text.split("\n")[0] == plain(f"{text} is wrong, {text}", 600)


# GitLab


def issues(report: Report) -> list[dict[str, Any]]:
    found = json.loads(written(report, "gitlab"))
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    "report",
    [sample.two_reviews(), sample.hostile_report("a\x1b/../b"), sample.hostile_report("")],
    ids=["two", "bad", "empty"],
)
def test_every_issue_has_what_gitlab_asks(report: Report) -> None:
    found = issues(report)
    assert found
    for issue in found:
        assert issue.keys() == {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert issue["description"]
        assert issue["check_name"]
        assert issue["location"]["path"]
        assert issue["location"]["lines"]["begin"] >= 1
    assert len({issue["fingerprint"] for issue in found}) == len(found)


def test_issues_are_graded_and_placed() -> None:
    found = [(issue["check_name"], issue["severity"], issue["location"]) for issue in issues(sample.two_reviews())]
    model = {"path": sample.MODEL, "lines": {"begin": 1}}
    assert found == [
        ("unreadable", "blocker", {"path": "exports/cut-off.onnx", "lines": {"begin": 1}}),
        ("AV301", "critical", model),
        ("AV502", "critical", model),
        ("AV705", "major", {"path": "configs/bevfusion.yaml", "lines": {"begin": 118}}),
        ("AV304", "info", model),
        ("AV304", "info", model),
    ]


def test_fingerprints_survive_a_retraining_and_tell_models_apart() -> None:
    review = sample.full_review()
    retrained = review._replace(findings=[finding._replace(message="n", observed={}) for finding in review.findings])
    prints = [[issue["fingerprint"] for issue in issues(Report("0", "0", [one]))] for one in (review, retrained)]
    assert prints[0] == prints[1]
    elsewhere = [
        finding._replace(location=finding.location._replace(artifact="other.onnx")) for finding in review.findings
    ]
    assert not set(prints[0]) & {
        issue["fingerprint"] for issue in issues(Report("0", "0", [review._replace(findings=elsewhere)]))
    }


def test_annotations_are_bounded() -> None:
    report = sample.hostile_report("x" * 10_000_000)
    assert len(written(report, "github")) < 100_000
    assert len(written(report, "gitlab")) < 100_000
