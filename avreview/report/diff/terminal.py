"""What changed, for people: on a terminal, in a log, or as a text file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from avreview.report.diff.words import MARKS, headline, size_words, state, tally, told, values
from avreview.report.page import Page, open_page
from avreview.report.places import everywhere
from avreview.report.values import count, size

if TYPE_CHECKING:
    from avreview.compare.result import Change, Compared, Diff, Findings, Section

_FOLDED = 12  # changes of a section that are shown where not all are asked for
_PATH = 300
_WHERE = 120
_WHAT = 300
_VALUES = 400
_ALSO = 5


def write(diff: Diff, stream: TextIO, *, verbose: bool = False, width: int | None = None, color: str = "auto") -> None:
    """Writes the comparison as text; `width` and `color` as in `open_page`."""
    with open_page(stream, width=width, color=color) as page:
        page.put(page.text(f"avreview {diff.version}", "strong"))
        for word, subject in (("old", diff.old), ("new", diff.new)):
            _write_file(page, word, subject)
        page.blank()
        style = "fail" if diff.failing else "attention" if any(f.new for f in diff.findings) else "pass"
        page.block(page.join([page.text(f" {headline(diff).upper()} ", style), "  ", page.text(tally(diff))]))
        for findings in diff.findings:
            _write_findings(page, findings, verbose, alone=len(diff.findings) == 1)
        for section in diff.sections:
            _write_section(page, section, verbose)
        _write_sizes(page, diff)
        if diff.unreadable:
            page.heading("Not reviewed, says the newer report")
            for path, reason in diff.unreadable:
                page.block(page.text(f"{path}: {reason.removeprefix(f'{path}: ')}", limit=2 * _VALUES), indent=2)


def _write_file(page: Page, word: str, subject: Mapping[str, Any]) -> None:
    page.field(word, page.text(str(subject.get("path", "")), "strong", limit=_PATH), indent=0, labels=5)
    known = [str(subject[name]) for name in ("format", "producer") if subject.get(name)]
    if isinstance(subject.get("bytes"), int):
        known.append(size(subject["bytes"]))
    if subject.get("sha256"):
        known.append(f"sha256 {str(subject['sha256'])[:12]}")
    if known:
        page.block(page.text(" · ".join(known), limit=_VALUES), indent=5)


def _write_findings(page: Page, findings: Findings, verbose: bool, *, alone: bool) -> None:
    page.heading("Findings" if alone else f"Findings in {findings.model}"[:_PATH])
    if findings.old_verdict != findings.new_verdict:
        page.block(
            page.text(f"verdict: {findings.old_verdict or 'not reviewed'} → {findings.new_verdict or 'not reviewed'}")
        )
    for words, entries in (("new", findings.new), ("gone", findings.gone)):
        for entry in entries:
            _write_finding(page, words, entry, findings.model)
    for words, entries in (("new, accepted", findings.accepted), ("unchanged", findings.unchanged)):
        grown = [entry for entry in entries if entry.remark and words == "unchanged"]
        for entry in entries if verbose else grown:
            _write_finding(page, words, entry, findings.model)
        if entries and not verbose:
            rules = ", ".join(dict.fromkeys(entry.finding.rule for entry in entries))
            page.block(page.text(f"{words}: {count(len(entries), 'finding')} ({rules})", limit=_VALUES))
    if not any((findings.new, findings.gone, findings.accepted, findings.unchanged)):
        page.block(page.text("none on either side"))
    for rule, reason in findings.unassessed.items():
        page.block(page.text(f"no longer assessed: {rule}: {reason}", limit=_VALUES))


def _write_finding(page: Page, words: str, entry: Compared, model: str) -> None:
    finding = entry.finding
    lead = page.join([page.text(f" {finding.severity} ", str(finding.severity)), page.text(f" {words}: ", "strong")])
    page.block(page.join([lead, page.text(f"{finding.rule} {finding.name}: {finding.message}", limit=2 * _WHAT)]))
    page.block(page.text(f"at {everywhere(finding, finding.location.artifact)}", limit=_VALUES), indent=2)
    if entry.remark:
        page.block(page.text(entry.remark, limit=_VALUES), indent=2)


def _write_section(page: Page, section: Section, verbose: bool) -> None:
    page.heading(f"{section.title}: {state(section)}")
    if told(section):
        page.block(page.text(told(section), "quiet", limit=_VALUES))
    shown: Sequence[Change] = section.changes if verbose else section.changes[:_FOLDED]
    for change in shown:
        where = page.text(change.where or "(root)", "strong", limit=_WHERE)
        what = page.text(f"  {change.what}", limit=_WHAT)
        page.block(page.join([where, what]), indent=2, lead=page.text(MARKS[change.kind]))
        if words := values(change):
            page.block(page.text(words, limit=_VALUES), indent=4)
        if change.also:
            names = ", ".join(change.also if verbose else change.also[:_ALSO])
            more = "" if verbose or len(change.also) <= _ALSO else ", …"
            limit = None if verbose else _VALUES
            page.block(
                page.text(f"and in {count(len(change.also), 'more place')}: {names}{more}", limit=limit), indent=4
            )
    if len(section.changes) > len(shown):
        more = count(len(section.changes) - len(shown), "more change")
        page.block(page.text(f"… and {more} (--verbose lists all)", "quiet"), indent=2)
    for note in section.notes:
        page.block(page.text(note, "quiet", limit=_VALUES))


def _write_sizes(page: Page, diff: Diff) -> None:
    if not diff.sizes:
        return
    page.heading("Size")
    labels = max(len(entry.what) for entry in diff.sizes) + 2
    for entry in diff.sizes:
        old, new, gap = size_words(entry)
        words = old if entry.old == entry.new else f"{old} → {new} ({gap})"
        page.field(entry.what, page.text(words), indent=0, labels=labels)
