"""The nine questions: all at a glance, and each with its answer, its table and its rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from avreview.engine.review import Answer, Review, RuleOutcome, Verdict
from avreview.report.html.markup import Markup, el, join, text
from avreview.report.html.parts import (
    anchor,
    data_table,
    fold,
    heading,
    label_of,
    options_in,
    section,
    table,
    verdict_mark,
)
from avreview.report.html.room import Room
from avreview.report.values import count, words

_ANSWER = 1000
_REASON = 600
_RULES = 500


def glance(review: Review, prefix: str, level: int) -> Markup:
    """One tile a question: its number, what it is about and its verdict, leading to the answer."""
    tiles = [
        el(
            "li",
            el(
                "a",
                el("span", str(answer.item), class_="item"),
                el("span", text(answer.title, 60), class_="title"),
                verdict_mark(answer.verdict),
                href=f"#{anchor(prefix, 'question', answer.item)}",
            ),
            class_=str(answer.verdict),
        )
        for answer in review.checklist
    ]
    return el("nav", el("ul", *tiles, class_="glance"), aria_label=label_of("The questions at a glance", prefix, level))


def questions_section(review: Review, prefix: str, level: int, anchors: Mapping[str, str], room: Room) -> Markup:
    """Every question with what the review says to it; `anchors` leads to the findings of each rule."""
    asked = [_question(answer, review, prefix, level + 1, anchors, room) for answer in review.checklist]
    return section(level, anchor(prefix, "questions"), "Questions and answers", el("div", *asked, class_="questions"))


def _question(
    answer: Answer, review: Review, prefix: str, level: int, anchors: Mapping[str, str], room: Room
) -> Markup:
    number = el("span", str(answer.item), class_="item")
    own = [outcome for outcome in review.rules if outcome.item == answer.item]
    title = text(answer.title, 60)
    evidence = None
    if answer.table:
        body = data_table(f"What the answer to question {answer.item} rests on", answer.table, room)
        evidence = fold(f"Table: {count(len(answer.table), 'row')}", body)
    return el(
        "article",
        heading(level, number, " ", text(answer.question, 300)),
        el("p", verdict_mark(answer.verdict), " ",
           el("span", f"{answer.assessed} of {count(answer.rules, 'rule')} assessed", class_="quiet"), class_="ends"),
        el("p", options_in(answer.answer, _ANSWER), class_="answer"),
        _leads(answer, review, anchors),
        evidence,
        _rules(own, f"Rules of question {answer.item}: {title}") if own else None,
        id=anchor(prefix, "question", answer.item), class_="question",
    )  # fmt: skip


def _leads(answer: Answer, review: Review, anchors: Mapping[str, str]) -> Markup | None:
    """Links to the findings of the question, by rule."""
    found = Counter(finding.rule for finding in review.findings if finding.item == answer.item)
    if not found:
        return None
    links = [
        join([el("a", rule, href=f"#{anchors[rule]}") if rule in anchors else text(rule, 40),
              f" ({number})" if number > 1 else ""])
        for rule, number in sorted(found.items())
    ]  # fmt: skip
    return el("p", "Findings: ", join(links, ", "), class_="leads")


def _rules(outcomes: Sequence[RuleOutcome], caption: str) -> Markup:
    lines = [
        el(
            "tr",
            el("th", el("span", text(outcome.rule, 40), class_="id"), scope="row"),
            el("td", text(outcome.name.replace("-", " "), 120)),
            el("td", verdict_mark(outcome.verdict)),
            el("td", options_in(outcome.reason or "", _REASON), class_="reason"),
        )
        for outcome in outcomes[:_RULES]
    ]
    heads = [("Rule", False), ("What it looks for", False), ("Verdict", False), ("Reason", False)]
    return fold(f"Rules: {_tally(outcomes)}", table(str(caption), heads, lines, hidden_caption=True))


def _tally(outcomes: Sequence[RuleOutcome]) -> str:
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    return ", ".join(f"{verdicts[verdict]} {words(verdict)}" for verdict in Verdict if verdicts[verdict])


def reasons_section(review: Review, prefix: str, level: int, verdict: Verdict, title: str, lead: str) -> Markup | None:
    """Why rules came to no verdict: one entry a reason, the one that touches most rules first."""
    outcomes = [outcome for outcome in review.rules if outcome.verdict is verdict]
    if not outcomes:
        return None
    by_reason: dict[str, list[RuleOutcome]] = {}
    for outcome in outcomes:
        by_reason.setdefault(outcome.reason or "no reason given", []).append(outcome)
    ordered = sorted(by_reason.items(), key=lambda entry: -len(entry[1]))
    items = [
        el(
            "li",
            el("p", el("strong", str(len(concerned))), " ", options_in(reason, _REASON)),
            el("p", join([_named(outcome) for outcome in concerned], ", "), class_="quiet"),
        )
        for reason, concerned in ordered[:_RULES]
    ]
    heading_ = f"{title} ({len(outcomes)} of {count(len(review.rules), 'rule')})"
    return section(
        level, anchor(prefix, str(verdict)), heading_, el("p", lead, class_="lead"), el("ul", *items, class_="reasons")
    )


def _named(outcome: RuleOutcome) -> Markup:
    return join([el("span", text(outcome.rule, 40), class_="id"), " ", text(outcome.name.replace("-", " "), 120)])
