"""What a verification found, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from avreview.report.escape import plain
from avreview.report.json_format import dumps
from avreview.report.page import in_ascii, takes_unicode
from avreview.report.structure import simple

if TYPE_CHECKING:
    from avreview.audit.verify import Checked, Verification

SCHEMA = "avreview/verification/1"
_PATH = 300
_WHY = 300


def write_json(verification: Verification, stream: TextIO) -> None:
    """Writes everything as JSON."""
    report = verification.report
    structure: dict[str, Any] = {
        "schema": SCHEMA,
        "report": {"path": report.path, "sha256": report.sha256, "date": report.date or None},
        "verdict": verification.verdict.value,
        "tool": _entry(verification.tool),
        "rules": _entry(verification.rules),
        "files": [
            {"role": entry.role, "path": entry.path, **_entry(entry)} for entry in verification.files
        ],
    }  # fmt: skip
    stream.write(dumps(simple(structure)))


def _entry(entry: Checked) -> dict[str, Any]:
    known = {"status": entry.status.value, "stated": entry.stated, "found": entry.found}
    return {**known, "why": entry.why} if entry.why else known


def write_text(verification: Verification, stream: TextIO) -> None:
    """Writes one line for each file, for the rules and for the version, and what it comes to."""
    fits = takes_unicode(stream)
    for line in _lines(verification):
        stream.write(f"{line if fits else in_ascii(line)}\n")


def _lines(verification: Verification) -> Iterator[str]:
    report = verification.report
    made = f", {plain(report.date, 40)}" if report.date else ""
    yield f"{plain(report.path, _PATH)}{made}, by avreview {plain(report.version, 40)}"
    every = [*verification.files, verification.tool, verification.rules]
    roles = max(len(plain(entry.role, 20)) for entry in every)
    for entry in every:
        yield f"  {entry.status.value:<9}  {plain(entry.role, 20):<{roles}}  {_found(entry)}"
    yield _outcome(verification)


def _found(entry: Checked) -> str:
    name = plain(entry.path, _PATH)
    if entry.why:
        return f"{name}: {plain(entry.why, _WHY)}"
    if entry.found is not None and entry.found != entry.stated:
        return f"{name}: {_short(entry.found)} instead of {_short(entry.stated or '')}"
    return f"{name} {_short(entry.stated)}" if entry.stated else name


def _short(words: str) -> str:
    """A version whole, and of a digest as much as tells it apart."""
    return plain(words if len(words) <= 20 else words.rpartition(":")[2][:12], 60)


def _outcome(verification: Verification) -> str:
    """The last line: whether the report still describes its files."""
    statuses = Counter(entry.status.value for entry in verification.files)
    same = statuses.pop("same", 0)
    if not statuses:
        said = f"The report still describes {'its file' if same == 1 else f'all of its {same} files'}"
    else:
        others = ", ".join(f"{amount} {status}" for status, amount in sorted(statuses.items()))
        unsure = set(statuses) == {"unchecked"}
        lead = "It is not known whether the report" if unsure else "The report no longer"
        said = f"{lead} describes its files: {others}, {same} the same"
    if not verification.would_repeat:
        what = [name for name, entry in (("avreview", verification.tool), ("its rules", verification.rules))
                if entry.status.value != "same"]  # fmt: skip
        verb = "is" if what == ["avreview"] else "are"
        said += f". {' and '.join(what).capitalize()} {verb} not what made it, so a new review may say something else"
    return f"{said}."
