"""The signal on its way through depth: a line of blocks for each path, and a table of the layers.

One block is one layer, or several neighbours where there are more than fit. Its height is the logarithm of the
variance, on one scale for all paths, which spans at least four powers of ten: a signal that keeps its scale looks flat.
A mark below says where a layer's ratio to the one before it leaves the band.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avreview.report.tables import write_table
from avreview.report.values import count, number

if TYPE_CHECKING:
    from avreview.report.page import Page

_BLOCKS = "▁▂▃▄▅▆▇"  # an odd number: a level in the middle of the scale is a block, and not between two
_BURST, _GONE = "█", "·"  # of inf and of 0
_GREW, _SHRANK, _WITHIN = "▲", "▼", " "
_DECADES = 4.0  # that a scale spans at the least
_PATHS = 3  # that are drawn where not all are asked for: the longest
_SHORTEST = 3  # layers of a path that is drawn
_WIDEST = 64  # blocks on a line
_NAME = 40
_INDENT = 3
_LABEL = 10  # columns of the word in front of a line
_COLUMNS = ("kind", "activation", "variance", "ratio", "gradient", "saturated", "silent")


def write_depth(given: Any, page: Page, verbose: bool) -> None:
    """Writes what `evidence["signal"]` of a review holds; nothing where it holds nothing."""
    if not isinstance(given, Mapping) or not given.get("layers"):
        return
    layers, band = list(given["layers"]), given.get("band") or {}
    page.heading("Signal through depth")
    told = f"Variance across {given.get('inputs')} at the output of each weight layer, the median over its units."
    page.block(page.text(told, limit=300), indent=_INDENT)
    drawn = [path for path in given.get("paths", ()) if len(path["layers"]) >= _SHORTEST]
    shown = drawn if verbose else sorted(sorted(drawn, key=lambda path: -len(path["layers"]))[:_PATHS], key=_beginning)
    scale = _scale(_level(layers[place], "variance") for path in shown for place in path["layers"])
    back = _scale(_level(row, "gradient") for row in layers)
    for path in shown:
        rows = [layers[place] for place in path["layers"]]
        page.blank()
        page.block(page.text(_caption(path, rows, band), limit=300), indent=_INDENT)
        _write_line("variance", rows, scale, page)
        _write_marks(rows, layers, band, page)
        if any(row.get("gradient") is not None for row in rows):
            _write_line("gradient", rows, back, page)
    if len(shown) < len(drawn):
        left = f"… and {count(len(drawn) - len(shown), 'shorter path')} (--verbose draws all)"
        page.block(page.text(left, "quiet"), indent=_INDENT)
    page.blank()
    write_table(page, _table(layers), indent=_INDENT, whole=verbose)


def _beginning(path: Mapping[str, Any]) -> int:
    return int(path["layers"][0])


def _caption(path: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], band: Mapping[str, Any]) -> str:
    trend = _real(path.get("trend"))
    drift = f"{number(trend)} times the variance a layer" if trend is not None else ""
    if path.get("judged"):
        drift += f"; the band is {band.get('min')} to {band.get('max')}"
    else:
        drift += ", too short to be judged"
    return f"{_name(rows[0])} → {_name(rows[-1])}, {count(len(rows), 'layer')}: {drift}"


def _name(row: Mapping[str, Any]) -> str:
    from avreview.report.escape import shorten

    return shorten(str(row.get("module") or row.get("node") or "?"), _NAME)


def _write_line(label: str, rows: Sequence[Mapping[str, Any]], scale: tuple[float, float], page: Page) -> None:
    """The label, the first value, the blocks, and the last value."""
    values = [_real(row.get(label)) for row in rows]
    first, last = (next((f"{value:.2g}" for value in side if value is not None), "") for side in (values, values[::-1]))
    blocks = "".join(_block(group, scale) for group in _grouped([_level(row, label) for row in rows], page))
    page.put(page.text(f"{label:<{_LABEL}}", "quiet"), f"{first:>8} {blocks} {last}", indent=_INDENT)


def _write_marks(
    rows: Sequence[Mapping[str, Any]], layers: Sequence[Mapping[str, Any]], band: Mapping[str, Any], page: Page
) -> None:
    """Below the blocks, where a layer grew over the band or shrank under it; nothing where all stay within."""
    marks = [_mark(_real(row.get("ratio")), band) for row in rows]
    line = "".join(_strongest(group) for group in _grouped(marks, page))
    if line.strip():
        page.put(page.text(f"{'off band':<{_LABEL}}", "quiet"), f"{'':>8} {line}", indent=_INDENT)


def _mark(ratio: float | None, band: Mapping[str, Any]) -> str:
    least, most = _real(band.get("min")), _real(band.get("max"))
    if ratio is None or least is None or most is None:
        return _WITHIN
    return _SHRANK if ratio < least else _GREW if ratio > most else _WITHIN


def _strongest(marks: Sequence[str]) -> str:
    """What more than half of several neighbours do."""
    return next((mark for mark in (_GREW, _SHRANK) if 2 * marks.count(mark) > len(marks)), _WITHIN)


def _grouped(entries: Sequence[Any], page: Page) -> list[Sequence[Any]]:
    """Neighbours that share a block, so that the line fits."""
    room = max(min(_WIDEST, page.prose - _INDENT - _LABEL - 2 * 9), 8)
    each = -(-len(entries) // room)
    return [entries[start : start + each] for start in range(0, len(entries), each)]


def _scale(levels: Iterable[float | None]) -> tuple[float, float]:
    """The lowest and the highest level of the picture."""
    known = [level for level in levels if level is not None and math.isfinite(level)] or [0.0]
    middle, half = (min(known) + max(known)) / 2, max((max(known) - min(known)) / 2, _DECADES / 2)
    return middle - half, middle + half


def _level(row: Mapping[str, Any], key: str) -> float | None:
    """The decimal logarithm of a value; -inf for 0."""
    value = _real(row.get(key))
    if value is None or math.isnan(value):
        return None
    return math.log10(value) if 0 < value < math.inf else math.copysign(math.inf, value - 1)


def _block(levels: Sequence[float | None], scale: tuple[float, float]) -> str:
    known = [level for level in levels if level is not None]
    if not known:
        return _GONE
    level = sum(known) / len(known)
    if math.isinf(level) or math.isnan(level):
        return _BURST if level > 0 else _GONE
    place = (level - scale[0]) / (scale[1] - scale[0]) * (len(_BLOCKS) - 1)
    return _BLOCKS[min(max(round(place), 0), len(_BLOCKS) - 1)]


def _real(value: Any) -> float | None:
    """A number; a report that was read back has its infinite ones as words."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _table(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a layer, with those columns that say something of any layer."""
    rows = []
    for row in layers:
        silent = row.get("silent")
        told = {**row, "silent": f"{silent} of {row.get('units')}" if silent is not None else None}
        rows.append({"layer": row.get("module") or row.get("node"), **{name: told.get(name) for name in _COLUMNS}})
    used = {name for row in rows for name, value in row.items() if value is not None}
    return [{name: value for name, value in row.items() if name in used} for row in rows]
