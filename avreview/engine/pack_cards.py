"""The cards of a rule pack, held to what tests hold ours to: who wrote them is told before a review begins."""

from __future__ import annotations

from pathlib import Path

from avreview.engine.cards import Card, Catalogue
from avreview.engine.packs import Pack, PackError
from avreview.errors import AvreviewError

_WHOLE = ("summary", "why", "decides", "remedy")


def cards_of(pack: Pack, among: Catalogue) -> dict[str, Card]:
    """The pack's cards by id. Raises PackError for one that is wrong, or has an id or a name that another rule has."""
    folder = pack.folder / "rules"
    paths = sorted(folder.glob("*/*.yaml"))
    if not paths:
        raise pack.wrong(f"has no rule cards; they are named {folder}/4-…/{pack.prefix}401-its-name.yaml")
    cards: dict[str, Card] = {}
    for path in paths:
        card = _card(pack, path)
        for other in (*among, *cards.values()):
            if card.name == other.name or card.id == other.id:
                raise pack.wrong(f"brings {card.id} {card.name}, and {other.id} {other.name} is there: {other.path}")
        cards[card.id] = card
    return cards


def _card(pack: Pack, path: Path) -> Card:
    """The card in a file of the pack, looked through once."""
    try:
        card = Card(path)
        if card.prefix != pack.prefix:
            raise pack.wrong(f"has a card {path.name}, and its rules are {pack.prefix}nnn")
        if not path.parent.name.startswith(f"{card.item}-"):
            raise pack.wrong(f"has {card.id} in the folder {path.parent.name}, and its first digit says {card.item}-…")
        problem = _problem(card)
    except PackError:
        raise
    except AvreviewError as error:
        raise pack.wrong(f"has a card that cannot be used: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise pack.wrong(f"has a card that cannot be used: {path}: {type(error).__name__}: {error}") from None
    if problem:
        raise pack.wrong(f"has a card that cannot be used: {path}: {problem}")
    return card


def _problem(card: Card) -> str | None:
    """What is wrong with a card, if anything."""
    from avreview.engine.reasons import SUPPLIES

    missing = [key for key in _WHOLE if not getattr(card, key)]
    if missing:
        return f"does not say its {', '.join(missing)}"
    try:
        _ = card.severity
    except (AttributeError, KeyError):
        return "its severity is none of error, warning, note"
    words = [word for way in card.needs for word in way]
    unknown = [word for word in words if word not in SUPPLIES]
    if unknown:
        return f"`needs` names {', '.join(map(str, unknown))}; there are {', '.join(SUPPLIES)}"
    for name, threshold in card.thresholds.items():
        if isinstance(threshold.value, bool) or not isinstance(threshold.value, int | float):
            return f"the threshold {name} is no number"
    return None
