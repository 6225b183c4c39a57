"""Markdown: what a pull-request comment shows, read with a parser of CommonMark and its tables."""

from __future__ import annotations

import html
import io
import re

import pytest
import report_sample as sample
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from avreview.engine.review import Location, Report, RuleOutcome, Severity, Verdict, Waiver
from avreview.report import write
from avreview.report.escape import plain
from avreview.report.markdown import LIMIT
from avreview.report.markdown_text import code, inline, prose

_OURS = {"<details><summary>", "</details>"}
_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_TEXT = st.one_of(
    st.text(),
    st.text(alphabet=st.sampled_from("`*_[]()<>|\\~#&@!:/.-+1 \n=\"'aé"), max_size=40),
    st.sampled_from(
        ["<script>x</script>", "</details>", "![x](//y)", "<!--", "&lt;b&gt;", "@team", "#1", "http://x.y"]
    ),
)


def written(report: Report) -> str:
    stream = io.StringIO()
    write(report, "markdown", stream)
    return stream.getvalue()


def tokens(text: str) -> list[Token]:
    """Every token, those within lines as well."""
    return [inner for token in _PARSER.parse(text) for inner in (token, *(token.children or ()))]


def shown(text: str) -> str:
    """What a reader sees of a text without blocks of its own."""
    return "".join(token.content for token in tokens(text) if token.type in ("text", "text_special", "code_inline"))


def assert_only_ours(text: str) -> None:
    """No HTML but the folding, no link, no image, and nothing that a forge acts upon."""
    for token in tokens(text):
        assert token.type not in ("link_open", "image", "html_inline", "fence", "code_block"), (token.type, text)
        if token.type == "html_block":
            assert re.sub(r"(?<=<summary>).*</summary>$", "", token.content.strip()) in _OURS, token.content
        if token.type == "text":
            assert not re.search(r"(?<!\w)@\w|#\d|\bGH-\d", token.content, re.IGNORECASE), token.content
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line)
        assert not re.match(r"\s*(::|/)", line), line
        assert "##[" not in line, line


# What is shown


def test_the_nine_questions_are_a_table_with_verdict_and_sentence() -> None:
    text = written(sample.full_report())
    rows = [line for line in text.split("\n") if re.match(r"\| . \| \d \|", line)]
    assert [int(row.split("|")[2]) for row in rows] == list(range(1, 10))
    assert "| ✗ | 3 | Which normalization layers depend on batch statistics? | fail | 1 of 21 batch norms" in rows[2]
    assert rows[7].endswith("| not assessed | Needs the training recipe; pass --recipe. | 0 of 11 |")
    assert sum(token.type == "table_open" for token in tokens(text)) == 2  # and that of what was not assessed
    assert text.startswith(f"## ✗ avreview: fail: `{sample.MODEL}`\n")


def test_findings_are_folded_worst_first_and_alike_ones_told_together() -> None:
    text = written(sample.full_report())
    assert re.findall(r"^\*\*(AV\d+) [a-z-]+\*\* \((\w+)\)", text, re.MULTILINE) == [
        ("AV301", "error"),
        ("AV502", "error"),
        ("AV705", "warning"),
        ("AV304", "note"),
    ]
    assert "And 1 more finding of this rule." in text
    assert text.count("Why: The mean that the norm subtracts") == 1
    assert "- Do: Call `model.eval()` before exporting" in text
    assert "At `module neck.bn1, node /neck/bn1/BatchNormalization, and 19 more: " in text
    assert text.count("<details><summary>") == text.count("</details>") == 5
    assert_only_ours(text)


def test_what_was_not_assessed_and_not_seen_has_its_reasons() -> None:
    text = written(sample.full_report())
    assert "Not assessed: 38 of 81 rules" in text
    assert f"| {sample.NEEDS_OPTIMIZER} | AV201–AV205, AV601–AV608 |" in text
    assert "- Two operators of the domain `com.vendor` are not known" in text


def test_several_reviews_begin_with_a_table_and_end_with_what_could_not_be_read() -> None:
    text = written(sample.two_reviews())
    assert text.startswith("## avreview: 2 reviews\n")
    assert "| ✓ | `exports/lane-net.onnx` | pass | no findings; 1 of 2 rules assessed |" in text
    assert "- `exports/cut-off.onnx`: the file ends in the middle of a tensor; copy it again" in text
    assert text.endswith("avreview 0.1.0, rules `1f3c9a2b1f3c`\n")


def test_a_recipe_by_itself_is_named_once() -> None:
    model = sample.full_report().reviews[0]
    subject = {"recipe": {"path": "train/recipe.yaml", "sha256": "ab", "format": "plain"}}
    recipe = model._replace(subject=subject, title="train/recipe.yaml")
    text = written(Report("0.1.0", "sha256:0", [recipe]))
    assert text.splitlines()[0].endswith(": `train/recipe.yaml`")
    assert text.splitlines()[0].count("recipe.yaml") == 1
    assert "| | reviewed |" in written(Report("0.1.0", "sha256:0", [model, recipe]))


def test_a_waived_finding_says_why_and_comes_last() -> None:
    waiver = Waiver("AV301", "neck.*", "measured, harmless", "A. Person", "2027-01-31", "waivers.yaml", 3)
    first, second, *_ = sample.findings()
    found = [first._replace(waived=waiver), second._replace(known=True)]
    text = written(Report("0", "0", [sample.full_review()._replace(findings=found)]))
    assert "(error, waived: measured, harmless (A. Person, until 2027-01-31))" in text
    assert "(note, in the baseline)" in text
    assert "no findings; 2 accepted; 43 of 81 rules assessed" in text


def test_an_ascii_stream_gets_the_same_report_in_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    write(sample.full_report(), "markdown", stream)
    stream.flush()
    assert raw.getvalue().decode("ascii").startswith("## x avreview: fail: ")


# How long it gets


def test_a_report_of_any_length_fits_a_comment_and_says_what_is_missing() -> None:
    finding = sample.findings()[0]
    found = [
        finding._replace(rule=f"AV{n}", location=Location("m.onnx", module=f"m{n}"), severity=Severity(1 + n % 3))
        for n in range(1000)
    ]
    outcomes = [RuleOutcome(f"AV{n}", "x", 1, Verdict.NOT_ASSESSED, f"needs {n} " + "y" * 200) for n in range(500)]
    review = sample.full_review()._replace(findings=found, rules=outcomes, limitations=["z" * 1000] * 1000)
    text = written(Report("0", "0", [review]))
    assert LIMIT * 0.8 < len(text) <= LIMIT
    assert "Left out, for a comment holds 65,536 characters: " in text
    left = int(re.findall(r"(\d+) × a finding[.,]", text)[0])
    assert len(re.findall(r"^\*\*AV\d+", text, re.MULTILINE)) + left == 1000
    assert {severity for _, severity in re.findall(r"^\*\*(AV\d+).*?\((\w+)\)", text, re.MULTILINE)} == {"error"}
    assert "Not assessed: 500 of 500 rules" in text
    assert "… and 480 rules for other reasons." in text
    assert "… and 980 more" in text
    assert_only_ours(text)


def test_a_short_report_leaves_nothing_out() -> None:
    assert "Left out" not in written(sample.two_reviews())


def test_many_reviews_share_the_room() -> None:
    text = written(Report("0", "0", [sample.full_review()] * 200))
    assert LIMIT * 0.5 < len(text) <= LIMIT
    assert "… and 100 more reviews." in text
    assert "Left out" in text


@pytest.mark.parametrize("name", ["x" * 10_000_000, "`" * 100_000, "|" * 100_000, "\u202e" * 100_000])
def test_long_names_fit_a_comment(name: str) -> None:
    text = written(sample.hostile_report(name))
    assert len(text) <= LIMIT
    assert_only_ours(text)


# What names can do


@settings(max_examples=150, deadline=None)
@given(text=_TEXT)
def test_a_name_is_text_and_nothing_else(text: str) -> None:
    output = written(sample.hostile_report(text))
    assert_only_ours(output)
    kinds = [token.type for token in tokens(output)]
    usual = [token.type for token in tokens(written(sample.hostile_report("neck.bn1")))]
    blocks = ["heading_open", "table_open", "tr_open", "td_open", "html_block", "hr"]
    for kind in [*blocks, "list_item_open"] if text.strip() else blocks:
        assert kinds.count(kind) == usual.count(kind), kind


@settings(max_examples=300, deadline=None)
@given(text=_TEXT)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    safe, filled = plain(text, 200), plain(" ".join(text.split()), 200)
    if not re.search(r"@|#|GH-", safe, re.IGNORECASE):  # those become visible escapes
        assert shown(f"x{inline(text, 200)}x") == f"x{safe}x"
        if "`" not in filled:
            assert shown(f"x{prose(text, 200)}x") == f"x{filled}x"
    assert_only_ours(f"x {inline(text, 200)} x\n")
    assert_only_ours(f"x {prose(text, 200)} x\n")


@settings(max_examples=300, deadline=None)
@given(text=_TEXT)
def test_code_is_shown_as_it_is_in_a_table_too(text: str) -> None:
    safe = plain(text, 200)
    table = f"| a | b |\n|---|---|\n| {code(text, 200)} | c |\n"
    spans = [token.content for token in tokens(table) if token.type == "code_inline"]
    assert sum(token.type == "td_open" for token in tokens(table)) == 2
    if safe.strip():
        assert [span.strip() for span in spans] == [safe.strip()]
    else:
        assert spans == []


@pytest.mark.parametrize(
    "text", ["- x", "+ x", "* x", "# x", "> x", "1. x", "12) x", "---", "===", "***", "~~~", "```"]
)
def test_nothing_begins_at_the_start_of_an_entry(text: str) -> None:
    kinds = [token.type for token in tokens(f"- {prose(text, 100)}\n- {inline(text, 100)}\n\n{inline(text, 100)}\n")]
    assert kinds.count("list_item_open") == 2
    assert not {"heading_open", "blockquote_open", "hr", "fence", "ordered_list_open"} & set(kinds)


@pytest.mark.parametrize(
    ("text", "written_as"),
    [
        ("running_var of neck.bn3", "running_var of neck.bn3"),
        ("_a_ *b* [c](d)", r"\_a\_ \*b\* \[c\](d)"),
        ("@team, a@b", r"\\x40team, a@b"),
        ("#12 ##[x] GH-3", r"\\x2312 #\\x23\[x\] GH\\x2d3"),
        ("https://x www.y", r"https\://x www\.y"),
        ("<b>&lt;", r"\<b\>\&lt;"),
        ("R&D", "R&D"),
    ],
)
def test_only_what_acts_is_escaped(text: str, written_as: str) -> None:
    assert inline(text, 100) == written_as


def test_backticks_make_code_in_running_text() -> None:
    assert prose("Call `model.eval()` on *it*.", 100) == r"Call `model.eval()` on \*it\*."
    assert html.unescape(prose("one ` alone", 100)) == r"one \` alone"
