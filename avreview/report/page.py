"""A page of text on a terminal or in a log: wrapped, indented, coloured where there is colour, and safe.

Every line leaves through `Page.put`, and every text from a model comes in through `Page.text`; nothing here is
rich markup, so nothing in a model's names can be. There is no cursor movement, and no meaning in colour alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from avreview.report.escape import defuse, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PROSE = 108  # columns; longer lines of running text are hard to follow
NARROWEST = 40
WITHOUT_TERMINAL = 100  # columns of a file or a log

# Background and foreground are set together, so that they are readable on a light terminal and on a dark one.
STYLES = {
    "fail": "bold bright_white on red",
    "attention": "black on yellow",
    "pass": "black on green",
    "error": "bold bright_white on red",
    "warning": "black on yellow",
    "note": "black on cyan",
    "heading": "bold",
    "strong": "bold",
    "quiet": "dim",
    "code": "",
}
_ASCII = {
    "…": "...", "–": "-", "—": "-", "−": "-", "─": "-", "·": "-", "•": "-", "‘": "'", "’": "'", "“": '"', "”": '"',
    "✗": "x", "✓": "+", "×": "x", "≤": "<=", "≥": ">=", "≠": "!=", "±": "+/-", "→": "->", "√": "sqrt ", "²": "^2",
    "§": "section ", "∂": "d", "α": "alpha", "β": "beta", "γ": "gamma", "ε": "eps", "μ": "mu", "µ": "mu",
    "σ": "sigma", "∈": " in ", "∞": "inf", "≈": "~", "½": "1/2", "¼": "1/4", "¾": "3/4", "⁻": "^-", "⁵": "5",
    "▁": "1", "▂": "2", "▃": "3", "▄": "4", "▅": "5", "▆": "6", "▇": "7", "█": "8", "▲": "^", "▼": "v",
}  # fmt: skip


class Page:
    """Lines of text, written to a console all at once when the `with` block of the page ends."""

    def __init__(self, console: Console, *, unicode: bool = True) -> None:
        self.console = console
        self.unicode = unicode
        self.width = max(console.width, NARROWEST)
        self.prose = min(self.width, PROSE)
        self._lines: list[Text] = []

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        from rich.text import Text

        if error is None and self._lines:
            self.console.print(Text("\n").join(self._lines), soft_wrap=True, highlight=False)
            self._lines = []

    def text(self, words: str, style: str = "", *, limit: int | None = None) -> Text:
        """A text of any origin, made safe; `style` is one of `STYLES`."""
        from rich.text import Text

        return Text(self.fit(plain(words, limit)), STYLES.get(style, ""), end="")

    def join(self, parts: Iterable[Text | str]) -> Text:
        """Several texts as one; a string among them is ours."""
        from rich.text import Text

        return Text.assemble(*(part if not isinstance(part, str) else self.fit(part) for part in parts), end="")

    def fit(self, words: str) -> str:
        """`words` in characters that the stream can take."""
        return words if self.unicode else in_ascii(words)

    def put(self, *parts: Text | str, indent: int = 0) -> None:
        """One line, as it is."""
        from rich.text import Text

        line = self.join([" " * indent, *parts])
        line.rstrip()
        if (safe := defuse(line.plain)) != line.plain:
            line = Text(safe)
        self._lines.append(line)

    def blank(self) -> None:
        self.put()

    def part(self) -> None:
        """An empty line, but none at the top of the page."""
        if self._lines:
            self.put()

    def block(self, body: Text | str, *, indent: int = 0, lead: Text | None = None, width: int | None = None) -> None:
        """A paragraph, wrapped `indent` columns from the left; `lead` stands in that margin on its first line."""
        for number, line in enumerate(self.wrap(body, (width or self.prose) - indent)):
            if number == 0 and lead is not None:
                self.put(lead, " " * max(indent - lead.cell_len, 1), line)
            else:
                self.put(line, indent=indent)

    def wrap(self, body: Text | str, width: int) -> list[Text]:
        """The lines of `body`, none wider than `width` columns; at least one line."""
        whole = self.join([body])
        return list(whole.wrap(self.console, max(width, NARROWEST // 4), overflow="fold")) or [whole]

    def field(self, label: str, body: Text | str, *, indent: int, labels: int) -> None:
        """A labelled paragraph: the label in a column of `labels` columns, and the text beside it."""
        self.block(body, indent=indent + labels, lead=self.join([" " * indent, self.text(label, "quiet")]))

    def heading(self, words: str) -> None:
        """A heading with a line under it, after an empty line."""
        self.blank()
        title = self.text(words, "heading")
        self.block(title)
        self.rule(min(title.cell_len, self.prose))

    def rule(self, width: int) -> None:
        self.put("─" * width)


def open_page(stream: TextIO, *, width: int | None = None, color: str = "auto") -> Page:
    """A page on a stream.

    `color` is `auto` (where the stream is a terminal and NO_COLOR is not set), `always` or `never`. Without a
    width, a terminal's own is taken, or else COLUMNS, or else `WITHOUT_TERMINAL`.
    """
    from rich.console import Console

    if width is None and not _is_terminal(stream):
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isdecimal() and int(columns) else WITHOUT_TERMINAL
    colourless = color == "never" or (color == "auto" and bool(os.environ.get("NO_COLOR")))
    console = Console(
        file=stream,
        width=width,
        color_system=None if colourless else "standard" if color == "always" else "auto",
        force_terminal=True if color == "always" else None,
        force_jupyter=False,
        no_color=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    return Page(console, unicode=takes_unicode(stream))


def takes_unicode(stream: TextIO) -> bool:
    """Whether every character can be written to the stream."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def in_ascii(words: str) -> str:
    """`words` spelled in ASCII, for a stream that takes no more than that."""
    if words.isascii():
        return words
    spelled = "".join(_ASCII.get(character, character) for character in words)
    return spelled.encode("ascii", "backslashreplace").decode("ascii")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
