"""The report for people: on a terminal, in a CI log, or as a text file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from avreview.engine.review import Severity, Verdict
from avreview.report.augmentations import write_augmentations
from avreview.report.brief import write_failing, write_statistics
from avreview.report.circumstances import write_circumstances
from avreview.report.depth import write_depth
from avreview.report.details import write_details
from avreview.report.page import Page, open_page
from avreview.report.places import main_path
from avreview.report.probes import write_probes
from avreview.report.tables import FOLDED
from avreview.report.values import count, ranges, show, size, words
from avreview.report.waivers import write_waivers

if TYPE_CHECKING:
    from rich.text import Text

    from avreview.engine.review import Answer, Report, Review, RuleOutcome

MARKS = {
    Verdict.FAIL: "✗",
    Verdict.ATTENTION: "!",
    Verdict.PASS: "✓",
    Verdict.NOT_ASSESSED: "?",
    Verdict.NOT_APPLICABLE: "–",
}
_WIDE = 114  # columns that a question, its verdict and its coverage need on one line
_PATH = 300  # characters of a path that are shown
_FACT = 120
_FIRST_FACTS = ("path", "format", "producer", "bytes", "sha256")


def write(
    report: Report,
    stream: TextIO,
    *,
    verbose: bool = False,
    quiet: bool = False,
    statistics: bool = False,
    width: int | None = None,
    color: str = "auto",
) -> None:
    """Writes the report as text; `width` and `color` as in `open_page`.

    `quiet` leaves out all but the findings that fail and the closing line; `statistics` adds counts by rule.
    """
    with open_page(stream, width=width, color=color) as page:
        if quiet:
            write_failing(report, page, verbose)
            if statistics:
                write_statistics(report, page)
            page.part()
            _write_outcome(report, page)
        else:
            render(report, page, verbose=verbose, statistics=statistics)


def render(report: Report, page: Page, *, verbose: bool = False, statistics: bool = False) -> None:
    """Writes the report on a page: each review, then a table of them where there are several."""
    digest = report.rules_digest.rpartition(":")[2][:12]
    page.put(page.text(f"avreview {report.version}", "strong"), page.text(f"  rules {digest}", "quiet"))
    if verbose:
        write_circumstances(report, page)
    for number, review in enumerate(report.reviews):
        page.blank()
        if number:
            page.rule(page.prose)
            page.blank()
        _write_review(review, page, verbose)
    if len(report.reviews) > 1:
        _write_files(report.reviews, page)
    if report.unreadable:
        page.heading("Could not be reviewed")
        for path, reason in report.unreadable:
            cause = reason.removeprefix(f"{path}: ")
            page.block(page.text(path, "strong", limit=_PATH), indent=3, lead=page.text(" –"))
            page.block(page.text(cause, limit=600), indent=3)
    write_waivers(report.waivers, page)
    if statistics:
        write_statistics(report, page)
    _write_closing(report, page)


def _write_review(review: Review, page: Page, verbose: bool) -> None:
    _write_title(review, page)
    _write_subject(review.subject, page, verbose)
    page.blank()
    page.block(
        page.join([page.text(f" {words(review.verdict).upper()} ", str(review.verdict)), "  ", _tally(review)]),
        width=page.width,
    )
    _write_checklist(review.checklist, page, verbose)
    write_details(review, page, verbose)
    write_depth(review.evidence.get("signal"), page, verbose)
    write_augmentations(review.evidence.get("augmentations"), page, verbose)
    write_probes(review.evidence.get("probes", ()), page)
    undecided = [outcome for outcome in review.rules if outcome.verdict is Verdict.NOT_ASSESSED]
    _write_reasons("Not assessed", undecided, len(review.rules), page, verbose)
    if verbose:
        absent = [outcome for outcome in review.rules if outcome.verdict is Verdict.NOT_APPLICABLE]
        _write_reasons("Not applicable", absent, len(review.rules), page, verbose)
    _write_limitations(review.limitations, page, verbose)


def _write_title(review: Review, page: Page) -> None:
    """What the configuration calls the review; nothing where that is its file."""
    named = [text for text in (review.title, review.role) if text and text != main_path(review)]
    if named:
        page.block(page.text(" · ".join(named), "strong", limit=2 * _FACT))


def _write_subject(subject: Mapping[str, Mapping[str, Any]], page: Page, verbose: bool) -> None:
    labels = max(map(len, subject), default=0) + 2
    for role, facts in subject.items():
        page.field(role, page.text(str(facts.get("path", "")), "strong", limit=_PATH), indent=0, labels=labels)
        known = [str(facts[name]) for name in ("format", "producer") if facts.get(name)]
        if isinstance(facts.get("bytes"), int):
            known.append(size(facts["bytes"]))
        if facts.get("sha256"):
            known.append(f"sha256 {str(facts['sha256']).rpartition(':')[2][:12]}")
        if known:
            page.block(page.text(" · ".join(known), limit=2 * _FACT), indent=labels)
        if verbose:
            further = {name: fact for name, fact in facts.items() if name not in _FIRST_FACTS and fact is not None}
            for name, fact in further.items():
                page.block(page.text(f"{name.replace('_', ' ')}: {show(fact)}", limit=2 * _FACT), indent=labels)


def _tally(review: Review) -> str:
    """The findings by severity, and how much of the catalogue the verdict rests on."""
    rules = len(review.rules)
    undecided = sum(outcome.verdict is Verdict.NOT_ASSESSED for outcome in review.rules)
    assessed = f"{rules - undecided} of {count(rules, 'rule')} assessed"
    return f"{_severities([review])} · {assessed}"


def _severities(reviews: Sequence[Review]) -> str:
    found = [(str(severity), sum(review.tally(severity) for review in reviews)) for severity in reversed(Severity)]
    return ", ".join(count(amount, word) for word, amount in found if amount) or "no findings"


def _write_checklist(checklist: Iterable[Answer], page: Page, verbose: bool) -> None:
    page.heading("Checklist")
    uninteresting = (Verdict.PASS, Verdict.NOT_APPLICABLE)
    unselected = []
    for answer in checklist:
        if answer.verdict is Verdict.NOT_ASSESSED and not answer.rules and not verbose:
            unselected.append(str(answer.item))
        elif answer.item or verbose or answer.verdict not in uninteresting:
            _write_answer(answer, page)
    if unselected:
        lead = _mark(Verdict.NOT_ASSESSED, page)
        body = page.text(f"Not assessed, because no rule of theirs was selected: {', '.join(unselected)}", "quiet")
        page.block(body, indent=lead.cell_len + 1, lead=lead)


def _write_answer(answer: Answer, page: Page) -> None:
    lead = page.join([_mark(answer.verdict, page), page.text(f"{answer.item:>2} ", "strong")])
    indent = lead.cell_len + 1
    coverage = f"{answer.assessed} of {count(answer.rules, 'rule')}"
    question = page.text(answer.question, "strong")
    if page.width >= _WIDE:
        gap = " " * max(_WIDE - 32 - indent - question.cell_len, 2)
        page.block(
            page.join([question, gap, f"{words(answer.verdict):<16}", page.text(coverage, "quiet")]),
            indent=indent,
            lead=lead,
            width=page.width,
        )
        page.block(page.text(answer.answer, limit=1000), indent=indent)
        return
    page.block(question, indent=indent, lead=lead)
    _beside([page.text(words(answer.verdict)), page.text(coverage, "quiet")], answer.answer, indent, page)


def _beside(left: Sequence[Text], answer: str, indent: int, page: Page) -> None:
    """The answer in a column of its own, with one short text beside each of its first lines."""
    column = max(len("not applicable"), *(part.cell_len for part in left)) + 2
    lines = page.wrap(page.text(answer, limit=1000), page.prose - indent - column)
    for number in range(max(len(left), len(lines))):
        part = left[number] if number < len(left) else page.text("")
        line = lines[number] if number < len(lines) else page.text("")
        page.put(part, " " * (column - part.cell_len), line, indent=indent)


def _mark(verdict: Verdict, page: Page) -> Text:
    style = str(verdict) if str(verdict) in ("fail", "attention", "pass") else "quiet"
    return page.text(f" {MARKS[verdict]} ", style)


def _write_reasons(title: str, outcomes: Sequence[RuleOutcome], rules: int, page: Page, verbose: bool) -> None:
    """Why rules came to no verdict: one entry a reason, the one that touches most rules first."""
    if not outcomes:
        return
    page.heading(f"{title}: {len(outcomes)} of {count(rules, 'rule')}")
    reasons = Counter(outcome.reason or "no reason given" for outcome in outcomes).most_common()
    shown = reasons if verbose else reasons[:FOLDED]
    margin = len(str(shown[0][1])) + 3
    for reason, amount in shown:
        concerned = [outcome for outcome in outcomes if (outcome.reason or "no reason given") == reason]
        lead = page.text(f" {amount:>{margin - 3}}", "strong")
        if verbose:
            page.block(page.text(reason, limit=600), indent=margin, lead=lead)
            for outcome in concerned:
                page.put(page.text(f"{outcome.rule}  {outcome.name}", "quiet"), indent=margin + 2)
        else:
            ids = page.text(ranges(outcome.rule for outcome in concerned), "quiet")
            page.block(page.join([page.text(reason, limit=200), ": ", ids]), indent=margin, lead=lead)
    if left := sum(amount for _, amount in reasons[len(shown) :]):
        more = f"… and {count(left, 'rule')} for other reasons (--verbose lists all)"
        page.block(page.text(more, "quiet"), indent=margin)


def _write_limitations(limitations: Sequence[str], page: Page, verbose: bool) -> None:
    if not limitations:
        return
    page.heading("What could not be seen in the file")
    shown = limitations if verbose else limitations[:FOLDED]
    for limitation in shown:
        page.block(page.text(limitation, limit=600), indent=3, lead=page.text(" –"))
    if len(shown) < len(limitations):
        page.put(page.text(f"… and {len(limitations) - len(shown)} more (--verbose lists all)", "quiet"), indent=3)


def _write_files(reviews: Sequence[Review], page: Page) -> None:
    page.heading(f"All {len(reviews)} reviews")
    margin = len("not applicable") + 6
    paths = [page.text(_path(review), "strong", limit=_PATH) for review in reviews]
    column = max((path.cell_len for path in paths if path.cell_len <= page.width // 3), default=0)
    for review, path in zip(reviews, paths, strict=True):
        lead = page.join([_mark(review.verdict, page), f" {words(review.verdict)}"])
        gap = " " * (max(column - path.cell_len, 0) + 2)
        line = page.join([path, gap, page.text(_tally(review), "quiet")])
        page.block(line, indent=margin, lead=lead, width=page.width)


def _path(review: Review) -> str:
    return next((str(facts["path"]) for facts in review.subject.values() if facts.get("path")), "(no file)")


def _write_closing(report: Report, page: Page) -> None:
    """The last line of a log is the one that is read: what came out, and where to read on."""
    page.blank()
    _write_outcome(report, page)
    found = (finding for review in report.reviews for finding in review.findings)
    worst = max(found, key=lambda finding: finding.severity, default=None)
    if worst is not None:
        hint = f"`avreview explain {worst.rule}` says how the rule decides, and on what sources."
        page.block(page.text(hint, "quiet"))


def _write_outcome(report: Report, page: Page) -> None:
    """`fail: 1 error, 2 notes · 28 of 81 rules assessed`."""
    reviews = report.reviews
    verdicts = Counter(review.verdict for review in reviews)
    outcome = ", ".join(
        words(verdict) if len(reviews) == 1 else f"{verdicts[verdict]} {words(verdict)}"
        for verdict in Verdict
        if verdicts[verdict]
    )
    single = len(reviews) == 1
    tally = _tally(reviews[0]) if single else f"{_severities(reviews)} in {count(len(reviews), 'review')}"
    missing = f"; {count(len(report.unreadable), 'file')} could not be reviewed" if report.unreadable else ""
    page.block(page.join([page.text(f"{outcome or 'nothing reviewed'}: ", "strong"), page.text(f"{tally}{missing}")]))
