"""The registry of checks and answers, and its tie to the rule cards."""

from __future__ import annotations

import importlib
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
    """The function that decides one rule, and the facts that its signature names."""

    rule: str
    function: Callable[..., Iterable[Violation]]
    needs: tuple[Need, ...]


class Answerer(NamedTuple):
    """The function that says the answer to one question in a sentence and a table; `prefix` tells whose it is."""

    item: int
    function: Callable[..., AnswerText]
    needs: tuple[Need, ...]
    prefix: str = PREFIX


class Evidence(NamedTuple):
    """A function that gives data behind the review for those formats that draw or keep it, under a name."""

    name: str
    function: Callable[..., Any]
    needs: tuple[Need, ...]
    prefix: str = PREFIX


class Limitation(NamedTuple):
    """A function that says what could not be seen in a subject, and why."""

    function: Callable[..., Iterable[str]]
    needs: tuple[Need, ...]
    prefix: str = PREFIX


CHECKS: dict[str, Check] = {}
ANSWERS: dict[int, list[Answerer]] = {}
LIMITATIONS: list[Limitation] = []
EVIDENCE: list[Evidence] = []
_LOADING = [PREFIX]  # whose modules are being imported
_FAILED: dict[str, AvreviewError] = {}  # what kept a pack from being imported: half of it is registered


def check(rule: str) -> Callable[[Callable[..., Iterable[Violation]]], Callable[..., Iterable[Violation]]]:
    """Registers a function as what decides the rule with that id."""

    def register(function: Callable[..., Iterable[Violation]]) -> Callable[..., Iterable[Violation]]:
        if rule in CHECKS:
            both = f"{CHECKS[rule].function.__module__} and {function.__module__}"
            raise AvreviewError(f"two checks decide {rule}: {both}")
        ours = function.__module__.partition(".")[0] == "avreview"
        if (ours or len(_LOADING) > 1) and rule[:-3] != _LOADING[-1]:  # a pack's own tests may import it by themselves
            raise AvreviewError(f"{function.__module__} decides {rule}, which is no rule {_LOADING[-1]}nnn of its own")
        CHECKS[rule] = Check(rule, function, signature(function)[0])
        return function

    return register


def answer(item: int) -> Callable[[Callable[..., AnswerText]], Callable[..., AnswerText]]:
    """Registers a function as what answers one of the nine questions."""

    def register(function: Callable[..., AnswerText]) -> Callable[..., AnswerText]:
        ANSWERS.setdefault(item, []).append(Answerer(item, function, signature(function)[0], _LOADING[-1]))
        return function

    return register


def limitation(function: Callable[..., Iterable[str]]) -> Callable[..., Iterable[str]]:
    """Registers a function as one that says what could not be seen: each sentence goes into the report."""
    LIMITATIONS.append(Limitation(function, signature(function)[0], _LOADING[-1]))
    return function


def evidence(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function whose JSON-like result goes into the report's `evidence` under that name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        EVIDENCE.append(Evidence(name, function, signature(function)[0], _LOADING[-1]))
        return function

    return register


def load_checks(catalogue: Catalogue, *, of_checkpoints: bool = True, of_probes: bool = True) -> Mapping[str, Check]:
    """The checks, after making sure that each has its card and each card its check (or says `planned`).

    Without `of_checkpoints` those stay out that only a checkpoint or a pretrained base could decide, without
    `of_probes` those that only a run could: an export alone need not wait for their modules.
    """
    _import_all("avreview.checks")
    if of_checkpoints:
        _import_all("avreview.checks.checkpoint")
    if of_probes:
        _import_all("avreview.checks.probes")
    for pack in catalogue.installed:
        _load_pack(pack)
    checks = {rule: check for rule, check in CHECKS.items() if rule[:-3] in catalogue.prefixes}
    orphans = sorted(checks.keys() - catalogue.cards.keys())
    left_out = [
        card
        for card in catalogue
        if card.id not in checks
        and ((card.is_of_checkpoints and not of_checkpoints) or (card.is_of_probes and not of_probes))
    ]
    wanted = [card for card in catalogue if card not in left_out]
    undecided = [card.id for card in wanted if card.planned == (card.id in checks)]
    if orphans or undecided:
        raise AvreviewError(
            f"rules and checks do not match: no card for {', '.join(orphans) or 'none'}; "
            f"neither a check nor `planned`, or both, for {', '.join(undecided) or 'none'}"
        )
    return checks


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
