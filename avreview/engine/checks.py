"""The registry of checks and answers, and its tie to the rule cards."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.engine.cards import PREFIX, Catalogue
from avreview.engine.resolve import Need, signature
from avreview.engine.review import Location, Scalar, Severity
from avreview.errors import AvreviewError

if TYPE_CHECKING:
    from avreview.engine.packs import Pack


class Violation(NamedTuple):
    """What a check yields: the engine makes a Finding of it with what the card says.

    `severity` and `remedy` are the card's unless the case asks for another.
    """

    at: Location
    message: str
    observed: Mapping[str, Any]
    expected: Mapping[str, Any]
    also: Sequence[Location] = ()
    severity: Severity | None = None
    remedy: str | None = None


class AnswerText(NamedTuple):
    """A sentence that answers a question, and the table behind it."""

    sentence: str
    table: Sequence[Mapping[str, Scalar]] = ()


class Check(NamedTuple):
    """The function that decides one rule, and the facts that its signature names. `room` is one of ROOMS, or empty."""

    rule: str
    function: Callable[..., Iterable[Violation]]
    needs: tuple[Need, ...]
    room: str = ""


class Answerer(NamedTuple):
    """The function that says the answer to one question in a sentence and a table; `prefix` tells whose it is."""

    item: int
    function: Callable[..., AnswerText]
    needs: tuple[Need, ...]
    prefix: str = PREFIX
    room: str = ""


class Evidence(NamedTuple):
    """A function that gives data behind the review for those formats that draw or keep it, under a name."""

    name: str
    function: Callable[..., Any]
    needs: tuple[Need, ...]
    prefix: str = PREFIX
    room: str = ""


class Limitation(NamedTuple):
    """A function that says what could not be seen in a subject, and why."""

    function: Callable[..., Iterable[str]]
    needs: tuple[Need, ...]
    prefix: str = PREFIX
    room: str = ""


# The packages beside `avreview.checks` whose checks take what not every review has. They are imported only for one that
# has it; the checks of a rule are tried in this order.
ROOMS = ("checkpoint", "probes", "recipe", "augmentation")
CHECKS: dict[str, Check] = {}
FURTHER: dict[str, list[Check]] = {}  # other ways to decide a rule, for where the first has nothing to go by
ANSWERS: dict[int, list[Answerer]] = {}
LIMITATIONS: list[Limitation] = []
EVIDENCE: list[Evidence] = []
_LOADING = [PREFIX]  # whose modules are being imported
_FAILED: dict[str, AvreviewError] = {}  # what kept a pack from being imported: half of it is registered


def check(
    rule: str, *, also: bool = False
) -> Callable[[Callable[..., Iterable[Violation]]], Callable[..., Iterable[Violation]]]:
    """Registers a function as what decides the rule with that id.

    With `also` it is a further way to decide it, by other facts: it is tried where the first could not be assessed.
    """

    def register(function: Callable[..., Iterable[Violation]]) -> Callable[..., Iterable[Violation]]:
        if rule in CHECKS and not also:
            both = f"{CHECKS[rule].function.__module__} and {function.__module__}"
            raise AvreviewError(f"two checks decide {rule}: {both}")
        ours = function.__module__.partition(".")[0] == "avreview"
        if (ours or len(_LOADING) > 1) and rule[:-3] != _LOADING[-1]:  # a pack's own tests may import it by themselves
            raise AvreviewError(f"{function.__module__} decides {rule}, which is no rule {_LOADING[-1]}nnn of its own")
        made = Check(rule, function, signature(function)[0], _room(function.__module__))
        if also:
            FURTHER.setdefault(rule, []).append(made)
        else:
            CHECKS[rule] = made
        return function

    return register


def answer(item: int) -> Callable[[Callable[..., AnswerText]], Callable[..., AnswerText]]:
    """Registers a function as what answers one of the nine questions."""

    def register(function: Callable[..., AnswerText]) -> Callable[..., AnswerText]:
        ANSWERS.setdefault(item, []).append(Answerer(item, function, signature(function)[0], *_origin(function)))
        return function

    return register


def limitation(function: Callable[..., Iterable[str]]) -> Callable[..., Iterable[str]]:
    """Registers a function as one that says what could not be seen: each sentence goes into the report."""
    LIMITATIONS.append(Limitation(function, signature(function)[0], *_origin(function)))
    return function


def evidence(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function whose JSON-like result goes into the report's `evidence` under that name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        EVIDENCE.append(Evidence(name, function, signature(function)[0], *_origin(function)))
        return function

    return register


def load_checks(catalogue: Catalogue, rooms: Iterable[str] = ROOMS) -> Mapping[str, Sequence[Check]]:
    """The checks of each rule, after making sure that each has its card and each card a check (or says `planned`).

    What only a check of another room than `rooms` could decide is left out: a review need not wait for modules that
    have nothing to go by.
    """
    open_rooms = {"", *rooms}
    for room in sorted(open_rooms):
        _import_all(f"avreview.checks.{room}".rstrip("."))
    for pack in catalogue.installed:
        _load_pack(pack)
    checks: dict[str, list[Check]] = {}
    for made in (*CHECKS.values(), *itertools.chain.from_iterable(FURTHER.values())):
        if made.room in open_rooms and made.rule[:-3] in catalogue.prefixes:
            checks.setdefault(made.rule, []).append(made)
    for ways in checks.values():
        ways.sort(key=lambda made: made.room != "" and ROOMS.index(made.room) + 1)
    orphans = sorted(checks.keys() - catalogue.cards.keys())
    wanted = [card for card in catalogue if card.id in checks or card.rooms <= open_rooms]
    undecided = [card.id for card in wanted if card.planned == (card.id in checks)]
    if orphans or undecided:
        raise AvreviewError(
            f"rules and checks do not match: no card for {', '.join(orphans) or 'none'}; "
            f"neither a check nor `planned`, or both, for {', '.join(undecided) or 'none'}"
        )
    return checks


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    """Whose function it is (the prefix of their rules), and its room."""
    return _LOADING[-1], _room(function.__module__)


def _room(module: str) -> str:
    """The room that a check's module stands in."""
    room = module.removeprefix("avreview.checks.").partition(".")[0]
    return room if module.startswith("avreview.checks.") and room in ROOMS else ""


def _load_pack(pack: Pack) -> None:
    """Has a rule pack register what it brings. Raises PackError, each time the same."""
    if pack.prefix in _FAILED:
        raise _FAILED[pack.prefix]
    _LOADING.append(pack.prefix)
    try:
        pack.load()
    except AvreviewError as error:
        _FAILED[pack.prefix] = error
        raise
    finally:
        _LOADING.pop()


def _import_all(package: str) -> None:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not module.ispkg:
            importlib.import_module(f"{package}.{module.name}")
