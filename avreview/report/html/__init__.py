"""The report as one HTML page, for reading in a browser, on paper and years later.

The page is complete in itself: it loads nothing and sends nothing. All of it can be read without a script; the one it
brings filters findings and opens what is folded before printing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from avreview.engine.review import Report


def write(report: Report, stream: TextIO) -> None:
    """Writes the page; the same report, the same bytes. A stream of another encoding gets the same page in ASCII."""
    from avreview.report.html.page import page

    written = page(report)
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
    if not encoding.startswith("utf"):
        written = written.encode("ascii", "xmlcharrefreplace").decode("ascii")
    stream.write(written)
