"""One review, section by section."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.engine.review import Review, Severity, Verdict
from avreview.report.html.augmentations import NAME as AUGMENTATIONS
from avreview.report.html.augmentations import augmentations_section
from avreview.report.html.decay import decay_section
from avreview.report.html.depth import GRADIENTS, SIGNAL, depth_section
from avreview.report.html.findings import findings_section
from avreview.report.html.markup import Markup, el, text
from avreview.report.html.parts import anchor, data_table, facts, fold, heading, name, section, verdict_mark
from avreview.report.html.questions import glance, questions_section, reasons_section
from avreview.report.html.room import Room, Rooms, left_out
from avreview.report.html.runs import measured_section, runs_section
from avreview.report.html.tree import tree_section
from avreview.report.values import count, show, size

PATH = 300
_FACT = 300
_LINES = 1000
_FEW = 4  # files that are not folded away
_FIRST_FACTS = ("path", "format", "producer", "bytes", "sha256")
_UNDECIDED = "What these rules look for was not looked at, so nothing is said of it. Each reason says what to supply."
_ABSENT = "The files hold nothing of the kind that these rules judge."


class Part(NamedTuple):
    """A section, and what the table of contents calls it."""

    label: str
    id: str
    body: Markup


def path_of(review: Review) -> str:
    return next((str(entry["path"]) for entry in review.subject.values() if entry.get("path")), "(no file)")


def title_of(review: Review) -> str:
    """What the configuration calls the review, or else the name of its file."""
    path = path_of(review)
    return review.title or os.path.basename(path.rstrip("/\\")) or path


def parts_of(review: Review, prefix: str, level: int, rooms: Rooms) -> list[Part]:
    """The sections of a review that have something to say, with headings of that level."""
    found = findings_section(review, prefix, level, rooms.findings)
    drawn = [
        ("Files", "files", _files(review.subject, prefix, level, rooms.tables)),
        ("Questions", "questions", questions_section(review, prefix, level, found.anchors, rooms.tables)),
        ("Findings", "findings", found.body),
        ("Augmentations", AUGMENTATIONS, augmentations_section(review, prefix, level, rooms)),
        ("Modules", "modules", tree_section(review, prefix, level, found.anchors, rooms.tree)),
        ("Signal through depth", "depth", depth_section(review, prefix, level, rooms.tables)),
        ("Decay map", "decay", decay_section(review, prefix, level, rooms.tables)),
        ("Not assessed", str(Verdict.NOT_ASSESSED),
         reasons_section(review, prefix, level, Verdict.NOT_ASSESSED, "Not assessed", _UNDECIDED)),
        ("Not applicable", str(Verdict.NOT_APPLICABLE),
         reasons_section(review, prefix, level, Verdict.NOT_APPLICABLE, "Not applicable", _ABSENT)),
        ("Limits of sight", "limitations", _limitations(review, prefix, level)),
        ("What was run", "runs", runs_section(review, prefix, level)),
        ("Measurements", "measured",
         measured_section(_rest(review), prefix, level, rooms.tables)),
    ]  # fmt: skip
    return [Part(label, anchor(prefix, id), body) for label, id, body in drawn if body is not None]


def _rest(review: Review) -> dict[str, Any]:
    """The evidence that no section of its own shows."""
    rest = {key: value for key, value in review.evidence.items() if key not in ("probes", SIGNAL, AUGMENTATIONS)}
    gradients = rest.get(GRADIENTS)
    if isinstance(gradients, Mapping):
        rest[GRADIENTS] = {key: value for key, value in gradients.items() if key != "layers"}
    return {key: value for key, value in rest.items() if value}


def outcome(review: Review) -> Markup:
    """The verdict, the findings by severity, and how much of the catalogue it rests on; then all at a glance."""
    found = [count(number, str(entry)) for entry in sorted(Severity, reverse=True) if (number := review.tally(entry))]
    waived = sum(finding.waived is not None for finding in review.findings)
    known = sum(finding.known and finding.waived is None for finding in review.findings)
    accepted = [f"{waived} waived"] * bool(waived) + [f"{known} in the baseline"] * bool(known)
    undecided = sum(entry.verdict is Verdict.NOT_ASSESSED for entry in review.rules)
    assessed = f"{len(review.rules) - undecided} of {count(len(review.rules), 'rule')} assessed"
    says = " · ".join([", ".join(found) or "no findings", *accepted, assessed])
    return el("p", verdict_mark(review.verdict), " ", el("span", says), class_="outcome")


def whole_review(review: Review, prefix: str, rooms: Rooms) -> Markup:
    """A review among several, with a heading of its own."""
    titled = heading(2, text(title_of(review), PATH), id=f"{prefix}-title")
    parts = parts_of(review, prefix, 3, rooms)
    return el(
        "article", titled, outcome(review), glance(review, prefix, 3), *(part.body for part in parts),
        class_="review", id=prefix, aria_labelledby=f"{prefix}-title",
    )  # fmt: skip


def _files(subject: Mapping[str, Mapping[str, Any]], prefix: str, level: int, room: Room) -> Markup:
    """Each file by its role, with its digest; what else is known of it, and what was read with it, on demand."""
    entries = []
    for role, known in subject.items():
        pairs = [("path", name(known.get("path", ""), PATH))]
        pairs += [(key, text(known[key], _FACT)) for key in ("format", "producer") if known.get(key)]
        if isinstance(known.get("bytes"), int):
            pairs.append(("size", text(f"{size(known['bytes'])} ({known['bytes']:,} bytes)")))
        pairs.append(("sha256", el("code", text(known["sha256"], 100)) if known.get("sha256") else text("not taken")))
        further = [
            (text(key.replace("_", " "), 80), text(show(fact), _FACT))
            for key, fact in list(known.items())[:200] if key not in (*_FIRST_FACTS, "files") and fact is not None
        ]  # fmt: skip
        more = fold(f"More of the {role}", facts(further)) if further else None
        read = known.get("files") or ()
        label = f"{count(len(read), 'file')} read with the {role}"
        shown = fold(label, data_table("Each with its digest", read, room), open=len(read) <= _FEW) if read else None
        entries.append(el("div", heading(level + 1, text(role, 60)), facts(pairs), shown, more, class_="file"))
    return section(level, anchor(prefix, "files"), "Files", el("div", *entries, class_="files"))


def _limitations(review: Review, prefix: str, level: int) -> Markup | None:
    if not review.limitations:
        return None
    items = [el("li", text(limitation, 600)) for limitation in review.limitations[:_LINES]]
    cut = left_out(len(review.limitations) - len(items), "limitation")
    return section(level, anchor(prefix, "limitations"), "What could not be seen in the files", el("ul", *items), cut)
