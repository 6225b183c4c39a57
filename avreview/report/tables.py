"""A table in columns of text, made to fit the width there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avreview.report.escape import shorten
from avreview.report.values import count, show

if TYPE_CHECKING:
    from avreview.report.page import Page

FOLDED = 8  # rows that are shown where not all are asked for
_GAP = 2
_WIDEST = 60  # columns of text that one cell takes at most
_LEAST = 10  # columns below which a cell of text says nothing any more


def write_table(page: Page, rows: Sequence[Mapping[str, Any]], *, indent: int, whole: bool) -> None:
    """Writes rows of scalars, `FOLDED` of them or all; says what was left out."""
    shown = rows if whole else rows[:FOLDED]
    names = list(dict.fromkeys(name for row in shown for name in row))
    if not names:
        return
    columns = [_column(page, name, shown) for name in names]
    widths = _fit([max(map(_cells, column)) for column in columns], page.width - indent)
    numeric = [all(_is_number(row.get(name)) for row in shown) for name in names]
    for line in range(len(shown) + 1):
        cells = [
            _pad(page, column[line], width, right)
            for column, width, right in zip(columns[: len(widths)], widths, numeric, strict=False)
        ]
        page.put(page.text((" " * _GAP).join(cells), "quiet" if line == 0 else ""), indent=indent)
    _write_omissions(page, len(rows) - len(shown), names[len(widths) :], indent)


def _write_omissions(page: Page, rows: int, columns: Sequence[str], indent: int) -> None:
    if rows:
        page.block(page.text(f"… and {count(rows, 'more row')} (--verbose lists all)", "quiet"), indent=indent)
    if columns:
        names = ", ".join(name.replace("_", " ") for name in columns)
        page.block(page.text(f"not shown for want of width: {names}", "quiet"), indent=indent)


def _column(page: Page, name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The head of a column and its cells, safe and at most `_WIDEST` long."""
    return [
        page.text(name.replace("_", " "), limit=_WIDEST).plain,
        *(page.text("" if row.get(name) is None else show(row[name]), limit=_WIDEST).plain for row in rows),
    ]


def _fit(natural: Sequence[int], available: int) -> list[int]:
    """The widths of as many columns as fit, from the left; the widest ones give way first."""
    widths = list(natural)
    while sum(widths) + _GAP * (len(widths) - 1) > available:
        excess = sum(widths) + _GAP * (len(widths) - 1) - available
        widest = max(widths)
        others = [width for width in widths if width < widest]
        floor = max([_LEAST, *others])
        if widest > floor:
            share = -(-excess // (len(widths) - len(others)))
            reduced = max(floor, widest - share)
            widths = [reduced if width == widest else width for width in widths]
        elif len(widths) > 1:
            widths = list(natural[: len(widths) - 1])
        else:
            return [max(available, _LEAST)]
    return widths


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _pad(page: Page, text: str, width: int, right: bool) -> str:
    from rich.cells import set_cell_size

    if _cells(text) > width:
        text = set_cell_size(shorten(text, width, page.fit("…")), width)
    blank = " " * (width - _cells(text))
    return blank + text if right else text + blank
