from __future__ import annotations

import io
import re
from typing import Any

import pytest
import report_sample as sample

from avreview.engine.review import Location, Report, Review, Severity, Verdict
from avreview.errors import UsageError
from avreview.report import write

SGR = re.compile(r"\x1b\[[0-9;]*m")


def terminal(report: Report, **options: Any) -> str:
    stream = io.StringIO()
    write(report, "terminal", stream, **{"width": 100, **options})
    return stream.getvalue()


def alone(review: Review, **changes: Any) -> Report:
    return Report("0.1.0", "sha256:0", [review._replace(**changes)])


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Screen()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_line_is_wider_than_the_page(width: int, verbose: bool) -> None:
    lines = terminal(sample.two_reviews(), width=width, verbose=verbose).splitlines()
    assert max(map(len, lines)) <= width


def test_colour_adds_nothing_but_colour() -> None:
    coloured = terminal(sample.two_reviews(), color="always")
    assert SGR.search(coloured)
    assert SGR.sub("", coloured) == terminal(sample.two_reviews(), color="never")


def test_terminal_gets_colour_of_its_own_accord(screen: Screen) -> None:
    write(sample.full_report(), "terminal", screen, width=80)
    assert SGR.search(screen.getvalue())


@pytest.mark.parametrize(("variable", "color"), [("NO_COLOR", "auto"), (None, "never")])
def test_colour_can_be_refused(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, variable: str | None, color: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    write(sample.full_report(), "terminal", screen, width=80, color=color)
    assert "\x1b" not in screen.getvalue()


def test_what_is_asked_for_outranks_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert SGR.search(terminal(sample.full_report(), color="always"))


def test_file_gets_no_colour_and_the_width_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "64")
    stream = io.StringIO()
    write(sample.full_report(), "terminal", stream)
    assert stream.getvalue() == terminal(sample.full_report(), width=64, color="never")


def test_finding_says_where_what_and_what_to_do() -> None:
    text = " ".join(terminal(sample.full_report()).split())
    for part in (
        "error AV301 batch-statistics-at-inference",
        "20 of 21 batch norms compute their statistics",
        "where module neck.bn1, node /neck/bn1/BatchNormalization",
        "seen training_mode: 1, outputs: 3",
        "expected training_mode: 0, outputs: 1",
        "why A batch norm in training mode",
        "do Call `model.eval()` before exporting",
        "configs/bevfusion.yaml:118",
    ):
        assert part in text


def test_further_places_are_counted_and_verbose_lists_all() -> None:
    folded, whole = terminal(sample.full_report()), terminal(sample.full_report(), verbose=True)
    last = sample.findings()[0].also[-1]
    assert "and 19 more: backbone.layer1.0.bn1" in folded
    assert f"/{str(last.module).replace('.', '/')}/BatchNormalization" not in folded
    assert f"/{str(last.module).replace('.', '/')}/BatchNormalization" in whole


def test_few_further_places_are_listed_without_verbose() -> None:
    finding = sample.findings()[0]._replace(also=[Location(sample.MODEL, module=f"n{n}") for n in range(3)])
    text = terminal(alone(sample.full_review(), findings=[finding]))
    assert "and 3 more: n0, n1, n2\n" in text


def test_further_places_within_one_module_are_named_by_their_nodes() -> None:
    also = [Location(sample.MODEL, module="neck", node=f"/neck/BN_{n}") for n in range(3)]
    finding = sample.findings()[0]._replace(also=also)
    text = terminal(alone(sample.full_review(), findings=[finding]))
    assert "and 3 more: /neck/BN_0, /neck/BN_1, /neck/BN_2\n" in text


def test_tables_are_folded_and_shown_only_where_they_tell() -> None:
    review = sample.full_review()
    folded, whole = terminal(alone(review)), terminal(alone(review), verbose=True)
    assert "and 13 more rows (--verbose lists all)" in folded
    assert "more row" not in whole
    calm = [answer._replace(verdict=Verdict.PASS) for answer in review.checklist]
    assert "gamma mean" not in terminal(alone(review, checklist=calm))
    assert "gamma mean" in terminal(alone(review, checklist=calm), verbose=True)


def test_columns_that_do_not_fit_are_named() -> None:
    assert "not shown for want of width: folded" in terminal(sample.full_report(), width=80)


def test_reason_and_remedy_of_several_findings_are_said_once() -> None:
    text = " ".join(terminal(sample.full_report()).split())
    assert text.count("Build the convolution with") == 1
    assert text.count("is subtracted again by") == 2


def test_many_findings_of_a_rule_are_folded() -> None:
    finding = sample.findings()[1]
    many = [finding._replace(message=f"Bias number {n}.") for n in range(30)]
    report = alone(sample.full_review(), findings=many)
    assert "24 more findings of AV304 (--verbose lists all)" in terminal(report)
    assert "Bias number 29." in terminal(report, verbose=True)


def test_findings_stand_under_their_question_worst_first() -> None:
    text = terminal(sample.full_report())
    order = ["3  Which normalization", "AV301", "AV304", "5  Are normalization", "AV502", "7  Where is", "AV705"]
    places = [text.index(part, text.index("\n3  Which normalization")) for part in order]
    assert places == sorted(places)


def test_finding_outside_the_checklist_is_not_lost() -> None:
    finding = sample.findings()[0]._replace(item=8)
    text = terminal(alone(sample.clean_review(), findings=[finding]))
    assert "Findings outside the checklist" in text
    assert "AV301" in text


def test_item_0_is_shown_when_it_says_something() -> None:
    review = sample.full_review()
    quiet = terminal(alone(review))
    doubtful = [review.checklist[0]._replace(verdict=Verdict.NOT_ASSESSED), *review.checklist[1:]]
    assert sample.QUESTIONS[0] not in quiet
    assert sample.QUESTIONS[0] in terminal(alone(review), verbose=True)
    assert sample.QUESTIONS[0] in terminal(alone(review, checklist=doubtful))


def test_questions_without_a_selected_rule_are_folded_into_one_line() -> None:
    review = sample.full_review()
    bare = [
        answer._replace(verdict=Verdict.NOT_ASSESSED, rules=0, assessed=0, table=())
        if answer.item in (0, 8, 9)
        else answer
        for answer in review.checklist
    ]
    text = terminal(alone(review, checklist=bare))
    assert "Not assessed, because no rule of theirs was selected: 0, 8, 9" in text
    assert sample.QUESTIONS[9] not in text
    assert sample.QUESTIONS[9] in terminal(alone(review, checklist=bare), verbose=True)


def test_finding_about_the_whole_file_names_the_file() -> None:
    finding = sample.findings()[0]._replace(location=Location(sample.MODEL), also=())
    text = terminal(alone(sample.full_review(), findings=[finding]))
    assert f"where     {sample.MODEL}\n" in text


def test_pass_says_how_little_it_rests_on() -> None:
    text = terminal(alone(sample.clean_review()))
    assert " PASS   no findings · 1 of 2 rules assessed" in text
    assert "needs the model to be run; pass --probe: AV302" in text


def test_rules_left_open_are_grouped_by_reason() -> None:
    folded, whole = terminal(sample.full_report()), terminal(sample.full_report(), verbose=True)
    assert "Not assessed: 38 of 81 rules" in folded
    assert "13  needs a checkpoint with optimizer state; pass --checkpoint: AV201–AV205, AV601–AV608" in folded
    assert "AV608  rule-8-of-item-6" in whole
    assert "AV908  rule-8-of-item-9" in whole
    assert "no temporal input" not in folded


def test_several_reviews_end_in_a_table_of_files() -> None:
    text = terminal(sample.two_reviews())
    ending = text[text.index("All 2 reviews") :]
    assert "✗  fail" in ending
    assert "✓  pass" in ending
    assert "exports/lane-net.onnx" in ending
    assert "1 fail, 1 pass: 2 errors, 1 warning, 2 notes in 2 reviews; 1 file could not be reviewed" in ending


def test_a_review_is_called_what_the_configuration_calls_it() -> None:
    review = sample.full_report().reviews[0]
    text = terminal(alone(review, title="front \x1b[31mlanes", role="lane head"))
    assert r"front \x1b[31mlanes · lane head" in text.splitlines()[:4]
    path = str(review.subject["model"]["path"])
    assert path not in terminal(alone(review, title=path)).splitlines()


def test_what_could_not_be_reviewed_is_in_the_report() -> None:
    assert "the file ends in the middle of a tensor; copy it again" in terminal(sample.two_reviews())


def test_last_line_names_the_worst_rule() -> None:
    assert terminal(sample.full_report()).splitlines()[-1].startswith("`avreview explain AV301`")
    notes = [finding for finding in sample.findings() if finding.severity is Severity.NOTE]
    assert "explain AV304" in terminal(alone(sample.full_review(), findings=notes))
    assert "explain" not in terminal(alone(sample.clean_review()))


def test_unknown_format_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="terminal, yaml, json"):
        write(sample.full_report(), "pdf", io.StringIO())
