"""The in-toto statement: its layout, what it is about, and what it says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from audited import CLEAN, FAULTY, avreview, digest, external, project

from avreview.audit.attest import PREDICATE, Written, statement
from avreview.engine.cards import shipped
from avreview.engine.review import Report, Review, Verdict
from avreview.errors import AvreviewError
from avreview.report import FORMATS

__all__ = ["project"]

# https://github.com/in-toto/attestation/tree/main/spec/v1: statement.md, resource_descriptor.md, digest_set.md.
DESCRIPTOR: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "uri": {"type": "string"},
        "digest": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]+$"},
            "properties": {"sha256": {"minLength": 64, "maxLength": 64}},
        },
        "content": {"type": "string"},
        "downloadLocation": {"type": "string"},
        "mediaType": {"type": "string"},
        "annotations": {"type": "object"},
    },
}
STATEMENT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["_type", "subject", "predicateType"],
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "subject": {"type": "array", "minItems": 1, "items": {**DESCRIPTOR, "required": ["digest"]}},
        "predicateType": {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*:[!-~]+$"},
        "predicate": {"type": "object"},
    },
}


def validated(text: str | bytes) -> dict[str, Any]:
    """A statement by in-toto's layout, with names that are unique among its subjects."""
    found: dict[str, Any] = json.loads(text)
    jsonschema.validate(found, STATEMENT, cls=jsonschema.Draft202012Validator)
    names = [entry["name"] for entry in found["subject"]]
    assert len(names) == len(set(names))
    return found


def test_subjects_are_the_reviewed_files_and_nothing_else(tmp_path: Path) -> None:
    model = external(tmp_path)
    (tmp_path / "lane.onnx").write_bytes(CLEAN.read_bytes())
    beside = tmp_path / "beside.onnx"
    beside.write_bytes(FAULTY.read_bytes())
    words = ["check", "model.onnx", "lane.onnx", "model.onnx", "--isolated", "--pretrained", "beside.onnx"]
    avreview(tmp_path, *words, "--attest", "statement.json", "-o", "report.json")
    found = validated((tmp_path / "statement.json").read_bytes())
    files = (model, tmp_path / "weights.data", tmp_path / "lane.onnx")
    assert found["subject"] == [{"name": path.name, "digest": {"sha256": digest(path)}} for path in files]
    assert found["predicateType"] == PREDICATE
    companion = {"name": "beside.onnx", "digest": {"sha256": digest(beside)}}
    assert [review["beside"] for review in found["predicate"]["reviews"]] == [{"pretrained": [companion]}] * 3


def test_the_predicate_says_what_the_report_says_and_which_report_that_is(project: Path) -> None:
    outputs = [word for name in ("report.yaml", "report.html", "report.txt") for word in ("-o", name)]
    ended = avreview(project, "check", *outputs, "-o", "-", "-f", "json", "--attest", "statement.json")
    assert (ended.returncode, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    predicate = validated((project / "statement.json").read_bytes())["predicate"]
    for key in ("date", "tool", "environment", "settings", "waivers", "unreadable"):
        assert predicate[key] == report[key], key
    assert predicate["tool"]["rules"] == shipped().digest
    assert predicate["verdict"] == report["reviews"][0]["verdict"] == "attention"
    (review,), (reviewed,) = predicate["reviews"], report["reviews"]
    assert (review["name"], review["counts"], review["verdict"]) == ("lanes", reviewed["counts"], "attention")
    assert review["rules"] == {outcome["rule"]: outcome["verdict"] for outcome in reviewed["rules"]}
    assert [answer["verdict"] for answer in review["checklist"]] == [a["verdict"] for a in reviewed["checklist"]]
    assert [entry["annotations"]["kind"] for entry in predicate["configuration"]] == [
        entry["kind"] for entry in report["configuration"]
    ]
    assert predicate["reports"] == [
        {"name": name, "digest": {"sha256": digest(project / name)}, "annotations": {"format": format}}
        for name, format in (("report.yaml", "yaml"), ("report.html", "html"), ("report.txt", "terminal"))
    ]


def test_the_worst_verdict_of_all_reviews_stands_first(tmp_path: Path) -> None:
    ended = avreview(tmp_path, "check", CLEAN, FAULTY, "--isolated", "--attest", "statement.json", "-o", "-")
    assert ended.returncode == 1
    assert validated((tmp_path / "statement.json").read_bytes())["predicate"]["verdict"] == "fail"


def test_what_could_not_be_read_is_stated_and_of_nothing_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    ended = avreview(tmp_path, "check", CLEAN, "empty.onnx", "--isolated", "--attest", "statement.json")
    assert ended.returncode == 2
    found = validated((tmp_path / "statement.json").read_bytes())
    assert [entry["path"] for entry in found["predicate"]["unreadable"]] == ["empty.onnx"]
    assert [entry["name"] for entry in found["subject"]] == [str(CLEAN)]
    ended = avreview(tmp_path, "check", "empty.onnx", "--isolated", "--attest", "other.json")
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (
        2, "avreview: other.json: not written, for nothing was reviewed"
    )  # fmt: skip
    assert not (tmp_path / "other.json").exists()
    with pytest.raises(AvreviewError, match="nothing to attest"):
        statement(Report("0.1.0", "sha256:0", []))


@pytest.mark.parametrize("word", ["-", "report.yaml"])
def test_a_statement_is_written_to_a_file_of_its_own(tmp_path: Path, word: str) -> None:
    ended = avreview(tmp_path, "check", CLEAN, "--isolated", "-o", "report.yaml", "--attest", word)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_statement_and_reports_appear_together_or_not_at_all(tmp_path: Path) -> None:
    ended = avreview(tmp_path, "check", CLEAN, "--isolated", "-o", "report.yaml", "--attest", "no/such/folder.json")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "no/such/folder.json" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["\x1b]8;;x\x07", "\udcff", "##[x", "\n::error::", "\u202e", "<script>", "\x00"])
def test_hostile_names_are_printable_ascii_in_a_statement(text: str) -> None:
    from avreview.report.json_format import dumps

    facts = {"path": text, "sha256": "a" * 64}
    review = Review({"model": facts, text: facts}, Verdict.PASS, [], [], [], title=text, stated={text: text})
    made = dumps(statement(Report(text, text, [review], [(text, text)]), [Written(text, text, "0" * 64)]))
    assert made.isascii()
    assert all(character.isprintable() for character in made.replace("\n", ""))
    assert "##" not in made
    assert validated(made)["subject"][0]["name"] == text.encode("utf-8", "backslashreplace").decode()


def test_every_format_has_the_digest_of_its_file(tmp_path: Path) -> None:
    for format in FORMATS:
        words: list[str | Path] = [
            "check",
            FAULTY,
            "--isolated",
            "-f",
            format,
            "-o",
            f"report.{format}",
            "--attest",
            "statement.json",
        ]
        assert avreview(tmp_path, *words).returncode == 1
        (entry,) = validated((tmp_path / "statement.json").read_bytes())["predicate"]["reports"]
        octets = (tmp_path / f"report.{format}").read_bytes()
        assert entry["digest"]["sha256"] == hashlib.sha256(octets).hexdigest(), format
