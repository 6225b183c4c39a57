"""When and in what a report was made, and from which files beside the reviewed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from avreview.engine.review import Report
    from avreview.report.page import Page

_LABELS = 15
_LONGEST = 400


def circumstances(report: Report) -> Iterator[tuple[str, str]]:
    """Labels and what they stand for: the date, Python, the platform, packages, the sources of rules."""
    if report.date:
        yield "date", report.date
    environment: dict[str, Any] = dict(report.environment)
    if environment:
        yield "python", f"{environment.get('python')} ({environment.get('implementation')})"
        yield "platform", str(environment.get("platform"))
        packages = environment.get("packages", {})
        yield "packages", ", ".join(f"{name} {version or 'not installed'}" for name, version in packages.items())
    for pack in report.packs:
        version = f" {pack.version}" if pack.version else ""
        yield "rule pack", f"{pack.name}{version}, {pack.cards} cards, {pack.digest}"


def write_circumstances(report: Report, page: Page) -> None:
    """The same on a terminal, with the files that the configuration was read from."""
    read = [(file.kind, f"{file.path}, sha256 {file.sha256}") for file in report.configuration]
    for label, words in [*circumstances(report), *read]:
        page.field(label, page.text(words, "quiet", limit=_LONGEST), indent=0, labels=_LABELS)
