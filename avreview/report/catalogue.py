"""The rule catalogue in words: `avreview rules` lists it, and `avreview explain` prints one card whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from avreview.errors import UsageError
from avreview.report.json_format import dumps
from avreview.report.page import Page, open_page
from avreview.report.prose import write_code, write_prose
from avreview.report.values import count, number
from avreview.report.yaml_format import write_structure

if TYPE_CHECKING:
    from avreview.engine.cards import Card, Catalogue, Source

RULES_SCHEMA = "avreview/rules/1"
CARD_SCHEMA = "avreview/rule/1"
CARDS_SCHEMA = "avreview/cards/1"
_NEEDS = {
    "graph": "an ONNX graph",
    "weights": "weights (an export or a checkpoint)",
    "module-tree": "a module tree (a pickled module, TorchScript or an exported program)",
    "optimizer-state": "a checkpoint with optimizer state",
    "pretrained-base": "the pretrained base",
    "checkpoint": "the checkpoint behind the export",
    "recipe": "the training recipe",
    "manifests": "the lists of what each split holds",
    "running": "the model to be run",
    "reference-model": "a reference PyTorch model",
    "input-data": "input data",
    "augmentation": "the augmentation to be run",
    "modality": "the modality of each input",
}
_MARGIN = 3
_NEEDS_AT = 66  # the column in which a wide page says what a rule needs
_WIDE = _NEEDS_AT + 54
_DECIDED = "decided by this version"
_PLANNED = "planned: this version knows the rule and cannot decide it yet, so that it is reported as not assessed"


def write_rules(
    catalogue: Catalogue,
    stream: TextIO,
    *,
    rules: Iterable[str] | None = None,
    format: str = "terminal",
    width: int | None = None,
    color: str = "auto",
) -> None:
    """Lists the rules by question: id, severity, name, what each needs and whether this version decides it.

    `rules` restricts the list to these ids; `format` is terminal, yaml or json.
    """
    if format != "terminal":
        write_data(catalogue_dict(catalogue, rules), format, stream)
        return
    cards = _chosen(catalogue, rules)
    with open_page(stream, width=width, color=color) as page:
        for item, question in catalogue.questions.items():
            if asked := [card for card in cards if card.item == item]:
                page.heading(f"{item}  {question.question}")
                for card in asked:
                    _write_row(card, page)
        planned = sum(card.planned for card in cards)
        page.blank()
        page.block(page.join([
            page.text(f"{count(len(cards), 'rule')}: ", "strong"),
            page.text(f"{len(cards) - planned} decided by this version, {planned} planned."),
        ]))  # fmt: skip
        page.block(page.text(f"`avreview explain {cards[0].id if cards else 'AV301'}` prints a rule whole.", "quiet"))


def write_card(
    card: Card,
    catalogue: Catalogue,
    stream: TextIO,
    *,
    format: str = "terminal",
    width: int | None = None,
    color: str = "auto",
) -> None:
    """Prints a card so that nobody has to look further: what, why, how it is decided, what to do, on what sources.

    `format` is terminal, yaml or json.
    """
    if format != "terminal":
        write_data(card_dict(card, catalogue), format, stream)
        return
    with open_page(stream, width=width, color=color) as page:
        _write_whole(card, catalogue, page)


def write_cards(
    cards: Iterable[Card],
    catalogue: Catalogue,
    stream: TextIO,
    *,
    format: str = "terminal",
    width: int | None = None,
    color: str = "auto",
) -> None:
    """Prints several cards one after the other; as yaml or json, one document with all of them under `cards`."""
    if format != "terminal":
        document = {"schema": CARDS_SCHEMA, "cards": [card_dict(card, catalogue) for card in cards]}
        write_data(document, format, stream)
        return
    with open_page(stream, width=width, color=color) as page:
        for number, card in enumerate(cards):
            if number:
                page.blank()
                page.blank()
            _write_whole(card, catalogue, page)


def write_data(structure: Mapping[str, Any], format: str, stream: TextIO) -> None:
    """Writes plain data as yaml or json. Raises UsageError for another format."""
    if format == "yaml":
        write_structure(structure, stream)
    elif format == "json":
        stream.write(dumps(structure))
    else:
        raise UsageError(f"no format is called {format!r}; there are terminal, yaml, json")


def catalogue_dict(catalogue: Catalogue, rules: Iterable[str] | None = None) -> dict[str, Any]:
    """The list of rules as plain data: what `write_rules` prints."""
    return {
        "schema": RULES_SCHEMA,
        "digest": catalogue.digest,
        "questions": [
            {"item": item, "title": question.title, "question": question.question}
            for item, question in catalogue.questions.items()
        ],
        "rules": [_summary_dict(card) for card in _chosen(catalogue, rules)],
    }


def card_dict(card: Card, catalogue: Catalogue) -> dict[str, Any]:
    """A whole card as plain data: what `write_card` prints."""
    return {
        "schema": CARD_SCHEMA,
        **_summary_dict(card),
        "question": catalogue.questions[card.item].question,
        "why": card.why,
        "decides": card.decides,
        "thresholds": {
            name: {"value": entry.value, "unit": entry.unit, "meaning": entry.meaning, "source": entry.source}
            for name, entry in card.thresholds.items()
        },
        "bad": card.bad,
        "good": card.good,
        "remedy": card.remedy,
        "blind_spots": card.blind_spots,
        "suppress_when": card.suppress_when,
        "sources": [_source_dict(catalogue.cite(reference)) for reference in card.sources],
    }


def _chosen(catalogue: Catalogue, rules: Iterable[str] | None) -> list[Card]:
    wanted = None if rules is None else set(rules)
    return [card for card in catalogue if wanted is None or card.id in wanted]


def _summary_dict(card: Card) -> dict[str, Any]:
    return {
        "id": card.id,
        "name": card.name,
        "item": card.item,
        "severity": str(card.severity),
        "planned": card.planned,
        "needs": [list(entry) for entry in card.needs],
        "summary": card.summary,
    }


def _source_dict(source: Source) -> dict[str, Any]:
    entry = {
        "id": source.id,
        "title": source.title,
        "authors": source.authors,
        "year": source.year,
        "place": source.place,
        "url": source.url,
    }
    return {key: value for key, value in entry.items() if value not in (None, "")}


def _write_row(card: Card, page: Page) -> None:
    severity = str(card.severity)
    head = page.join([
        page.text(card.id, "strong"), " ", page.text(f" {severity} ", severity), " " * (8 - len(severity)),
        page.text(card.name, "strong"), page.text("  planned" if card.planned else "", "quiet"),
    ])  # fmt: skip
    needs = page.text(f"needs {_alternatives(card.needs)}", "quiet")
    wide = page.width >= _WIDE
    page.put(head, " " * max(_NEEDS_AT - head.cell_len, 2), needs if wide else "", indent=1)
    page.block(page.text(" ".join(card.summary.split())), indent=8)
    if not wide:
        page.block(needs, indent=8)


def _alternatives(needs: Sequence[Sequence[str]]) -> str:
    """`weights + graph, or weights + module tree`."""
    return ", or ".join(" + ".join(word.replace("-", " ") for word in entry) for entry in needs) or "nothing"


def needs_in_words(needs: Sequence[Sequence[str]]) -> str:
    """What has to be had, in full words."""
    whole = [" and ".join(_NEEDS.get(word, word) for word in entry) for entry in needs]
    if not whole:
        return "Nothing but the artifact."
    if len(whole) == 1:
        return f"{whole[0][0].upper()}{whole[0][1:]}."
    return "One of these is enough:\n" + "\n".join(f"- {entry}" for entry in whole)


def _write_whole(card: Card, catalogue: Catalogue, page: Page) -> None:
    _write_head(card, catalogue, page)
    _section(page, "Why it matters", card.why)
    _section(page, "How it is decided", card.decides)
    _write_thresholds(card, page)
    _code(page, "Bad", card.bad)
    _code(page, "Good", card.good)
    _section(page, "What to do", card.remedy)
    _section(page, "What it cannot see", card.blind_spots)
    _section(page, "When to suppress it", card.suppress_when)
    _title(page, "What it needs")
    write_prose(page, needs_in_words(card.needs), indent=_MARGIN)
    _write_sources(card, catalogue, page)


def _write_head(card: Card, catalogue: Catalogue, page: Page) -> None:
    severity = str(card.severity)
    page.put(page.text(f"{card.id} {card.name}", "heading"))
    page.rule(min(len(card.id) + 1 + len(card.name), page.prose))
    write_prose(page, card.summary, indent=0, style="strong")
    page.blank()
    labels = len("question") + 2
    page.put(page.text("severity", "quiet"), " ", page.text(f" {severity} ", severity))
    question = f"{card.item}  {catalogue.questions[card.item].question}"
    page.field("question", page.text(question), indent=0, labels=labels)
    page.field("state", page.text(_PLANNED if card.planned else _DECIDED), indent=0, labels=labels)


def _title(page: Page, words: str) -> None:
    page.blank()
    page.put(page.text(words, "heading"))


def _section(page: Page, title: str, text: str) -> None:
    if text:
        _title(page, title)
        write_prose(page, text, indent=_MARGIN)


def _code(page: Page, title: str, text: str) -> None:
    if text:
        _title(page, title)
        write_code(page, text, indent=_MARGIN)


def _write_thresholds(card: Card, page: Page) -> None:
    if not card.thresholds:
        return
    _title(page, "Thresholds")
    for name, threshold in card.thresholds.items():
        value = number(threshold.value) if isinstance(threshold.value, float) else str(threshold.value)
        page.put(page.text(f"{name} ", "strong"), page.text(f"= {value} {threshold.unit}"), indent=_MARGIN)
        write_prose(page, threshold.meaning, indent=2 * _MARGIN)
        page.block(page.text(" ".join(f"Source: {threshold.source}".split()), "quiet"), indent=2 * _MARGIN)


def _write_sources(card: Card, catalogue: Catalogue, page: Page) -> None:
    if not card.sources:
        return
    _title(page, "Sources")
    for reference in card.sources:
        source = catalogue.cite(reference)
        known = [source.authors, str(source.year or ""), source.place]
        details = ", ".join(part for part in known if part)
        lead = page.text(" " * (_MARGIN - 2) + "–")
        title = f"{source.title}{'. ' + details if details else ''}"
        page.block(page.text(title), indent=_MARGIN, lead=lead)
        if source.url:
            page.put(page.text(source.url, "quiet"), indent=_MARGIN)
