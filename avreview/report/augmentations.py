"""What the augmentations did, in words: a line each, for the terminal, and a table for Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avreview.report.markdown_text import inline
from avreview.report.pictures.rows import ending, entries
from avreview.report.values import count

if TYPE_CHECKING:
    from avreview.report.page import Page

NAME = "augmentations"
_MARKS = {"off": "✗", "fine": "✓"}
_STATES = {"failed": "did not run", "not-judged": "not judged", "unchanged": "changed nothing"}
_NAME = 80
_LINE = 600
_FOLDED = 8
_ROWS = 40


def write_augmentations(given: Any, page: Page, verbose: bool) -> None:
    """Writes what `evidence["augmentations"]` of a review holds; nothing where it holds nothing."""
    listed = entries(given)
    if not listed:
        return
    page.heading("What the augmentations did")
    page.block(page.text(_run(given), "quiet", limit=_LINE), indent=3)
    shown = listed if verbose else listed[:_FOLDED]
    for entry in shown:
        state = str(entry.get("state"))
        style = {"off": "fail", "fine": ""}.get(state, "quiet")
        name = page.text(str(entry.get("name", "")), "strong", limit=_NAME)
        words = page.join([name, ": ", page.text(_ended(entry), limit=_LINE)])
        page.block(words, indent=3, lead=page.text(f" {_MARKS.get(state, '?')} ", style))
    if len(shown) < len(listed):
        left = count(len(listed) - len(shown), "more augmentation")
        page.block(page.text(f"… and {left} (--verbose lists all)", "quiet"), indent=3)


def table(given: Any) -> str:
    """The same as a table of Markdown; empty where nothing was measured."""
    listed = entries(given)
    if not listed:
        return ""
    lines = [f"{inline(_run(given), _LINE)}\n", "| | augmentation | worst of what was measured |", "|---|---|---|"]
    for entry in listed[:_ROWS]:
        name = inline(str(entry.get("name", "")), _NAME)
        mark = _MARKS.get(str(entry.get("state")), "?")
        lines.append(f"| {mark} | {name} | {inline(_ended(entry), _LINE)} |")
    if len(listed) > _ROWS:
        lines.append(f"\n… and {count(len(listed) - _ROWS, 'more augmentation')}.")
    return "\n".join(lines) + "\n"


def _ended(entry: Mapping[str, Any]) -> str:
    state = _STATES.get(str(entry.get("state")))
    return f"{state}: {ending(entry)}" if state else ending(entry)


def _run(given: Mapping[str, Any]) -> str:
    """`pipelines.train:augmentation on driving scenes, 16 seeds, scenes from seed 0; numpy 2.1.0`."""
    seeds = given.get("seeds")
    number = count(seeds, "seed") if isinstance(seeds, int) else "several seeds"
    libraries = given.get("libraries")
    used = [f"{name} {version}" for name, version in libraries.items()] if isinstance(libraries, Mapping) else []
    told = (
        f"{given.get('target', '')} on {given.get('kind', '')} scenes, {number}, scenes from seed {given.get('seed')}"
    )
    return "; ".join(filter(None, [told, ", ".join(used)]))
