"""The baseline: the findings of a day, so that only new ones fail. They are told apart by rule and place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from avreview.config.document import read_document
from avreview.config.schemas import schema
from avreview.config.validation import validate
from avreview.engine.review import Review

SCHEMA = "avreview/baseline/1"


def read_baseline(path: str | os.PathLike[str]) -> frozenset[tuple[str, str]]:
    """The (model, fingerprint) pairs in a file. Raises ConfigError."""
    document = read_document(path)
    validate(document, schema("baseline"))
    return frozenset((entry["model"], entry["fingerprint"]) for entry in document.data["findings"])


def baseline_of(reviews: Iterable[Review]) -> dict[str, Any]:
    """The baseline of reviews: every finding that is not waived, in an order that does not depend on the run."""
    findings = [
        {
            "fingerprint": finding.fingerprint,
            "rule": finding.rule,
            "model": review.name,
            "place": finding.location.entity,
        }
        for review in reviews
        for finding in review.findings
        if finding.waived is None
    ]
    return {"schema": SCHEMA, "findings": sorted(findings, key=lambda entry: tuple(entry.values()))}
