"""YAML that a stranger wrote: plain data or one line, and the line says where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from avreview.config.document import MOST_BYTES, ConfigError, Mark, read_document


def read(folder: Path, text: str | bytes) -> Any:
    path = folder / "avreview.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(path)


def test_plain_data_with_the_place_of_every_value(tmp_path: Path) -> None:
    document = read(tmp_path, "profile: strict\nselect: [item3, AV501]\nprobe:\n  seed: 7\n  timeout: 1.5\n")
    assert document.data == {
        "profile": "strict", "select": ["item3", "AV501"], "probe": {"seed": 7, "timeout": 1.5},
    }  # fmt: skip
    assert document.marks["profile",] == Mark(1, 1)
    assert document.marks["select", 1] == Mark(2, 17)
    assert document.marks["probe", "seed"] == Mark(4, 3)


def test_dates_stay_text_and_words_are_words(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 2027-03-31\nb: yes\nc: true\nd: ~\ne: 0x10\nf: '12'\ng: .inf\n")
    assert document.data == {
        "a": "2027-03-31", "b": "yes", "c": True, "d": None, "e": "0x10", "f": "12", "g": ".inf",
    }  # fmt: skip


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: &x 2\n", 2, "sets an anchor"),
        ("a: *x\n", 1, "uses an alias"),
        (LAUGHS, 1, "sets an anchor"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "has the tag"),
        ("a: 1\nb: !include other.yaml\n", 2, "has the tag"),
        ("a: 1\n<<: {b: 2}\n", 2, "merges another mapping"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands here a second time"),
        ("? [x, y]\n: 1\n", 1, "is not a plain key"),
        ("a: 1\n---\nb: 2\n", 2, "begins a second document"),
        ("a: [1, 2\nb: 3\n", 2, "is no YAML"),
        ("a: \t- 1\n\t b\n", 1, "is no YAML"),
        ("a: 1\nb: [x\x1b[31m]\n", 2, "is no YAML"),
        ("[" * 60 + "]" * 60, 1, "is nested more than 50 deep"),
    ],
)
def test_what_is_not_plain_data_is_refused_at_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(tmp_path, text)
    message = str(refusal.value)
    assert message.startswith(f"{tmp_path / 'avreview.yaml'}:{line}:")
    assert words in message
    assert "\n" not in message


def test_deep_nesting_costs_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nested"):
        read(tmp_path, "[" * 500_000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: \xff\xfe\n", "is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "is not UTF-8"),
        (b"# " + b"x" * MOST_BYTES, "is larger than 1 MB"),
        (b"a: \x00\n", "is no YAML"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, content)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_document(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError):
        read_document(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.yaml")
        with pytest.raises(ConfigError, match="is not a regular file"):
            read_document(tmp_path / "pipe.yaml")


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Nd", "Cs"]), max_size=8)
)
_DATA = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), _DATA, max_size=4))
def test_reads_what_a_safe_loader_reads(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data, allow_unicode=True)
    if "<<" in text or yaml.safe_load(text) != data:
        return

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, value: Any) -> bool:
            return True

    assert read(tmp_path_factory.mktemp("plain"), yaml.dump(data, Dumper=Dumper, allow_unicode=True)).data == data


@given(st.binary(max_size=200))
def test_no_bytes_bring_anything_but_data_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    try:
        read(tmp_path_factory.mktemp("bytes"), content)
    except ConfigError as refusal:
        lines = str(refusal).count("\n")
    else:
        lines = 0
    assert lines == 0
