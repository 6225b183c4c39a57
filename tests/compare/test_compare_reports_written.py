"""A comparison in the terminal, as Markdown and as JSON: short, complete, and safe whatever the names are."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from avreview.api import diff
from avreview.compare.result import CHANGED, Change, Compared, Diff, Findings, Section, Size
from avreview.engine.review import Finding, Location, Severity
from avreview.errors import UsageError
from avreview.report.diff import write
from avreview.report.markdown import LIMIT
from avreview.report.schema import diff_schema

SAMPLES = Path(__file__).parents[2] / "sample_models"
_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = [
    "\x1b]8;;http://x\x07click", "::error::pwned", "##vso[task.setvariable]", "##[group]", "[link=http://x]a[/link]",
    "<script>alert(1)</script>", "</details>", "| a | b |", "`` ` ``", "@team", "#12", "![i](http://x)",
    "a\r\n::warning::b",
    "\u202egnp.exe", "http://example.com", "x" * 100_000, "\ud800", "", " ", "*bold*_it_", "~~x~~", "<!--", "&lt;b&gt;",
]  # fmt: skip


def written(found: Diff, format: str, *, verbose: bool = False) -> str:
    stream = io.StringIO()
    write(found, format, stream, verbose=verbose)
    return stream.getvalue()


def made(names: Sequence[str], amount: int = 1) -> Diff:
    """A comparison in which every text that may come from a file is one of `names`."""
    name = names[0]

    def finding(number: int) -> Finding:
        text = names[number % len(names)]
        place = Location(text, text, text, text)
        return Finding("AV301", "a-name", 3, Severity.ERROR, place, text, {}, {}, "", "", [place])

    changes = [
        Change(CHANGED, text, f"what {text}", {text: text}, [text], 0.5, (text, text))
        for text in (names[number % len(names)] for number in range(amount))
    ]
    section = Section("structure", "Structure", f"told {name}", changes, notes=[name])
    entries = [Compared(finding(number), names[number % len(names)]) for number in range(amount)]
    findings = Findings(
        name, "pass", "fail", entries, entries, entries, entries, {"AV101": name}, [(name, "pass", "fail")]
    )
    subject = {"path": name, "sha256": None, "format": name, "producer": name, "bytes": 3}
    unseen = Section("weights", "Weights", "", unseen=name)
    return Diff(
        "0.1.0", "sha256:0", "onnx", subject, subject, [section, unseen], [Size("bytes", 3, 5)], [findings],
        Severity.ERROR, [(name, name)],
    )  # fmt: skip


def assert_inert(text: str) -> None:
    """Markdown in which nothing is markup but what the writer wrote."""
    for token in _PARSER.parse(text):
        for each in (token, *(token.children or ())):
            assert each.type not in ("link_open", "image", "html_inline", "fence", "code_block", "s_open"), each
            if each.type == "html_block":
                own = re.sub(r"(?<=<summary>).*</summary>$", "", each.content.strip())
                assert own in ("<details><summary>", "</details>"), each.content
            if each.type == "text":
                assert not re.search(r"(?<!\w)@\w|#\d", each.content), each.content
    assert len(re.findall("^<details>", text, re.MULTILINE)) == len(re.findall("^</details>$", text, re.MULTILINE))
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line)
        assert not line.startswith("::")
        assert "##[" not in line


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_inert_everywhere(name: str) -> None:
    found = made([name])
    assert_inert(written(found, "markdown"))
    for verbose in (False, True):
        for line in written(found, "terminal", verbose=verbose).split("\n"):
            assert line.isprintable(), ascii(line)
            assert not re.match(r"\s*::", line)
            assert "##" not in line
    raw = written(found, "json")
    assert raw.replace("\n", "").isascii()
    assert "##" not in raw
    jsonschema.validate(json.loads(raw), diff_schema())


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30))
def test_any_name_is_inert_in_markdown(name: str) -> None:
    assert_inert(written(made([name]), "markdown"))


@pytest.mark.parametrize("amount", [200, 3000])
def test_markdown_fits_a_comment_and_says_what_it_left_out(amount: int) -> None:
    text = written(made([f"module.{number}.{'long' * 20}" for number in range(50)], amount), "markdown")
    assert len(text) <= LIMIT
    assert_inert(text)
    assert re.search(r"… and [\d,]+ more", text)
    assert "new finding" in text.split("\n")[0]
    assert "| Structure | " in text


def test_an_ascii_stream_gets_the_same_in_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    write(made(["a.b"]), "markdown", stream)
    write(made(["a.b"]), "terminal", stream)
    stream.flush()
    assert raw.getvalue().decode("ascii")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="terminal, markdown, json"):
        write(made(["a"]), "yaml", io.StringIO())


# Real files


def test_a_faulty_sample_against_its_original() -> None:
    found = diff(SAMPLES / "lane_head.onnx", SAMPLES / "lane_head__double_softmax.onnx")
    text = written(found, "markdown")
    assert text.startswith("## ✗ avreview diff: ") or text.startswith("## ! avreview diff: ")
    assert "| Weights | no change | 18 layers compared: 18 hold the same weights, 0 moved |" in text
    assert "| + | `/Softmax` | 1 node | `Softmax` |" in text
    told = json.loads(written(found, "json"))
    jsonschema.validate(told, diff_schema())
    assert told["counts"]["changes"] == 1
    assert "structure: 1 change" in written(found, "terminal").lower()


def test_identical_files_have_nothing_to_tell() -> None:
    sample = SAMPLES / "camera_bev_detector.onnx"
    found = diff(sample, sample)
    assert (found.identical, found.changes, found.failing) == (True, 0, [])
    told = json.loads(written(found, "json"))
    assert told["counts"] == {**told["counts"], "changes": 0, "new": 0, "gone": 0, "failing": 0}
    assert "identical files; findings: 0 new, 0 gone" in " ".join(written(found, "terminal").split())


@pytest.mark.parametrize(
    ("old", "new", "section", "words"),
    [
        ("camera_bev_detector", "camera_bev_detector__train_mode", "norms", "BatchNorm"),
        ("camera_bev_detector_unfolded", "camera_bev_detector__stats_permuted", "norms", "running statistics moved"),
        ("lane_head", "lane_head__dropout_active", "dropout", "dropout"),
        ("lane_head", "lane_head__nan_weight", "weights", "NaN or infinity"),
        ("lane_head", "lane_head__copied_filters", "weights", "moved"),
        ("lane_head", "lane_head__baked_batch", "structure", "4 nodes; /head/Reshape takes [1, "),
        ("lidar_pillar_encoder", "lidar_pillar_encoder__droppath_active", "dropout", "dropout"),
        ("lidar_pillar_encoder", "lidar_pillar_encoder__intensity_normalized", "norms", "InstanceNorm"),
        ("temporal_occupancy_head", "temporal_occupancy_head__batch_norm_in_time", "norms", "BatchNorm"),
        ("temporal_occupancy_head", "temporal_occupancy_head__dropout_in_temporal_head", "dropout", "dropout"),
    ],
)
def test_the_fault_of_a_sample_stands_in_its_section(old: str, new: str, section: str, words: str) -> None:
    found = diff(SAMPLES / f"{old}.onnx", SAMPLES / f"{new}.onnx")
    assert any(words in change.what for change in found.section(section).changes), found.section(section)
    assert found.findings[0].new
