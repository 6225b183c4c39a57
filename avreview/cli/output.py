"""Where the output of a command goes: reports to stdout or a file, everything else to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from avreview.errors import AvreviewError


def complain(message: str) -> None:
    """One line on stderr, with whatever a hostile file brought into it made harmless."""
    from avreview.report.escape import plain

    sys.stderr.write(f"avreview: {plain(message, limit=600)}\n")


@contextlib.contextmanager
def destination(path: Path | None) -> Iterator[TextIO]:
    """stdout, or a file that appears whole or not at all."""
    if path is None:
        yield sys.stdout
        return
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise AvreviewError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise AvreviewError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def words(values: list[str] | None) -> list[str]:
    """An option that may be given several times, with commas as well."""
    return [word.strip() for value in values or () for word in value.split(",") if word.strip()]
