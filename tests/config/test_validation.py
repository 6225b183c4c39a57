"""The validator against the reference one, and the lines it points at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avreview.config.document import ConfigError, Document, Mark, read_document
from avreview.config.schemas import schema
from avreview.config.validation import validate

KINDS = ["config", "waivers", "baseline"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_are_schemas_that_the_validator_knows(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    known = {
        "$schema", "$id", "$defs", "$ref", "title", "description", "type", "enum", "const", "anyOf", "properties",
        "additionalProperties", "required", "items", "minItems", "minLength", "pattern", "minimum", "maximum",
        "exclusiveMinimum",
    }  # fmt: skip

    def words(node: Any, *, is_schema: bool = True) -> set[str]:
        if not isinstance(node, dict):
            return set()
        inner = set().union(
            *(words(value, is_schema=not (is_schema and key in ("properties", "$defs"))) for key, value in node.items())
        )
        return inner | (set(node) if is_schema else set())

    assert words(schema(kind)) <= known


_WORDS = st.sampled_from([
    "default", "strict", "error", "warning", "off", "AV301", "", " ", "a.yaml", "512MB", "12 GiB", "x" * 30, "camera",
])  # fmt: skip
_LEAVES = _WORDS | st.integers(-2, 90000) | st.floats(-1, 1e5) | st.booleans() | st.none()
_KEYS = st.sampled_from([
    "profile", "select", "ignore", "fail_on", "rules", "overrides", "waivers", "baseline", "probe", "reviews", "memory",
    "timeout", "seed", "severity", "thresholds", "modules", "model", "modality", "name", "AV301", "extends", "bogus",
])  # fmt: skip
_ANY = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(_KEYS, _ANY, max_size=4))
def test_agrees_with_the_reference_validator(data: dict[str, Any]) -> None:
    accepted = jsonschema.Draft202012Validator(schema("config")).is_valid(data)
    blank = any(isinstance(leaf, str) and not leaf.strip() for leaf in leaves(data))
    refusal = refused(data)
    if refusal is None:
        assert accepted
    else:
        assert not accepted or blank  # text of spaces alone is empty to us
        assert "\n" not in refusal


def refused(data: Any) -> str | None:
    try:
        validate(Document(Path("avreview.yaml"), data, {(): Mark(1, 1)}), schema("config"))
    except ConfigError as refusal:
        return str(refusal)
    return None


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for entry in value.values() for leaf in leaves(entry)]
    if isinstance(value, list):
        return [leaf for entry in value for leaf in leaves(entry)]
    return [value]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("profil: strict\n", "1:1", "'profil' is no key here; did you mean profile?"),
        ("profile: strickt\n", "1:1", "profile: 'strickt' is none of default, strict, audit; did you mean strict?"),
        ("fail_on: 3\n", "1:1", "fail_on: 3 is none of"),
        ("select: AV3\nprobe:\n  seeed: 1\n", "3:3", "'seeed' is no key here; did you mean seed?"),
        ("probe:\n  seed: -1\n", "2:3", "probe.seed: -1 is too small"),
        ("rules:\n  AV301:\n    severity: bad\n", "3:5", "is none of error, warning, note, off"),
        ("rules:\n  AV301:\n    thresholds: {x: high}\n", "3:18", "has to be a number, not text"),
        ("overrides:\n- ignore: AV301\n", "2:3", "lacks 'modules'"),
        ("reviews:\n- model: ''\n", "2:3", "reviews.0.model: is empty"),
        ("memory: much\n", "1:1", "memory: 'much' is not a size such as 512MB or 2GiB"),
        ("- profile: strict\n", "1:1", "has to be a mapping, not a list"),
        ("select: true\n", "1:1", "select: has to be text or a list, not true or false"),
    ],
)
def test_an_error_names_the_line_and_the_right_word(tmp_path: Path, text: str, place: str, words: str) -> None:
    path = tmp_path / "avreview.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        validate(read_document(path), schema("config"))
    assert str(refusal.value).startswith(f"{path}:{place}: ")
    assert words in str(refusal.value)
