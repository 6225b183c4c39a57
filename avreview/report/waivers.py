"""What is accepted, by whom and until when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from avreview.report.values import count

if TYPE_CHECKING:
    from avreview.engine.review import Waiver, WaiverUse
    from avreview.report.page import Page

_ENTRY = 400


def waived(waiver: Waiver) -> str:
    """`waived until 2027-03-31 by perception: the reason`."""
    return f"waived until {waiver.expires} by {waiver.owner}: {waiver.reason}"


def write_waivers(uses: Sequence[WaiverUse], page: Page) -> None:
    """The waivers that a person has to act on: expired ones, whose findings came back, and unused ones."""
    concerned = [use for use in uses if use.status != "in-force"]
    if not concerned:
        return
    page.heading("Waivers to mend")
    for use in concerned:
        waiver = use.waiver
        what = f"expired on {waiver.expires}; {count(use.findings, 'finding')} came back" if use.findings else "unused"
        text = f"{waiver.file}:{waiver.line}: {waiver.rule} in {waiver.module}, {waiver.owner}: {what}"
        page.block(page.text(text, limit=_ENTRY), indent=3, lead=page.text(" –"))
