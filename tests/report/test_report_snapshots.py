"""How the report looks, kept as plain files in `snapshots/`.

After a change that is meant, write them anew and read the difference before committing it:

    AVREVIEW_UPDATE_SNAPSHOTS=1 pytest tests/report
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
import report_sample as sample

from avreview.engine.review import Report
from avreview.report import write

SNAPSHOTS = Path(__file__).parent / "snapshots"

CASES: dict[str, tuple[Report, str, dict[str, Any]]] = {
    "terminal-80.txt": (sample.full_report(), "terminal", {"width": 80}),
    "terminal-160.txt": (sample.full_report(), "terminal", {"width": 160}),
    "terminal-verbose-100.txt": (sample.full_report(), "terminal", {"width": 100, "verbose": True}),
    "terminal-two-reviews-120.txt": (sample.two_reviews(), "terminal", {"width": 120}),
    "terminal-colour-80.txt": (sample.full_report(), "terminal", {"width": 80, "color": "always"}),
    "terminal-hostile-80.txt": (sample.hostile_report("\x1b]8;;x\x07 ::error::\u202e ##[x"), "terminal", {"width": 80}),
    "report.yaml": (sample.two_reviews(), "yaml", {}),
    "report.xml": (sample.small_report(), "junit", {}),
    "github.txt": (sample.two_reviews(), "github", {}),
    "gitlab.json": (sample.two_reviews(), "gitlab", {}),
    "report.md": (sample.two_reviews(), "markdown", {}),
    "report.sarif": (sample.small_report(), "sarif", {}),
}


@pytest.mark.parametrize("name", CASES)
def test_report_is_written_as_it_was(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)  # paths are relative to the repository around the working directory
    report, format, options = CASES[name]
    stream = io.StringIO()
    write(report, format, stream, **options)
    check_snapshot(name, stream.getvalue())


def check_snapshot(name: str, written: str) -> None:
    path = SNAPSHOTS / name
    if os.environ.get("AVREVIEW_UPDATE_SNAPSHOTS"):
        path.write_text(written, encoding="utf-8", newline="\n")
    assert written == path.read_bytes().decode("utf-8")


def test_ascii_stream_gets_the_same_report_in_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    write(sample.full_report(), "terminal", stream, width=80)
    stream.flush()
    check_snapshot("terminal-ascii-80.txt", raw.getvalue().decode("ascii"))
