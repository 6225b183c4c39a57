"""Waivers: findings that somebody accepts, for a reason and until a date."""

from __future__ import annotations

import datetime
import fnmatch
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from avreview.clock import now
from avreview.config.document import read_document
from avreview.config.schemas import schema
from avreview.config.validation import validate
from avreview.engine.cards import Catalogue
from avreview.engine.review import Finding, Waiver
from avreview.errors import UsageError


class WaiverRule(NamedTuple):
    """A waiver and what it covers: the rules by id, and globs of the place and of the model."""

    waiver: Waiver
    rules: frozenset[str]
    module: str
    model: str

    def covers(self, finding: Finding, model: str) -> bool:
        """Whether it covers a finding in the model that was given as, or is called, `model`: either name will do."""
        at = finding.location
        places = [place for place in (at.module, at.node, at.tensor) if place] or [""]
        return (
            finding.rule in self.rules
            and any(fnmatch.fnmatchcase(name, self.model) for name in (model, at.artifact))
            and any(fnmatch.fnmatchcase(place, self.module) for place in places)
        )


def read_waivers(paths: Iterable[str | os.PathLike[str]], catalogue: Catalogue) -> list[WaiverRule]:
    """The waivers in files, in order. Raises ConfigError for one without a reason, an owner, or a real date."""
    return [entry for path in paths for entry in _of_file(path, catalogue)]


def _of_file(path: str | os.PathLike[str], catalogue: Catalogue) -> Sequence[WaiverRule]:
    document = read_document(path)
    validate(document, schema("waivers"))
    entries = []
    for number, entry in enumerate(document.data["waivers"]):
        place = ("waivers", number)
        try:
            rules = catalogue.select(entry["rule"])
        except UsageError as error:
            raise document.error((*place, "rule"), str(error)) from None
        try:
            datetime.date.fromisoformat(entry["expires"])
        except ValueError:
            raise document.error((*place, "expires"), f"{entry['expires']} is no date of the calendar") from None
        file = os.fspath(path)
        line = document.marks[place].line
        waiver = Waiver(entry["rule"], entry["module"], entry["reason"], entry["owner"], entry["expires"], file, line)
        entries.append(WaiverRule(waiver, frozenset(rules), entry["module"], entry.get("model", "*")))
    return entries


def today() -> datetime.date:
    """The date by which waivers expire: the report's, in UTC."""
    return datetime.date(*now()[:3])
