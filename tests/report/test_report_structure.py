from __future__ import annotations

import copy
import enum
import io
import json
from pathlib import PurePosixPath
from typing import Any

import jsonschema
import numpy as np
import pytest
import report_sample as sample
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.engine.review import Report, Severity, Verdict
from avreview.report import FORMATS, write
from avreview.report.json_format import dumps
from avreview.report.schema import report_schema
from avreview.report.structure import simple, to_dict
from avreview.report.yaml_format import write_structure

REPORTS = {"full": sample.full_report(), "two": sample.two_reviews(), "none": Report("0.1.0", "sha256:0", [])}


def text(report: Report, format: str) -> str:
    stream = io.StringIO()
    write(report, format, stream)
    return stream.getvalue()


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_yaml_and_json_hold_the_same_structure(report: Report) -> None:
    assert yaml.safe_load(text(report, "yaml")) == json.loads(text(report, "json")) == to_dict(report)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_report_is_valid_by_the_schema(report: Report) -> None:
    jsonschema.validate(to_dict(report), report_schema(), cls=jsonschema.Draft202012Validator)


def test_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())


def _drop_finding_key(report: dict[str, Any]) -> None:
    del report["reviews"][0]["findings"][0]["remedy"]


def _add_key(report: dict[str, Any]) -> None:
    report["reviews"][0]["findings"][0]["location"]["column"] = 3


def _misspell_verdict(report: dict[str, Any]) -> None:
    report["reviews"][0]["verdict"] = "passed"


def _forget_reason(report: dict[str, Any]) -> None:
    outcome = next(entry for entry in report["reviews"][0]["rules"] if entry["verdict"] == "not-assessed")
    del outcome["reason"]


def _other_version(report: dict[str, Any]) -> None:
    report["schema"] = "avreview/report/2"


def _count_in_words(report: dict[str, Any]) -> None:
    report["reviews"][0]["counts"]["error"] = "two"


def _weights_in_fingerprint(report: dict[str, Any]) -> None:
    report["reviews"][0]["findings"][0]["fingerprint"] = "neck.bn1"


@pytest.mark.parametrize(
    "mangle",
    [
        _drop_finding_key, _add_key, _misspell_verdict, _forget_reason, _other_version, _count_in_words,
        _weights_in_fingerprint,
    ],
)  # fmt: skip
def test_mangled_report_is_not_valid(mangle: Any) -> None:
    report = copy.deepcopy(to_dict(sample.full_report()))
    mangle(report)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, report_schema(), cls=jsonschema.Draft202012Validator)


def test_every_property_of_the_schema_is_described() -> None:
    schema = report_schema()
    for name, definition in schema["$defs"].items():
        assert definition.get("description"), name
        for key, entry in definition.get("properties", {}).items():
            described = (
                "description" in entry or "$ref" in entry or key in ("error", "warning", "note", "waived", "name")
            )
            assert described, f"{name}.{key}"


def test_report_says_what_was_found() -> None:
    review = to_dict(sample.full_report())["reviews"][0]
    assert review["counts"] == {"error": 2, "warning": 1, "note": 2, "waived": 0}
    assert [entry["item"] for entry in review["checklist"]] == list(range(10))
    assert review["checklist"][3]["assessed"] == {"rules": 4, "of": 7}
    finding = review["findings"][0]
    assert finding["location"] == {
        "artifact": sample.MODEL, "node": "/neck/bn1/BatchNormalization", "module": "neck.bn1", "tensor": None,
        "line": None,
    }  # fmt: skip
    assert len(finding["also"]) == 19
    assert finding["fingerprint"] == sample.findings()[0].fingerprint


def test_absent_reasons_are_left_out() -> None:
    rules = to_dict(sample.full_report())["reviews"][0]["rules"]
    assert all(("reason" in entry) == (entry["verdict"] in ("not-assessed", "not-applicable")) for entry in rules)


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1.5, float("nan")]), [1.5, "nan"]),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ((1, (2, float("inf"))), [1, [2, "inf"]]),
        ({"b", "a"}, ["a", "b"]),
        ({3: {True: None}}, {"3": {"True": None}}),
        (b"a\xff", "a\\xff"),
        (Severity.ERROR, "error"),
        (Verdict.NOT_ASSESSED, "not-assessed"),
        (Colour.RED, "red"),
        (PurePosixPath("a/b"), "a/b"),
        (range(3), [0, 1, 2]),
        (1 + 2j, "(1+2j)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_become_plain(value: object, expected: object) -> None:
    plain = simple(value)
    assert plain == expected
    assert type(plain) is type(expected)
    assert json.loads(dumps(plain)) == expected


def test_small_floats_of_ml_dtypes_become_floats() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert simple(ml_dtypes.bfloat16(1.5)) == 1.5
    assert simple({"eps": np.array([0.5], dtype=ml_dtypes.bfloat16)}) == {"eps": [0.5]}


def test_yaml_keeps_the_order_and_has_no_anchors() -> None:
    shared = {"b": "text", "a": [1, 2]}
    stream = io.StringIO()
    write_structure({"second": shared, "first": shared}, stream)
    assert stream.getvalue() == "second:\n  b: text\n  a: [1, 2]\nfirst:\n  b: text\n  a: [1, 2]\n"


AWKWARD = st.one_of(
    st.text(alphabet=st.sampled_from(" \n\t:#-'\"{}[],&*!|>%@`?\\a1.\x1b\x85\u2028é~=<\ufeff/"), max_size=12),
    st.text(),
    st.sampled_from(
        ["yes", "No", "null", "~", "1e3", "0x1f", "1:30", "2001-01-01", ".inf", "-", "?", "<<", "=", "k" * 1100]
    ),
    st.lists(st.sampled_from(["word", "::error::", "a:", "#b", "é", "", "x\n"]), min_size=20, max_size=60).map(
        " ".join
    ),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), AWKWARD)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(AWKWARD, inner, max_size=4), max_leaves=12
)


@settings(max_examples=150, deadline=None)
@given(structure=st.dictionaries(AWKWARD, TREES, min_size=1, max_size=3), encoding=st.sampled_from(["utf-8", "ascii"]))
def test_yaml_reads_back_whatever_it_holds(structure: dict[str, Any], encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    write_structure(structure, stream)
    stream.flush()
    assert yaml.safe_load(raw.getvalue().decode(encoding)) == structure


def test_options_of_another_format_are_ignored() -> None:
    for name in FORMATS:
        write(sample.full_report(), name, io.StringIO(), verbose=True, width=80, color="never")
