"""What changed, as Markdown for a pull request: a short summary, and tables that are folded.

A comment holds 65,536 characters. Tables give way first, and say how many of their rows are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from avreview.report.diff.words import MARKS, headline, size_words, state, tally, told, values
from avreview.report.markdown import LIMIT
from avreview.report.markdown_text import code, inline, prose
from avreview.report.page import takes_unicode
from avreview.report.places import everywhere
from avreview.report.sheet import Sheet
from avreview.report.values import count

if TYPE_CHECKING:
    from avreview.compare.result import Change, Compared, Diff, Findings, Section

_NAME = 120
_PATH = 200
_WHAT = 300
_VALUES = 300
_NOTE = 400  # characters that say what was left out
_ALSO = 5
_MOST_FINDINGS = 50  # that are shown in full
_MODELS = 50
_UNREADABLE = 20
_ROWS = (1000, 300, 100, 30, 10, 3, 0)  # rows of a table: as many as fit


def write(diff: Diff, stream: TextIO) -> None:
    """Writes the comparison in at most `LIMIT` characters."""
    sheet = Sheet(LIMIT - _NOTE, unicode=takes_unicode(stream))
    sheet.put(_title(diff), "the heading")
    sheet.put(_summary(diff), "the summary")
    sheet.put(_unreadable(diff), "what could not be reviewed")
    several = len(diff.findings) > 1
    for number, findings in enumerate(diff.findings[:_MODELS]):
        _put_findings(sheet, findings, (sheet.room // 2) // (min(len(diff.findings), _MODELS) - number), named=several)
    if len(diff.findings) > _MODELS:
        sheet.put(f"… and {count(len(diff.findings) - _MODELS, 'more model')}.\n", "a line")
    for number, section in enumerate(diff.sections):
        if section.changes or section.notes:
            _put_table(sheet, section, sheet.room // (len(diff.sections) - number))
    sheet.put(_sizes(diff), "sizes")
    sheet.room = LIMIT - sum(len(block) + 1 for block in sheet.blocks)
    if sheet.left_out:
        what = ", ".join(name if amount == 1 else f"{amount} × {name}" for name, amount in sheet.left_out.items())
        sheet.put(f"_Left out, for a comment holds {LIMIT:,} characters: {what}. The JSON form has all._\n")
    stream.write("\n".join(block for block in sheet.blocks if block))


def _title(diff: Diff) -> str:
    mark = "✗" if diff.failing else "!" if any(findings.new for findings in diff.findings) else "✓"
    old, new = (code(str(side.get("path", "")), _PATH) for side in (diff.old, diff.new))
    return f"## {mark} avreview diff: {headline(diff)}\n\n{old} → {new}: {inline(tally(diff), _WHAT)}.\n"


def _summary(diff: Diff) -> str:
    if not diff.sections:
        return ""
    lines = ["| | | |", "|---|---|---|"]
    lines += [
        f"| {inline(section.title, _NAME)} | {state(section)} | {inline(told(section), _WHAT)} |"
        for section in diff.sections
    ]
    return "\n".join(lines) + "\n"


def _unreadable(diff: Diff) -> str:
    if not diff.unreadable:
        return ""
    lines = [f"✗ **{count(len(diff.unreadable), 'file')} could not be reviewed, says the newer report:**\n"]
    for path, reason in diff.unreadable[:_UNREADABLE]:
        lines.append(f"- {code(path, _PATH)}: {inline(reason.removeprefix(f'{path}: '), _WHAT)}")
    if len(diff.unreadable) > _UNREADABLE:
        lines.append(f"- … and {len(diff.unreadable) - _UNREADABLE} more")
    return "\n".join(lines) + "\n"


def _put_findings(sheet: Sheet, findings: Findings, share: int, *, named: bool) -> None:
    """New findings in full, the others folded, in a share of the room."""
    keep = sheet.room - share
    if named:
        verdicts = f"{findings.old_verdict or 'not reviewed'} → {findings.new_verdict or 'not reviewed'}"
        sheet.put(f"### {code(findings.model, _PATH)}: {inline(verdicts, _NAME)}\n", "a model's heading", keep=keep)
    elif findings.old_verdict != findings.new_verdict:
        sheet.put(f"Verdict: {findings.old_verdict} → {findings.new_verdict}.\n", "the verdict", keep=keep)
    for entry in findings.new[:_MOST_FINDINGS]:
        sheet.put(_finding(entry), "a new finding", keep=keep)
    if len(findings.new) > _MOST_FINDINGS:
        sheet.put(f"… and {count(len(findings.new) - _MOST_FINDINGS, 'more new finding')}.\n", "a line", keep=keep)
    for title, entries in (
        ("Gone", findings.gone), ("New and accepted", findings.accepted), ("Unchanged", findings.unchanged)
    ):  # fmt: skip
        if entries:
            head = "| finding | severity | place | |\n|---|---|---|---|"
            _put_folded(sheet, f"{title}: {count(len(entries), 'finding')}", head, entries, _finding_row, keep)
    if findings.unassessed:
        title = f"No longer assessed: {count(len(findings.unassessed), 'rule')}"
        rows = list(findings.unassessed.items())
        head = "| rule | reason |\n|---|---|"
        _put_folded(
            sheet, title, head, rows, lambda row: f"| {inline(row[0], _NAME)} | {inline(row[1], _WHAT)} |", keep
        )


def _finding(entry: Compared) -> str:
    finding = entry.finding
    rule = f"{inline(finding.rule, _NAME)} {inline(finding.name, _NAME)}"
    remark = f" ({inline(entry.remark, _WHAT)})" if entry.remark else ""
    where = code(everywhere(finding, finding.location.artifact), _VALUES)
    return f"**{rule}** ({finding.severity}, new): {prose(finding.message, 2 * _WHAT)}\n\nAt {where}.{remark}\n"


def _finding_row(entry: Compared) -> str:
    finding = entry.finding
    where = code(everywhere(finding, finding.location.artifact), _VALUES)
    rule = f"{inline(finding.rule, _NAME)} {inline(finding.name, _NAME)}"
    return f"| {rule} | {finding.severity} | {where} | {inline(entry.remark, _WHAT)} |"


def _put_table(sheet: Sheet, section: Section, share: int) -> None:
    notes = "".join(f"\n- {inline(note, _WHAT)}" for note in section.notes)
    title = f"{inline(section.title, _NAME)}: {state(section)}"
    if not section.changes:
        if section.unseen is None and section.notes:
            sheet.put(f"<details><summary>{title}</summary>\n{notes}\n\n</details>\n", f"the notes on {section.title}")
        return
    head = "| | where | what | |\n|---|---|---|---|"
    _put_folded(sheet, title, head, section.changes, _change_row, sheet.room - share, notes)


def _change_row(change: Change) -> str:
    where = code(change.where or "(root)", _NAME)
    what = inline(change.what, _WHAT)
    if change.also:
        names = ", ".join(change.also[:_ALSO]) + (", …" if len(change.also) > _ALSO else "")
        what += f", and in {count(len(change.also), 'more place')}: {code(names, _VALUES)}"
    told_ = values(change)
    return f"| {MARKS[change.kind]} | {where} | {what} | {code(told_, _VALUES) if told_ else ''} |"


def _put_folded(
    sheet: Sheet,
    title: str,
    head: str,
    entries: Sequence[object],
    row: Callable[..., str],
    keep: int,
    notes: str = "",
) -> None:
    """A folded table with as many rows as fit."""
    rows = [row(entry) for entry in entries[: _ROWS[0]]]
    for amount in _ROWS:
        more = len(entries) - amount
        lines = [f"<details><summary>{title}</summary>\n", head, *rows[:amount]]
        if more > 0:
            lines.append(f"\n… and {more} more.")
        block = "\n".join(lines) + (f"\n{notes}" if notes else "") + "\n\n</details>\n"
        if sheet.fits(block, keep):
            sheet.put(block, title, keep=keep)
            return
    sheet.left_out[title] += 1


def _sizes(diff: Diff) -> str:
    if not diff.sizes:
        return ""
    lines = ["<details><summary>Size</summary>\n", "| | before | now | |", "|---|---|---|---|"]
    lines += [f"| {entry.what} | {' | '.join(size_words(entry))} |" for entry in diff.sizes]
    return "\n".join(lines) + "\n\n</details>\n"
