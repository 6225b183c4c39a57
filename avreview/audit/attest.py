"""A review as an in-toto statement, for others to sign.

Layout: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. Subjects are the models that were
reviewed, with every file that belongs to them; whoever asks for a reviewed model finds it by its digest. What stood
beside a model (a checkpoint, a pretrained base, inputs) was read and is no subject: nobody reviewed it for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.review import Report, Verdict
from avreview.errors import AvreviewError
from avreview.report.structure import simple, to_dict

STATEMENT = "https://in-toto.io/Statement/v1"
# A name and no address: the project has none yet under which a description could stand for good.
PREDICATE = "urn:avreview:review:1"
_WORST = (Verdict.FAIL, Verdict.ATTENTION, Verdict.PASS, Verdict.NOT_ASSESSED, Verdict.NOT_APPLICABLE)
_OF_THE_RUN = ("date", "tool", "environment", "settings", "waivers", "unreadable")
_OF_A_REVIEW = ("name", "role", "stated", "verdict", "counts")


class Written(NamedTuple):
    """A report that was written to a file."""

    path: str
    format: str
    sha256: str


def statement(report: Report, written: Sequence[Written] = ()) -> dict[str, Any]:
    """The statement, in JSON's types. Raises AvreviewError where nothing was reviewed."""
    structure = to_dict(report)
    subject: dict[str, dict[str, Any]] = {}
    for review in structure["reviews"]:
        for entry in _reviewed(review):
            subject.setdefault(entry["name"], entry)
    if not subject:
        raise AvreviewError("nothing was reviewed, so there is nothing to attest")
    predicate = {
        "verdict": str(min((review.verdict for review in report.reviews), key=_WORST.index)),
        **{key: structure[key] for key in _OF_THE_RUN if key in structure},
        "configuration": [
            {**_descriptor(entry), "annotations": {"kind": entry["kind"]}}
            for entry in structure.get("configuration", ())
        ],
        "reviews": [_review(review) for review in structure["reviews"]],
        "reports": [
            {"name": entry.path, "digest": {"sha256": entry.sha256}, "annotations": {"format": entry.format}}
            for entry in written
        ],
    }
    named = {"_type": STATEMENT, "subject": list(subject.values()), "predicateType": PREDICATE}
    whole: dict[str, Any] = simple({**named, "predicate": predicate})
    return whole


def _reviewed(review: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The files of the model; where a recipe was reviewed without one, its files."""
    subject = review["subject"]
    for entry in [subject["model"]] if "model" in subject else subject.values():
        yield from _descriptors(entry)


def _review(review: Mapping[str, Any]) -> dict[str, Any]:
    """What came out, question by question and rule by rule; what was found stands in the report."""
    others = [role for role in review["subject"] if role != "model"] if "model" in review["subject"] else []
    beside = {role: list(_descriptors(review["subject"][role])) for role in others}
    return {
        **{key: review[key] for key in _OF_A_REVIEW if key in review},
        "model": list(_reviewed(review)),
        **({"beside": beside} if beside else {}),
        "checklist": [{key: answer[key] for key in ("item", "verdict", "assessed")} for answer in review["checklist"]],
        "rules": {outcome["rule"]: outcome["verdict"] for outcome in review["rules"]},
    }


def _descriptors(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The files of a subject as in-toto's resource descriptors: its own, and those that belong to it."""
    for file in (entry, *entry.get("files", ())):
        if file.get("sha256"):
            yield _descriptor(file)


def _descriptor(file: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": file["path"], "digest": {"sha256": file["sha256"]}}
