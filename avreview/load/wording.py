"""Text of a reviewed file in the words for a person: such text is hostile."""

from __future__ import annotations

_LONGEST = 80


def quoted(text: str, longest: int = _LONGEST) -> str:
    """A name in quotes: shortened in its middle, with everything escaped that a terminal would not print as it is.

    That is control characters, bidirectional overrides, invisible characters and bytes that are not UTF-8.
    """
    return repr(shortened(text, longest))


def shortened(text: str, longest: int) -> str:
    """At most `longest` characters: what is too much is left out of the middle, for both ends tell names apart."""
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[len(text) - (longest - head - 1) :]}"


def one_line(text: str, longest: int) -> str:
    """Text on one line of at most `longest` characters, with everything escaped that would not print as it is."""
    words = " ".join(shortened(text, 4 * longest).split())
    return shortened("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words), longest)
