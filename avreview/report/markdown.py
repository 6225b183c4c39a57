"""The report as Markdown: a comment on a pull request, or the summary of a CI job.

A comment holds 65,536 characters. Where a report has more, the verdicts, what was not assessed and the worst
findings stay, and a line says what was left out. Nothing that matters is in HTML alone: `<details>` only folds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from avreview.engine.review import Severity, Verdict
from avreview.report.augmentations import NAME as AUGMENTATIONS
from avreview.report.augmentations import table
from avreview.report.markdown_text import code, inline, prose
from avreview.report.page import takes_unicode
from avreview.report.places import everywhere, main_path
from avreview.report.sheet import Sheet
from avreview.report.terminal import MARKS
from avreview.report.values import count, ranges, show, words

if TYPE_CHECKING:
    from avreview.engine.review import Finding, Report, Review

LIMIT = 65_536  # characters
_NAME = 120
_PATH = 200
_ANSWER = 400
_MESSAGE = 600
_VALUES = 400
_PARAGRAPH = 1500
_REASON = 300
_ROWS = 100  # reviews in the table of them
_ENTRIES = 20  # reasons, limitations, unreadable files
_NOTE = 400  # characters that say what was left out
_ALIKE = 10  # findings of one rule


def write(report: Report, stream: TextIO) -> None:
    """Writes the report in at most `LIMIT` characters."""
    sheet = Sheet(LIMIT - _NOTE, unicode=takes_unicode(stream))
    closing = _closing(report)
    sheet.room -= len(sheet.fit(closing))
    if len(report.reviews) > 1:
        sheet.put(_overview(report.reviews), "the table of reviews")
    for number, review in enumerate(report.reviews):
        _put_review(review, sheet, sheet.room // (len(report.reviews) - number))
    sheet.room = LIMIT
    if sheet.left_out:
        what = ", ".join(name if amount == 1 else f"{amount} × {name}" for name, amount in sheet.left_out.items())
        sheet.put(
            f"_Left out, for a comment holds {LIMIT:,} characters: {what}. The HTML, YAML and JSON reports have all._\n"
        )
    sheet.put(closing)
    stream.write("\n".join(sheet.blocks))


def _put_review(review: Review, sheet: Sheet, share: int) -> None:
    """One review, in its share of the room at most."""
    spare = sheet.room - share
    sheet.put(_title(review), "a review's heading", keep=spare)
    sheet.put(_checklist(review), "a review's table of questions", keep=spare)
    tail = [
        (table(review.evidence.get(AUGMENTATIONS)), "what the augmentations did"),
        (_not_assessed(review), "what was not assessed"),
        (_limitations(review), "what could not be seen"),
    ]
    tail = [(block, name) for block, name in tail if block]
    reserved = min(sum(len(sheet.fit(block)) + 1 for block, _ in tail), sheet.room // 3)
    for alike in _groups(review.findings):
        short = _headline(alike, main_path(review))
        if not sheet.put(
            f"{short}\n{_evidence(alike, main_path(review))}", "a finding's evidence", keep=spare + reserved
        ):
            sheet.put(short, "a finding", keep=spare + reserved)
    for block, name in tail:
        sheet.put(block, name, keep=spare)


def _overview(reviews: Sequence[Review]) -> str:
    what = "model" if all("model" in review.subject for review in reviews) else "reviewed"
    lines = [
        f"## avreview: {count(len(reviews), 'review')}\n",
        f"| | {what} | verdict | findings |",
        "|---|---|---|---|",
    ]
    for review in reviews[:_ROWS]:
        name = code(main_path(review), _PATH)
        lines.append(f"| {MARKS[review.verdict]} | {name} | {words(review.verdict)} | {_tally(review)} |")
    if len(reviews) > _ROWS:
        lines.append(f"\n… and {count(len(reviews) - _ROWS, 'more review')}.")
    return "\n".join(lines) + "\n"


def _title(review: Review) -> str:
    path = code(main_path(review), _PATH)
    name = f"{inline(review.title, _NAME)}, {path}" if review.title not in ("", main_path(review)) else path
    lines = [f"## {MARKS[review.verdict]} avreview: {words(review.verdict)}: {name}\n", f"{_tally(review)}.\n"]
    lines += [f"- {inline(role, _NAME)}: {_file(facts)}" for role, facts in review.subject.items()]
    return "\n".join(lines) + "\n"


def _file(facts: object) -> str:
    """`model.onnx`, onnx, sha256 `3f2a9c1b7e04`."""
    known = dict(facts) if isinstance(facts, dict) else {}
    parts = [code(str(known.get("path", "")), _PATH)]
    if known.get("format"):
        parts.append(inline(str(known["format"]), _NAME))
    if known.get("sha256"):
        parts.append("sha256 " + code(str(known["sha256"]).rpartition(":")[2][:12], _NAME))
    return ", ".join(parts)


def _tally(review: Review) -> str:
    found = ", ".join(count(amount, str(kind)) for kind in reversed(Severity) if (amount := review.tally(kind)))
    accepted = sum(not finding.is_open for finding in review.findings)
    undecided = sum(outcome.verdict is Verdict.NOT_ASSESSED for outcome in review.rules)
    rules = len(review.rules)
    parts = [found or "no findings", f"{accepted} accepted" if accepted else ""]
    return "; ".join(filter(None, [*parts, f"{rules - undecided} of {count(rules, 'rule')} assessed"]))


def _checklist(review: Review) -> str:
    lines = ["| | | question | verdict | answer | rules assessed |", "|---|---|---|---|---|---|"]
    for answer in review.checklist:
        if answer.item or answer.verdict in (Verdict.FAIL, Verdict.ATTENTION):
            cells = [
                MARKS[answer.verdict],
                str(answer.item),
                inline(answer.question, _ANSWER),
                words(answer.verdict),
                inline(answer.answer, _ANSWER),
                f"{answer.assessed} of {answer.rules}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """The findings worst first; those of one rule with the same reason and remedy together, to say these once."""
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: (not finding.is_open, -finding.severity, finding.rule)):
        key = (finding.rule, finding.severity, finding.why, finding.remedy, finding.waived, finding.known)
        alike.setdefault(key, []).append(finding)
    return list(alike.values())


def _headline(alike: Sequence[Finding], main: str) -> str:
    finding = alike[0]
    rule = f"{inline(finding.rule, _NAME)} {inline(finding.name, _NAME)}"
    state = str(finding.severity)
    if (waiver := finding.waived) is not None:
        said = f"{waiver.reason} ({waiver.owner}, until {waiver.expires})"
        state += f", waived: {inline(said, _MESSAGE)}"
    elif finding.known:
        state += ", in the baseline"
    more = f" And {count(len(alike) - 1, 'more finding')} of this rule." if len(alike) > 1 else ""
    return f"**{rule}** ({state}): {prose(finding.message, _MESSAGE)}\n\nAt {_where(finding, main)}.{more}\n"


def _where(finding: Finding, main: str) -> str:
    return code(everywhere(finding, main), 3 * _MESSAGE)


def _evidence(alike: Sequence[Finding], main: str) -> str:
    lines = ["<details><summary>Seen, expected, why, and what to do</summary>\n"]
    inset = "  " if len(alike) > 1 else ""
    for finding in alike[:_ALIKE]:
        if inset:
            lines.append(f"- {prose(finding.message, _MESSAGE)} At {_where(finding, main)}.")
        lines.append(f"{inset}- Seen: {code(show(finding.observed), _VALUES)}")
        lines.append(f"{inset}- Expected: {code(show(finding.expected), _VALUES)}")
    if len(alike) > _ALIKE:
        lines.append(f"- … and {count(len(alike) - _ALIKE, 'more finding')}")
    lines += [f"- Why: {prose(alike[0].why, _PARAGRAPH)}"] if alike[0].why else []
    lines += [f"- Do: {prose(alike[0].remedy, _PARAGRAPH)}"] if alike[0].remedy else []
    return "\n".join(lines) + "\n\n</details>\n"


def _not_assessed(review: Review) -> str:
    """Why rules came to no verdict: a row for each reason, the one that touches most rules first."""
    outcomes = [outcome for outcome in review.rules if outcome.verdict is Verdict.NOT_ASSESSED]
    if not outcomes:
        return ""
    title = f"Not assessed: {len(outcomes)} of {count(len(review.rules), 'rule')}"
    lines = [f"<details><summary>{title}</summary>\n", "| reason | rules |", "|---|---|"]
    reasons = Counter(outcome.reason or "no reason given" for outcome in outcomes).most_common()
    for reason, _ in reasons[:_ENTRIES]:
        concerned = ranges(outcome.rule for outcome in outcomes if (outcome.reason or "no reason given") == reason)
        lines.append(f"| {inline(reason, _REASON)} | {inline(concerned, _REASON)} |")
    if more := sum(amount for _, amount in reasons[_ENTRIES:]):
        lines.append(f"\n… and {count(more, 'rule')} for other reasons.")
    return "\n".join(lines) + "\n\n</details>\n"


def _limitations(review: Review) -> str:
    if not review.limitations:
        return ""
    lines = ["What could not be seen in the file:\n"]
    lines += [f"- {prose(limitation, _REASON)}" for limitation in review.limitations[:_ENTRIES]]
    if len(review.limitations) > _ENTRIES:
        lines.append(f"- … and {len(review.limitations) - _ENTRIES} more")
    return "\n".join(lines) + "\n"


def _closing(report: Report) -> str:
    lines = []
    if report.unreadable:
        lines = [f"{MARKS[Verdict.FAIL]} **{count(len(report.unreadable), 'file')} could not be reviewed:**\n"]
        for path, reason in report.unreadable[:_ENTRIES]:
            lines.append(f"- {code(path, _PATH)}: {inline(reason.removeprefix(f'{path}: '), _REASON)}")
        if len(report.unreadable) > _ENTRIES:
            lines.append(f"- … and {len(report.unreadable) - _ENTRIES} more")
        lines.append("")
    digest = code(report.rules_digest.rpartition(":")[2][:12], _NAME)
    lines.append(f"avreview {inline(report.version, _NAME)}, rules {digest}")
    return "\n".join(lines) + "\n"
