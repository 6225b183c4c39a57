"""Where the console script begins.

Importing Typer takes four times as long as Python's own start. The page that `avreview --help` shows is therefore
kept beside this module as Typer writes it at 80 columns (a test compares the two); all else goes to Typer. At the end
the process leaves at once: taking a review's objects apart one by one takes a tenth as long as the review did.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

HELP = os.path.join(os.path.dirname(__file__), "help.txt")


def main() -> None:
    """Runs the command line."""
    if sys.argv[1:] in (["--help"], ["-h"]) and sys.stdout is not None:
        _show_help()
    else:
        from avreview.cli.main import main

        try:
            main()
        except SystemExit as ended:
            _leave(0 if ended.code is None else ended.code if isinstance(ended.code, int) else 2)


def _leave(code: int) -> NoReturn:
    """Ends the process after its last words. What cannot be written any more is a review that was not delivered."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # noqa: PERF203 - each stream by itself
            code = 2
    os._exit(code)


def _show_help() -> None:
    with open(HELP, encoding="utf-8") as page:
        text = page.read()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:  # nobody reads it any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it flushes at its end
