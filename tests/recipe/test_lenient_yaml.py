"""YAML of other programs: aliases, merged mappings and keys that stand twice, within bounds, each with its place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from avreview.config.document import MOST_VALUES, ConfigError, Document, parse_document
from avreview.recipe.files import RecipeError, plain_document


def lenient(text: str) -> Document:
    return parse_document("a.yaml", text, lenient=True)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n",
        "a: &x {p: [1, 2]}\nb: {c: *x}\nd: [*x, *x]\n",
        "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n",
        "a: &x {p: 1}\nb: &y {p: 2, q: 3}\nc: {<<: [*x, *y], r: 4}\n",
        "a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {q: 5, <<: *y}\n",
        "a: {<<: {p: {q: 1}}, r: 2}\n",
        "a: 1\na: [2, 3]\n",
        "a: {p: 1}\na: {q: 2}\n",
        "a: &x [1]\na: 2\nb: *x\n",
    ],
)
def test_it_is_read_as_pyyaml_reads_it(text: str) -> None:
    assert lenient(text).data == yaml.safe_load(text)


@given(
    st.recursive(
        st.integers(0, 9) | st.sampled_from(["x", "y z"]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_pyyaml_writes_with_aliases_is_read_again(value: Any) -> None:
    text = yaml.safe_dump({"once": value, "again": value, "inside": [value]})
    assert lenient(text).data == yaml.safe_load(text)


def test_places_are_those_of_the_values_themselves() -> None:
    document = lenient("a: &x\n  p: 1\nb: *x\nc:\n  <<: *x\n  q: 2\nd: {p: 1}\nd: 5\n")
    lines = {keys: mark.line for keys, mark in document.marks.items()}
    assert (lines["b",], lines["b", "p"]) == (3, 2)
    assert (lines["c", "p"], lines["c", "q"]) == (2, 6)
    assert lines["d",] == 8
    assert ("d", "p") not in lines  # it is overwritten


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: *x\n", "stands for 'x', and no value before it is called so"),
        ("a: &x [*x]\n", "stands for 'x', and no value before it is called so"),
        ("a: {<<: 3}\n", "`<<` merges what is no mapping"),
        ("a: {<<: [3]}\n", "`<<` merges what is no mapping"),
        ("a: !!python/name:os.system x\n", "has the tag"),
        ("? [a]\n: 1\n", "is not a plain key"),
        ("[" * 60 + "]" * 60, "nested more than 50 deep"),
    ],
)
def test_what_is_no_plain_data_is_refused(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        lenient(text)
    with pytest.raises(RecipeError, match=error):
        plain_document("a.yaml", text)


def test_numbers_of_values_are_bounded() -> None:
    assert len(lenient("a: [" + "1," * (MOST_VALUES - 2) + "]").data["a"]) == MOST_VALUES - 2
    with pytest.raises(ConfigError, match="one value more than the 100000"):
        lenient("a: [" + "1," * MOST_VALUES + "]")
    tens = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    tens += "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))
    with pytest.raises(ConfigError, match="for more than 100000 values"):
        lenient(tens)


def test_a_configuration_of_ours_is_read_strictly_still() -> None:
    for text in ("a: &x 1\n", "a: 1\na: 2\n", "a: {<<: {b: 1}}\n"):
        with pytest.raises(ConfigError):
            parse_document("a.yaml", text)
