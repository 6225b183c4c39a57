"""The sentences of a comparison that the terminal and Markdown share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from avreview.report.diff.structure import counts
from avreview.report.values import count, show, size

if TYPE_CHECKING:
    from avreview.compare.result import Change, Diff, Section, Size

MARKS = {"added": "+", "removed": "−", "changed": "~"}


def headline(diff: Diff) -> str:
    """How the comparison ends, in a few words."""
    found = counts(diff)
    if found["failing"]:
        return f"{count(found['failing'], 'new finding')} at or above {diff.fail_on}"
    if found["new"]:
        return f"{count(found['new'], 'new finding')}, all below {diff.fail_on}"
    return "no new findings"


def tally(diff: Diff) -> str:
    """The findings by kind, and the changes."""
    found = counts(diff)
    words = f"findings: {found['new']} new, {found['gone']} gone, {found['unchanged']} unchanged"
    if found["accepted"]:
        words += f", {found['accepted']} new and accepted"
    if diff.kind == "report":
        return words
    return f"{'identical files' if diff.identical else count(diff.changes, 'change')}; {words}"


def values(change: Change) -> str:
    """What was and what is; "" for a change that is neither."""
    if change.old is None and change.new is None:
        return ""
    if change.kind == "added":
        return show(change.new)
    if change.kind == "removed":
        return show(change.old)
    return f"{_shown(change.old)} → {_shown(change.new)}"


def _shown(value: Any) -> str:
    return "none" if value is None else show(value)


def state(section: Section) -> str:
    """`2 changes`, `no change` or `not compared`."""
    if section.unseen is not None:
        return "not compared"
    return count(len(section.changes), "change") if section.changes else "no change"


def told(section: Section) -> str:
    """What a section says in one sentence."""
    return section.unseen if section.unseen is not None else section.summary


def size_words(entry: Size) -> tuple[str, str, str]:
    """A measure: before, now, and the difference."""
    if entry.old is None or entry.new is None:
        return str(entry.old), str(entry.new), ""
    shown = size if entry.what == "bytes" else "{:,}".format
    gap = entry.new - entry.old
    return shown(entry.old), shown(entry.new), f"{'+' if gap > 0 else '−' if gap < 0 else ''}{shown(abs(gap))}"
