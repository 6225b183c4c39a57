"""What SARIF says of the rules themselves: their cards, so that a forge shows why a rule matters and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from avreview.engine.cards import catalogue
from avreview.engine.review import Severity
from avreview.report.escape import plain

if TYPE_CHECKING:
    from avreview.engine.cards import Card
    from avreview.engine.review import Finding, Review, RuleOutcome

_SHORT = 1024  # characters that GitHub keeps of a description
_PARAGRAPH = 4000
_PROBLEM = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "recommendation"}
# Only code that runs when a checkpoint is loaded is a matter of security: GitHub makes security alerts of the rules
# that are named here. The score is that of a file from elsewhere which runs code once somebody loads it
# (CVSS 3.1 AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H).
_SECURITY = {"AV003": "8.8"}
_PRECISION = "high"  # a rule that is often wrong does not ship


def descriptors(reviews: Iterable[Review]) -> list[dict[str, Any]]:
    """A `reportingDescriptor` for each rule that was selected in any of the reviews, in the order of their ids."""
    outcomes: dict[str, RuleOutcome] = {}
    findings: dict[str, Finding] = {}
    for review in reviews:
        outcomes.update({outcome.rule: outcome for outcome in review.rules})
        findings.update({finding.rule: finding for finding in review.findings})
    cards = catalogue().cards
    return [
        _descriptor(outcomes.get(rule), findings.get(rule), cards.get(rule)) for rule in sorted({*outcomes, *findings})
    ]


def _descriptor(outcome: RuleOutcome | None, finding: Finding | None, card: Card | None) -> dict[str, Any]:
    said = outcome or finding
    assert said is not None  # it came from one of them
    name = plain(said.name, 255)
    severity = card.severity if card else finding.severity if finding else Severity.WARNING
    sections = _sections(card, finding)
    summary = _line(card.summary if card else name, _SHORT)
    why = _line(sections.get("Why it matters", summary), _SHORT)
    security = {"security-severity": _SECURITY[said.rule]} if said.rule in _SECURITY else {}
    tags = ["model-review", f"item-{said.item}", *(["security"] if security else [])]
    return {
        "id": said.rule,
        "name": name,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": why or summary},
        "help": _help(sections) if sections else {"text": summary},
        "defaultConfiguration": {"level": str(severity)},
        "properties": {"tags": tags, "precision": _PRECISION, "problem.severity": _PROBLEM[severity], **security},
    }


def _sections(card: Card | None, finding: Finding | None) -> dict[str, str]:
    """The parts of a rule's help by title; of a rule without a card, what its finding says."""
    if card is not None:
        parts = {
            "Why it matters": card.why,
            "How it is decided": card.decides,
            "What to do": card.remedy,
            "What it cannot see": card.blind_spots,
            "When to suppress it": card.suppress_when,
        }
    elif finding is not None:
        parts = {"Why it matters": finding.why, "What to do": finding.remedy}
    else:
        parts = {}
    return {title: text for title, text in parts.items() if text}


def _help(sections: Mapping[str, str]) -> dict[str, str]:
    bodies = {
        title: "\n".join(plain(line, _PARAGRAPH) for line in text.split("\n")) for title, text in sections.items()
    }
    return {
        "text": "\n\n".join(f"{title}\n{body}" for title, body in bodies.items()),
        "markdown": "\n\n".join(f"**{title}**\n\n{body}" for title, body in bodies.items()),
    }


def _line(text: str, limit: int) -> str:
    """Running text on one line, cut at its end."""
    line = plain(" ".join(text.split())[: 2 * limit])
    return line if len(line) <= limit else f"{line[: limit - 2].rsplit(' ', 1)[0]} …"
