"""Words and numbers as findings say them."""

from __future__ import annotations

from collections.abc import Iterable


def count(number: int, noun: str) -> str:
    """`1 norm`, `20 norms`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def verb(number: int, plural: str, singular: str | None = None) -> str:
    """The verb that agrees with a number: `drops` for 1, `drop` for any other."""
    return plural if number != 1 else singular or f"{plural}s"


def listed(words: Iterable[str], most: int = 3) -> str:
    """Words behind commas, the rest counted."""
    every = [word for word in words if word]
    rest = len(every) - most
    return ", ".join(every[:most]) + (f", and {rest} more" if rest > 0 else "")


def shown_floats(value: float | None) -> float | None:
    """A float32 attribute as a person wrote it: 1e-05 rather than 9.999999747378752e-06."""
    return None if value is None else float(f"{value:.6g}")
