"""Rule cards: what a person needs to know of a rule, read from YAML.

A card's id, name and item stand in its path (`3-batch-statistics/AV301-batch-statistics-at-inference.yaml`), so the
catalogue can be listed and selected from without parsing a file; the rest is read when it is asked for.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview import __version__
from avreview.engine.card_files import load_yaml, parse_yaml, read_with_digest
from avreview.engine.review import RulePack, Severity
from avreview.errors import AvreviewError, UsageError

if TYPE_CHECKING:
    from avreview.engine.packs import Pack

_TOP_LEVEL = re.compile(r"^(?=[a-z_]+:)", re.MULTILINE)
_CARD_NAME = re.compile(r"([A-Z]{2,12})(\d{3})-([a-z0-9-]+)$")
PACKS = "avreview.packs"  # the group of entry points by which other distributions bring rules
PREFIX = "AV"  # of the ids of our own rules; each rule pack has one of its own


class Threshold(NamedTuple):
    """A number that decides: its value and unit, what it means, and where it was measured or published."""

    value: float
    unit: str
    meaning: str
    source: str


# The room of checks (`engine.checks.ROOMS`) that decides by each word of a card's `needs`; a way to decide a rule
# belongs to the first room of this order that one of its words names.
_ROOMS = {
    "augmentation": {"augmentation"},
    "recipe": {"recipe", "manifests"},
    "probes": {"running", "reference-model", "input-data"},
    "checkpoint": {"checkpoint", "module-tree", "optimizer-state", "pretrained-base"},
}


class Thresholds:
    """A card's thresholds by name: `limits.max_batches_tracked`."""

    def __init__(self, rule: str, values: Mapping[str, Threshold]) -> None:
        self._rule = rule
        self._values = values

    def __getattr__(self, name: str) -> float:
        try:
            return self._values[name].value
        except KeyError:
            raise AvreviewError(f"rule card {self._rule} has no threshold {name!r}") from None


class Question(NamedTuple):
    """One item of the checklist."""

    item: int
    folder: str
    title: str
    question: str


class Source(NamedTuple):
    """A publication, an issue or a text that cards cite, and the place in it."""

    id: str
    title: str
    authors: str = ""
    year: int | None = None
    url: str = ""
    place: str = ""


class Card:
    """One rule card. `id`, `name` and `item` come from the path; everything else is read on first use.

    `severity` and `thresholds` take the place of what the file says.
    """

    def __init__(
        self, path: Path, severity: Severity | None = None, thresholds: Mapping[str, float] | None = None
    ) -> None:
        match = _CARD_NAME.match(path.stem)
        if match is None:
            raise AvreviewError(f"{path}: a rule card's file is named AVnnn-the-rules-name.yaml")
        self.path = path
        self.prefix, digits, self.name = match.groups()
        self.id = self.prefix + digits
        self.item = int(digits[0])
        self._severity = severity
        self._thresholds = thresholds or {}

    def __repr__(self) -> str:
        return f"<Card {self.id} {self.name}>"

    @functools.cached_property
    def _read(self) -> tuple[str, str]:
        return read_with_digest(self.path)

    @property
    def content(self) -> str:
        """The file's text."""
        return self._read[0]

    @property
    def sha256(self) -> str:
        """The digest of the file's bytes as they were read."""
        return self._read[1]

    @functools.cached_property
    def _sections(self) -> Mapping[str, str]:
        """The text of each top-level key, so that a review parses only what it needs: a key or two of each card."""
        sections = {part.partition(":")[0]: part for part in _TOP_LEVEL.split(self.content)}
        stated = [sections.get(key, "").split()[1:] for key in ("id", "name")]
        if stated != [[self.id], [self.name]]:
            raise AvreviewError(f"{self.path}: the card's id and name differ from its file name")
        return sections

    def _value(self, key: str) -> Any:
        section = self._sections.get(key)
        return None if section is None else parse_yaml(self.path, section)[key]

    def _text(self, key: str) -> str:
        return str(self._value(key) or "").strip()

    @property
    def severity(self) -> Severity:
        return self._severity or Severity.parse(self._value("severity"))

    @property
    def planned(self) -> bool:
        """True when this version knows the rule but cannot decide it yet."""
        return bool(self._value("planned"))

    @property
    def needs(self) -> Sequence[Sequence[str]]:
        """What has to be had: any one of the outer entries, each of them all of its words."""
        return [[entry] if isinstance(entry, str) else list(entry) for entry in self._value("needs")]

    @property
    def summary(self) -> str:
        return self._text("summary")

    @property
    def why(self) -> str:
        return self._text("why")

    @property
    def decides(self) -> str:
        return self._text("decides")

    @property
    def bad(self) -> str:
        return self._text("bad")

    @property
    def good(self) -> str:
        return self._text("good")

    @property
    def remedy(self) -> str:
        return self._text("remedy")

    @property
    def blind_spots(self) -> str:
        return self._text("blind_spots")

    @property
    def suppress_when(self) -> str:
        return self._text("suppress_when")

    @functools.cached_property
    def thresholds(self) -> Mapping[str, Threshold]:
        stated = {name: Threshold(**fields) for name, fields in (self._value("thresholds") or {}).items()}
        configured = {
            name: stated[name]._replace(value=value, source="set in the configuration")
            for name, value in self._thresholds.items()
        }
        return {**stated, **configured}

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms of checks that can decide the rule, one for each way; empty in it is a way that takes none."""
        return frozenset(next((room for room, words in _ROOMS.items() if words & set(way)), "") for way in self.needs)

    @property
    def limits(self) -> Thresholds:
        return Thresholds(self.id, self.thresholds)

    @property
    def sources(self) -> Sequence[str]:
        """What the card cites, as written: an id of `sources.yaml` and perhaps a place in it."""
        return list(self._value("sources") or ())


class Catalogue:
    """All rule cards of a folder, with the checklist's questions and the sources they cite."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folders: tuple[Path, ...] = ()  # further ones
        self.installed: tuple[Pack, ...] = ()  # rule packs of other distributions
        self.cards = _cards(folder)

    def with_packs(self, packs: Sequence[Pack]) -> Catalogue:
        """This catalogue with the cards of rule packs. Raises PackError for one that is not as it has to be."""
        from avreview.engine.pack_cards import cards_of

        changed = self._changed()
        for pack in packs:
            changed.installed += (pack,)
            changed.cards |= cards_of(pack, changed)
        changed.cards = dict(sorted(changed.cards.items()))
        return changed

    @property
    def prefixes(self) -> frozenset[str]:
        """What the ids of its rules begin with."""
        return frozenset({PREFIX, *(pack.prefix for pack in self.installed)})

    def _changed(self) -> Catalogue:
        """A copy whose cards may be changed."""
        changed = copy.copy(self)
        changed.cards = dict(self.cards)
        for derived in ("digest", "_sources"):
            changed.__dict__.pop(derived, None)
        return changed

    def with_folders(self, folders: Iterable[Path]) -> Catalogue:
        """This catalogue with the cards of further folders; one with a known id takes the place of the other."""
        changed = self._changed()
        for folder in folders:
            changed.folders += (folder,)
            changed.cards |= _cards(folder, self.prefixes)
        changed.cards = dict(sorted(changed.cards.items()))
        return changed

    def configured(
        self, severities: Mapping[str, Severity | None], thresholds: Mapping[str, Mapping[str, float]]
    ) -> Catalogue:
        """This catalogue with other severities and thresholds by rule id. Its digest stays that of the cards."""
        changed = copy.copy(self)
        touched = severities.keys() | thresholds.keys()
        changed.cards = {
            rule: Card(card.path, severities.get(rule), thresholds.get(rule)) if rule in touched else card
            for rule, card in self.cards.items()
        }
        return changed

    def __iter__(self) -> Iterator[Card]:
        return iter(self.cards.values())

    def __getitem__(self, rule: str) -> Card:
        return self.cards[rule]

    @functools.cached_property
    def questions(self) -> Mapping[int, Question]:
        return {entry["item"]: Question(**entry) for entry in load_yaml(self.folder / "checklist.yaml")}

    @functools.cached_property
    def digest(self) -> str:
        """sha256 over names and bytes of every card, so that a report tells which rules made it."""
        return _digest(self)

    def packs(self) -> list[RulePack]:
        """The cards by where they come from: those that come with avreview, of rule packs, of each further folder.

        The digest of an installed pack is over all its files, for its checks decide as much as its cards.
        """
        found = [RulePack("avreview", __version__, len(shipped().cards), shipped().digest)]
        for pack in self.installed:
            count = sum(card.prefix == pack.prefix for card in self)
            found.append(RulePack(pack.name, pack.version, count, pack.digest))
        for folder in self.folders:
            cards = list(_cards(folder, self.prefixes).values())
            found.append(RulePack(str(folder), None, len(cards), _digest(cards)))
        return found

    @property
    def own(self) -> list[Card]:
        """The cards in use that do not come with avreview."""
        return [card for card in self if any(folder in card.path.parents for folder in self.folders)]

    def cite(self, reference: str) -> Source:
        """The source behind a citation such as `ioffe-szegedy-2015 §3.1`."""
        source, _, place = reference.partition(" ")
        entry = self._sources.get(source)
        if entry is None:
            raise AvreviewError(f"{self.folder}: no source {source!r} in sources.yaml, nor in that of a rule pack")
        known = {key: entry[key] for key in ("title", "authors", "year", "url") if key in entry}
        return Source(id=source, place=place, **known)

    @functools.cached_property
    def _sources(self) -> Mapping[str, Any]:
        """Every source by its id; of several with the same id ours, which a pack's card may cite as well."""
        files = [pack.folder / "rules" / "sources.yaml" for pack in self.installed]
        found: dict[str, Any] = {}
        for file in (self.folder / "sources.yaml", *(file for file in files if file.is_file())):
            found = {**dict(load_yaml(file)), **found}
        return found

    def select(self, selector: str) -> set[str]:
        """The rule ids that a selector names: an id, a prefix of ids, a rule's name, or an item (`3`, `item3`).

        Raises UsageError with the nearest known word when it names nothing.
        """
        word = selector.strip()
        upper = word.upper()
        if (match := re.fullmatch(r"([A-Z]+)\d{0,3}", upper)) and match[1] in self.prefixes:
            chosen = {card.id for card in self if card.prefix == match[1] and card.id.startswith(upper)}
        elif match := re.fullmatch(r"(?:item[- ]?)?(\d)", word, re.IGNORECASE):
            chosen = {card.id for card in self if card.item == int(match[1])}
        else:
            chosen = {card.id for card in self if card.name == word.lower()}
        if not chosen:
            raise UsageError(f"no rule is called {word!r}{self._suggestion(word)}; `avreview rules` lists them all")
        return chosen

    def _suggestion(self, word: str) -> str:
        ids = difflib.get_close_matches(word.upper(), self.cards, n=1, cutoff=0.6)
        names = difflib.get_close_matches(word.lower(), [card.name for card in self], n=1, cutoff=0.5)
        nearest = ids or names
        return f"; did you mean {nearest[0]}?" if nearest else ""


def _cards(folder: Path, prefixes: Iterable[str] = (PREFIX,)) -> dict[str, Card]:
    """The cards of a folder by id, those of all its item folders."""
    found = {path for prefix in prefixes for path in folder.glob(f"[0-9]-*/{prefix}*.yaml")}
    paths = sorted(found, key=lambda path: path.name)
    cards = {card.id: card for card in map(Card, paths)}
    if not cards or len(cards) != len(paths):
        raise AvreviewError(f"{folder}: no rule cards, or two with the same id")
    return cards


def _digest(cards: Iterable[Card]) -> str:
    """sha256 over names and texts of cards; how their lines end does not matter."""
    digest = hashlib.sha256()
    for card in cards:
        digest.update(f"{card.path.name}\0{len(card.content)}\0{card.content}".encode())
    return f"sha256:{digest.hexdigest()}"


_IN_USE: ContextVar[Catalogue | None] = ContextVar("catalogue", default=None)


def catalogue() -> Catalogue:
    """The rules in use: those that are installed, or what a review's configuration made of them."""
    return _IN_USE.get() or installed()


@contextlib.contextmanager
def using(catalogue: Catalogue) -> Iterator[None]:
    """Has `catalogue()` give that one inside the block."""
    token = _IN_USE.set(catalogue)
    try:
        yield
    finally:
        _IN_USE.reset(token)


@functools.cache
def shipped() -> Catalogue:
    """The rules that come with avreview: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "rules", package.parent / "rules"):
        if folder.is_dir():
            return Catalogue(folder)
    raise AvreviewError("the rule cards are missing from this installation; install avreview again")


@functools.cache
def installed() -> Catalogue:
    """The rules that come with avreview, and those of the rule packs beside it. Raises PackError for a broken one."""
    from avreview.engine.distributions import entry_points

    declared = list(entry_points(PACKS))
    if not declared:
        return shipped()
    from avreview.engine.packs import packs

    return shipped().with_packs(packs(declared))
