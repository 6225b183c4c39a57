"""The findings: one group a rule, with what it means and what to do said once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.review import Answer, Finding, Location, Review
from avreview.report.html.markup import Markup, el, join, paragraphs, text
from avreview.report.html.parts import anchor, facts, fold, heading, label_of, name, section, severity_mark
from avreview.report.html.room import Room, left_out
from avreview.report.values import count, show

_GROUPS = 500
_OF_ONE_RULE = 200
_PLACES = 60
_VALUES = 24
_VALUE = 400
_MESSAGE = 600


class Found(NamedTuple):
    """The section of findings, and where in the page the findings of each rule stand."""

    body: Markup
    anchors: Mapping[str, str]  # by rule id; rules that were cut have none


def findings_section(review: Review, prefix: str, level: int, room: Room) -> Found:
    """Every finding, the worst first, with a form to filter them that appears where scripts run."""
    accepted = sum(not finding.is_open for finding in review.findings)
    title = f"Findings ({len(review.findings)}{f', of which {accepted} accepted' if accepted else ''})"
    id = anchor(prefix, "findings")
    if not review.findings:
        return Found(section(level, id, title, el("p", _nothing_found(review))), {})
    groups = _groups(review.findings)
    anchors: dict[str, str] = {}
    for group in groups:
        anchors.setdefault(group[0].rule, anchor(prefix, group[0].rule))
    seen: set[str] = set()
    undrawn = min(len(groups), _GROUPS)

    def draw(group: Sequence[Finding]) -> Markup:
        nonlocal undrawn
        first = group[0].rule not in seen
        seen.add(group[0].rule)
        share = Room(room.left // undrawn)  # so that no rule's findings crowd out another's
        undrawn -= 1
        return _group(group, review, anchors[group[0].rule] if first else None, level + 1, share)

    drawn, _ = room.fill(groups, draw, _GROUPS)
    cut = sum(map(len, groups[len(drawn) :]))
    parts = [_filters(review, prefix, level) if len(review.findings) > 1 else None, *drawn, left_out(cut, "finding")]
    body = section(level, id, title, el("div", *parts, class_="filtered"))
    return Found(body, {rule: place for rule, place in anchors.items() if rule in seen})


def _nothing_found(review: Review) -> str:
    undecided = sum(str(outcome.verdict) == "not-assessed" for outcome in review.rules)
    if not undecided:
        return "No rule found anything."
    return f"No rule found anything; {undecided} of {count(len(review.rules), 'rule')} could not be assessed."


def _groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one rule and severity with the same reason and remedy, the worst first."""

    def cause(finding: Finding) -> tuple[Any, ...]:
        return -finding.severity, finding.item, finding.rule, finding.why, finding.remedy

    ordered = sorted(findings, key=lambda finding: (-finding.severity, finding.item, finding.rule))
    return [list(group) for _, group in itertools.groupby(ordered, key=cause)]


_STATUS = {"open": "open", "waived": "waived", "known": "in the baseline"}


def status(finding: Finding) -> str:
    """`open`, `waived`, or `known` to the baseline."""
    return "waived" if finding.waived is not None else "known" if finding.known else "open"


def _group(group: Sequence[Finding], review: Review, id: str | None, level: int, room: Room) -> Markup:
    first = group[0]
    title = heading(
        level,
        severity_mark(first.severity), " ", el("span", first.rule, class_="id"), " ",
        el("span", text(first.name.replace("-", " "), 120), class_="rule-name"),
    )  # fmt: skip
    main = str(next(iter(review.subject.values()), {}).get("path", ""))
    drawn, cut = room.fill(group, lambda finding: _finding(finding, main), _OF_ONE_RULE)
    question = f"Question {first.item}: {_question(review.checklist, first.item)}"
    remedy, why = paragraphs(first.remedy), paragraphs(first.why)
    return el(
        "article",
        el("header", title, el("p", question, class_="quiet")),
        *drawn,
        left_out(cut, "finding of this rule", "findings of this rule"),
        el("div", el("p", "What to do", class_="label"), remedy, class_="remedy") if remedy else None,
        fold("Why it matters", why, class_="why") if why else None,
        id=id, class_=f"group {first.severity}", data_severity=str(first.severity), data_item=first.item,
    )  # fmt: skip


def _question(checklist: Sequence[Answer], item: int) -> str:
    return next((answer.question for answer in checklist if answer.item == item), "outside the checklist")


def _finding(finding: Finding, main: str) -> Markup:
    return el(
        "div",
        el("p", text(finding.message, _MESSAGE), class_="message"),
        _accepted(finding),
        facts([("Where", _where(finding.location, main))], "facts where"),
        _also(finding.also, main),
        _compared(finding),
        el("p", "Fingerprint ", el("code", finding.fingerprint), class_="fingerprint"),
        class_="finding",
        data_status=status(finding),
    )


def _accepted(finding: Finding) -> Markup | None:
    """Why the finding does not count, and who says so."""
    if finding.known:
        return el("p", el("strong", "In the baseline:"), " it was there before, and does not count.", class_="accepted")
    if finding.waived is None:
        return None
    waiver = finding.waived
    return el(
        "p", el("strong", f"Waived until {waiver.expires} by ", text(waiver.owner, 120), ":"), " ",
        text(waiver.reason, _MESSAGE), " (", name(waiver.file), f", line {waiver.line})", class_="accepted",
    )  # fmt: skip


def _where(location: Location, main: str) -> Markup:
    """The place in words; the file only where it is not the one that is mainly reviewed, or a line of it is meant."""
    named = (("module", location.module), ("node", location.node), ("tensor", location.tensor))
    parts = [join([f"{kind} ", name(given)]) for kind, given in named if given]
    if location.line is not None:
        parts.insert(0, join([name(location.artifact), f", line {location.line}"]))
    elif not parts:
        parts.append(name(location.artifact))
    elif location.artifact != main:
        parts.append(join(["in ", name(location.artifact)]))
    return join([el("span", part, class_="place") for part in parts], ", ")


def _also(also: Sequence[Location], main: str) -> Markup | None:
    if not also:
        return None
    items = [el("li", _where(location, main)) for location in also[:_PLACES]]
    cut = left_out(len(also) - len(items), "place")
    return fold(f"{count(len(also), 'further place')} of the same cause", el("ul", *items, class_="places"), cut)


def _compared(finding: Finding) -> Markup | None:
    """What was seen beside what was expected, line by line where the two share a name."""
    keys = list(dict.fromkeys([*finding.observed, *finding.expected]))
    if not keys:
        return None
    lines = [
        el(
            "tr",
            el("th", text(key.replace("_", " ") or "(empty)", 80), scope="row"),
            el("td", _value(finding.observed, key)),
            el("td", _value(finding.expected, key)),
        )
        for key in keys[:_VALUES]
    ]
    hat = el("caption", el("span", f"What {finding.rule} saw, and what it expects", class_="unseen"))
    heads = join(el("th", label, scope="col") for label in ("Value", "Seen", "Expected"))
    body = el("table", hat, el("thead", el("tr", heads)), el("tbody", *lines), class_="compared")
    return join([body, left_out(len(keys) - len(lines), "value")])


def _value(values: Mapping[str, Any], key: str) -> Markup:
    if key in values:
        return text(show(values[key]), _VALUE)
    return join([el("span", "–", class_="quiet", aria_hidden="true"), el("span", "not given", class_="unseen")])


def _filters(review: Review, prefix: str, level: int) -> Markup:
    """The form stays hidden until the script shows it: without one, nothing can be filtered, and all is readable."""
    severities = Counter(finding.severity for finding in review.findings)
    boxes = [_box("severity", str(entry), str(entry), severities[entry]) for entry in sorted(severities, reverse=True)]
    statuses = Counter(map(status, review.findings))
    accepted = [_box("status", key, says, statuses[key]) for key, says in _STATUS.items() if statuses[key]]
    items = Counter(finding.item for finding in review.findings)
    titles = {answer.item: answer.title for answer in review.checklist}
    options = [el("option", "All questions", value="")]
    for item, number in sorted(items.items()):
        options.append(el("option", f"{item} · {titles.get(item, 'Outside the checklist')} ({number})", value=item))
    choose, search = anchor(prefix, "filter-question"), anchor(prefix, "filter-text")
    return el(
        "form",
        el("fieldset", el("legend", "Severity"), *boxes),
        el("fieldset", el("legend", "Status"), *accepted) if len(accepted) > 1 else None,
        el("div", el("label", "Question", for_=choose), el("select", *options, id=choose, name="question")),
        el("div", el("label", "Text", for_=search),
           el("input", type="search", id=search, name="words", autocomplete="off", spellcheck="false")),
        el("output", "", for_=search, aria_live="polite"),
        class_="filters", hidden=True, aria_label=label_of("Filter the findings", prefix, level),
    )  # fmt: skip


def _box(field: str, value: str, says: str, number: int) -> Markup:
    return el("label", el("input", type="checkbox", name=field, value=value, checked=True), f" {says} ({number})")
