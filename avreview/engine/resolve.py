"""Facts on demand: what a function's signature names is computed once per subject, and only then.

A provider is a function decorated with `@fact`; its return annotation is the fact it provides, its parameters are
the facts it needs. A fact that cannot be had raises NotAvailable with the words that say what to supply. A parameter
annotated `Lineage | None` takes a fact that helps and need not be there: it is None where the fact cannot be had.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, overload

from avreview.errors import AvreviewError

T = TypeVar("T")


class NotAvailable(Exception):  # noqa: N818 - a verdict's reason, not an error
    """A fact cannot be had; the text says what to supply."""


class WrongKind(NotAvailable):
    """An artifact of this kind cannot show it; another one of the same subject might."""


class NotApplicable(Exception):  # noqa: N818
    """The subject has nothing of the kind; the text says of which."""


class Need(NamedTuple):
    """A parameter's fact; an `optional` one may be missing."""

    kind: type
    optional: bool = False


class _Provider(NamedTuple):
    function: Callable[..., Any]
    needs: tuple[Need, ...]
    background: bool
    only_for_rules: bool


_PROVIDERS: dict[type, _Provider] = {}


@overload
def fact(function: Callable[..., T]) -> Callable[..., T]: ...


@overload
def fact(
    *, background: bool = False, only_for_rules: bool = False
) -> Callable[[Callable[..., T]], Callable[..., T]]: ...


def fact(function: Callable[..., T] | None = None, *, background: bool = False, only_for_rules: bool = False) -> Any:
    """Registers the provider of the fact that the function returns.

    A `background` fact is begun before all others and waited for last: it works in another process or thread. One
    that is `only_for_rules` costs too much to be computed for a sentence: what the report says takes it where a rule
    has asked for it, and else goes without.
    """

    def register(function: Callable[..., T]) -> Callable[..., T]:
        needs, provided = signature(function)
        if provided in _PROVIDERS:
            both = f"{_PROVIDERS[provided].function.__module__} and {function.__module__}"
            raise AvreviewError(f"two providers for the fact {provided.__name__}: {both}")
        _PROVIDERS[provided] = _Provider(function, needs, background, only_for_rules)
        return function

    return register(function) if function is not None else register


def signature(function: Callable[..., Any]) -> tuple[tuple[Need, ...], type]:
    """The facts that a function's parameters name, in order, and the type of what it returns.

    The annotations are the module's own code, kept as text by `from __future__ import annotations`;
    `typing.get_type_hints` reads them too, at ten times the cost, which start-up would pay two hundred times.
    """
    hints = {
        name: eval(hint, function.__globals__) if isinstance(hint, str) else hint  # noqa: S307
        for name, hint in function.__annotations__.items()
    }
    provided = hints.pop("return")
    return tuple(map(_need, hints.values())), provided


def _need(hint: Any) -> Need:
    if isinstance(hint, types.UnionType):
        (kind,) = (part for part in hint.__args__ if part is not type(None))
        return Need(kind, optional=True)
    return Need(hint)


class Resolver:
    """Computes facts of one subject, each at most once.

    What is `given` as NotAvailable in the place of a fact is the reason why that cannot be had.
    """

    def __init__(self, given: Mapping[type, Any]) -> None:
        self._known: dict[type, Any] = {}
        self._missing: dict[type, NotAvailable | NotApplicable] = {}
        for kind, value in given.items():
            if isinstance(value, NotAvailable | NotApplicable):
                self._missing[kind] = value
            else:
                self._known[kind] = value

    def get(self, kind: type[T]) -> T:
        """The fact of that type. Raises NotAvailable or NotApplicable, each time the same."""
        if kind in self._missing:
            raise self._missing[kind]
        if kind not in self._known:
            provider = _PROVIDERS.get(kind)
            if provider is None:
                raise AvreviewError(f"no provider for the fact {kind.__name__}")
            try:
                self._known[kind] = provider.function(*self.arguments(provider.needs))
            except (NotAvailable, NotApplicable) as reason:
                self._missing[kind] = reason
                raise
        return self._known[kind]  # type: ignore[no-any-return]

    def arguments(self, needs: Sequence[Need]) -> list[Any]:
        """The facts for a function's parameters. Raises NotAvailable or NotApplicable for one that has to be there."""
        return [self.argument(need) for need in needs]

    def argument(self, need: Need) -> Any:
        """One such fact; None for an optional one that cannot be had."""
        return self._if_had(need.kind) if need.optional else self.get(need.kind)

    def _if_had(self, kind: type[T]) -> T | None:
        if kind not in self._known and kind not in _PROVIDERS:
            return None  # given to no review, or its provider is imported only when it is asked for
        try:
            return self.get(kind)
        except (NotAvailable, NotApplicable):
            return None

    def for_words(self, needs: Sequence[Need]) -> list[Any]:
        """The facts for what the report says. Raises NotAvailable also for a costly one that no rule has asked for."""
        return [None if need.optional and self._unasked(need) else self._for_words(need) for need in needs]

    def _for_words(self, need: Need) -> Any:
        if self._unasked(need):
            raise NotAvailable("no selected rule needs it")
        return self.argument(need)

    def _unasked(self, need: Need) -> bool:
        """Whether a fact is costly, and no rule came by it."""
        provider = _PROVIDERS.get(need.kind)
        return provider is not None and provider.only_for_rules and need.kind not in self._known

    def begin(self, kinds: set[type]) -> None:
        """Starts the background facts among those that `kinds` lead to."""
        for kind in kinds:
            if is_background(kind):
                self._if_had(kind)


def is_background(kind: type) -> bool:
    provider = _PROVIDERS.get(kind)
    return provider is not None and provider.background
