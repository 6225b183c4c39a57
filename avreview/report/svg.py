"""A picture of the terminal report, for a README or a page of documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from rich.terminal_theme import TerminalTheme

    from avreview.engine.review import Report


def save_svg(
    report: Report, path: str | os.PathLike[str], width: int = 100, *, title: str = "avreview", verbose: bool = False
) -> None:
    """Writes the report, as a terminal of `width` columns shows it, to an SVG file; the same report, the same bytes."""
    import io
    from pathlib import Path

    from rich.console import Console

    from avreview.report.escape import plain
    from avreview.report.page import Page
    from avreview.report.terminal import render

    console = Console(
        file=io.StringIO(), record=True, width=width, force_terminal=True, color_system="standard",
        force_jupyter=False, legacy_windows=False, no_color=False, markup=False, emoji=False, highlight=False,
    )  # fmt: skip
    with Page(console) as page:
        render(report, page, verbose=verbose)
    picture = console.export_svg(title=plain(title, 80), unique_id="avreview", theme=_theme())
    picture = picture.replace("<text ", '<text xml:space="preserve" ')  # some viewers trim leading spaces
    Path(path).write_text(picture, encoding="utf-8")


def _theme() -> TerminalTheme:
    """A dark terminal whose black is black, so that black on a colour stays readable."""
    from rich.terminal_theme import TerminalTheme

    return TerminalTheme(
        background=(24, 26, 31),
        foreground=(215, 218, 224),
        normal=[(0, 0, 0), (190, 48, 56), (120, 180, 100), (222, 178, 80), (90, 150, 230), (190, 120, 210),
                (90, 180, 195), (200, 204, 212)],
        bright=[(110, 115, 125), (230, 90, 95), (150, 205, 130), (240, 205, 120), (120, 175, 250), (215, 150, 230),
                (120, 205, 215), (255, 255, 255)],
    )  # fmt: skip
