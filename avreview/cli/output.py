"""Where the output of a command goes: reports to stdout or a file, everything else to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from avreview.errors import AvreviewError


class ReaderGone(Exception):  # noqa: N818 - as with `| head`, nothing went wrong on this side
    """Who read our standard output has closed it."""


def complain(message: str) -> None:
    """One line on stderr, with whatever a hostile file brought into it made harmless."""
    from avreview.report.escape import plain

    if sys.stderr is not None:
        sys.stderr.write(f"avreview: {plain(message, limit=600)}\n")


@contextlib.contextmanager
def destination(path: Path | None = None) -> Iterator[TextIO]:
    """stdout, or a file that appears whole or not at all; a device or a pipe is written to as it is.

    Raises AvreviewError when it cannot be written, and ReaderGone when nobody reads it any more.
    """
    if path is None:
        with _standard_output() as stream:
            yield stream
        return
    try:
        in_place = path.exists() and not path.is_file()
        with open(path, "w", encoding="utf-8") if in_place else _whole(path) as stream:
            yield stream
    except OSError as error:
        raise _unwritable(path, error) from None


def write_files(files: Iterable[tuple[Path, Callable[[TextIO], None]]]) -> None:
    """Writes several files, each by its function. They appear when all are written; when one fails, none does.

    Raises AvreviewError that names the one that cannot be written.
    """
    with contextlib.ExitStack() as unfinished:
        for path, write in files:
            stream = unfinished.enter_context(destination(path))
            try:
                write(stream)
                stream.flush()
            except OSError as error:
                raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> AvreviewError:
    return AvreviewError(f"{path}: cannot be written ({error.strerror}); choose another --output")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A new file that takes the place of `path`, or of what that links to, once it is complete."""
    target = os.path.realpath(path)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def _standard_output() -> Iterator[TextIO]:
    if sys.stdout is None:
        raise AvreviewError("standard output is closed; name a file with --output")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        raise ReaderGone from None
    except OSError as error:
        _discard_output()
        raise AvreviewError(f"standard output cannot be written ({error.strerror})") from None


def _discard_output() -> None:
    """Keeps the interpreter from writing, when it ends, what could not be written now."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def words(values: list[str] | None) -> list[str]:
    """An option that may be given several times, with commas as well."""
    return [word.strip() for value in values or () for word in value.split(",") if word.strip()]
