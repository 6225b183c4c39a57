"""Showing on a terminal what a review is waiting for."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

_PATIENCE = 1.0  # seconds that nobody needs an explanation for


@contextlib.contextmanager
def running(label: str) -> Iterator[None]:
    """Shows `label` with a moving bar and the time on standard error while the block runs.

    Nothing is shown in the first second, nor where standard error is no terminal; nothing stays behind.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    display = threading.Thread(target=_show, args=(label, over), daemon=True)
    display.start()
    try:
        yield
    finally:
        over.set()
        display.join()


def _show(label: str, over: threading.Event) -> None:
    if over.wait(_PATIENCE):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from avreview.report.escape import plain

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, markup=False, emoji=False), transient=True) as progress:
        progress.add_task(plain(label, limit=60), total=None)
        over.wait()
