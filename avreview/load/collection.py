"""Keeping Python's garbage collector from looking through what a file is being turned into."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Keeps Python from looking for reference cycles among a hundred thousand new objects over and over.

    There are hardly any, and without this loading is a third slower, and slower than linear.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
