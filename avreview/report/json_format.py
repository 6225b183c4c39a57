"""The report as JSON: printable ASCII and line breaks, whatever the reviewed file holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

from avreview.report.structure import to_dict

if TYPE_CHECKING:
    from avreview.engine.review import Report


def write(report: Report, stream: TextIO) -> None:
    """Writes the whole report, in the structure that `schema/report-1.json` describes."""
    stream.write(dumps(to_dict(report)))


def dumps(structure: Any) -> str:
    """`structure` as JSON text that ends in a line break.

    `ensure_ascii` leaves two things that a log might act upon: the DEL character, and `##`, which begins a command
    of some CI runners. Both can stand only inside a string, where an escape means the same.
    """
    text = json.dumps(structure, indent=2, ensure_ascii=True, allow_nan=False)
    return text.replace("\x7f", "\\u007f").replace("##", "#\\u0023") + "\n"
