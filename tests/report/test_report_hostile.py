"""Names in a model are written by whoever wrote the model. None of them reaches a terminal, a CI runner or a parser."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import report_sample as sample
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.report import write
from avreview.report.escape import defuse, is_risky, plain, shorten
from avreview.report.structure import to_dict
from avreview.report.svg import save_svg

SGR = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = {
    "ansi": "\x1b[2J\x1b[31mred",
    "osc-link": "\x1b]8;;https://example.org\x07click\x1b]8;;\x07",
    "c1": "\x9b31m\x85",
    "carriage-return": "pass\rfail",
    "line-feed": "neck\n::error file=x::owned",
    "line-separator": "a\u2028::error::b\u2029c",
    "backspace": "fail\x08\x08\x08\x08pass",
    "bidi": "\u202egnp.\u2066exe",
    "zero-width": "ne\u200bck\ufeff\u2060\u00ad\U000e0041",
    "filler": "\u3164\u115f\u2800\ufe0f",
    "marks": "a" + "\u0301" * 40,
    "surrogate": "a\ud800b\udfff",
    "null": "a\x00b",
    "markup": "[bold red]x[/] [link=https://example.org]y[/link] :boom:",
    "github": "::error::x",
    "github-later": "x ::set-output name=a::b",
    "github-old": "##[add-path]/tmp",
    "azure": "##vso[task.setvariable variable=a]b",
    "teamcity": "##teamcity[buildStatus text='x']",
    "group": "####[group]x",
    "yaml": "a: b #c\n- &x *x !!python/object:os.system {",
    "yaml-document": "---\n...\n%YAML",
    "html": "<script>alert(1)</script>&amp;",
    "quotes": "'\"\\\"'\\",
    "empty": "",
    "blank": "   ",
    "wide": "車" * 50,
    "long": "x" * 5000,
    "noncharacter": "\ufffe\U0010ffff\x7f",
}
# In these no line is a command; those of `github` are read back in test_report_annotations.py.
INERT = ["terminal", "yaml", "json", "sarif", "junit", "gitlab", "markdown"]
TEXT = st.one_of(
    st.sampled_from(sorted(HOSTILE.values())),
    st.text(),
    st.text(alphabet=st.sampled_from(" :#[]\n\r\t\x1b\x07\x85\u2028\u202e\ud800a-'\"\\{}é車\u0301"), max_size=30),
)


def written(text: str, format: str, **options: object) -> str:
    stream = io.StringIO()
    write(sample.hostile_report(text), format, stream, **options)
    return stream.getvalue()


def assert_inert(output: str) -> None:
    """No character that acts, none that hides, and no line that a CI runner obeys."""
    for line in output.split("\n"):
        assert line.isprintable(), ascii(line)
        assert not line.lstrip().startswith("::"), line
        assert "##" not in line, line


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("format", INERT)
def test_hostile_text_does_nothing(text: str, format: str) -> None:
    output = written(text, format, width=80, verbose=True)
    assert_inert(re.sub(r"^## (?=avreview: |. avreview: )", "", output, flags=re.MULTILINE))  # Markdown's own headings


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("format", [*INERT, "github"])
def test_hostile_text_can_be_encoded(text: str, encoding: str, format: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    write(sample.hostile_report(text), format, stream, width=80)
    stream.flush()


@settings(max_examples=60, deadline=None)
@given(text=TEXT, width=st.integers(20, 200), verbose=st.booleans(), color=st.sampled_from(["never", "always"]))
def test_terminal_is_inert_whatever_the_text(text: str, width: int, verbose: bool, color: str) -> None:
    output = written(text, "terminal", width=width, verbose=verbose, color=color)
    assert_inert(SGR.sub("", output) if color == "always" else output)


@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_yaml_and_json_read_back_as_they_were(text: str) -> None:
    structure = to_dict(sample.hostile_report(text))
    as_json, as_yaml = written(text, "json"), written(text, "yaml")
    assert json.loads(as_json) == structure
    assert yaml.safe_load(as_yaml) == structure
    assert_inert(as_json)
    assert_inert(as_yaml)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_github_gets_commands_of_ours_alone(text: str) -> None:
    lines = written(text, "github").splitlines()
    title = "title=AV301 batch-statistics-at-inference::" if text != HOSTILE["empty"] else "::"
    assert [line.split(" ")[0] for line in lines] == ["::error"] * 3 + ["avreview:"] * 2
    assert all(title in line for line in lines[1:3])
    for line in lines:
        assert line.isprintable(), ascii(line)
        assert "##" not in line, line


@settings(max_examples=60, deadline=None)
@given(text=TEXT.filter(bool))  # of an empty name there is no property
def test_xml_is_whole_whatever_the_text(text: str) -> None:
    output = written(text, "junit")
    assert_inert(output)
    usual = ElementTree.fromstring(written("neck.bn1", "junit"))
    assert [element.tag for element in ElementTree.fromstring(output).iter()] == [
        element.tag for element in usual.iter()
    ]


@settings(max_examples=30, deadline=None)
@given(text=TEXT, format=st.sampled_from(["sarif", "gitlab"]))
def test_other_json_is_whole_whatever_the_text(text: str, format: str) -> None:
    output = written(text, format)
    assert json.loads(output)
    assert output.isascii()
    assert_inert(output)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_picture_is_whole_and_the_same_each_time(text: str, tmp_path: Path) -> None:
    pictures = []
    for name in ("one.svg", "two.svg"):
        save_svg(sample.hostile_report(text), tmp_path / name, 100, title=text)
        pictures.append((tmp_path / name).read_text(encoding="utf-8"))
    elements = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(pictures[0]).iter()}
    assert pictures[0] == pictures[1]
    assert not elements & {"script", "a", "image", "foreignObject"}


def test_long_names_keep_both_ends() -> None:
    name = "backbone." + "x" * 10_000_000 + ".bn3"
    shown = written(name, "terminal", width=80)
    assert len(shown) < 30_000
    assert "…" in shown
    assert plain(name, 40) == "backbone.xxxxxxxxxxx…xxxxxxxxxxxxxxx.bn3"
    assert len(plain("\x1b" * 100, 40)) == 40


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("neck.bn3", "neck.bn3"),
        ("/neck/Größe_車", "/neck/Größe_車"),
        ("aten::conv2d", "aten::conv2d"),
        ("a\tb\r\n", "a\\tb\\r\\n"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("\u00a0", "\\xa0"),
        ("e\u0301", "e\u0301"),
        ("::error::x", ":\\x3aerror::x"),
        ("a ::b", "a :\\x3ab"),
        ("##[x] ###", "#\\x23[x] #\\x23#"),
    ],
)
def test_plain_shows_what_is_there(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_wrapping_brings_no_command_to_the_start_of_a_line() -> None:
    broken = 0
    for length in range(50, 75):
        output = written("x" * length + "::error::y", "terminal", width=80)
        assert_inert(output)
        broken += bool(re.search(r"^ *:\\x3aerror", output, re.MULTILINE))
    assert broken  # otherwise no line was broken there, and nothing was tested


def test_finished_line_is_defused_where_wrapping_brought_a_command_to_its_start() -> None:
    assert defuse("   ::error::x") == "   :\\x3aerror::x"
    assert defuse("aten::conv") == "aten::conv"


@given(text=st.text(), limit=st.integers(1, 50))
def test_shortened_text_is_no_longer_than_the_limit(text: str, limit: int) -> None:
    assert len(shorten(text, limit)) <= limit
    assert shorten(text, len(text)) == text


def test_everyday_names_are_not_risky() -> None:
    assert not any(map(is_risky, ["neck.bn3", "std::vector", "two\nlines", "Größe", "#1", "a # b"]))
