"""Opening the files of an artifact, and nothing but them.

A file under review comes from a stranger: its references may point at devices, links or other people's files.
Only regular files are opened, without following links and without waiting for a pipe's other end.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from avreview.errors import ArtifactError
from avreview.load.wording import quoted

if TYPE_CHECKING:
    import numpy as np

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _CLOEXEC | getattr(os, "O_BINARY", 0)
_LINE = 64  # bytes
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_DRIVE = re.compile(r"[A-Za-z]:")


class Source:
    """A regular file: mapped for random access, read in chunks for streaming.

    It is held open, or opened for each use (`held=False`: a model may name more files than a process may hold
    open); then it must still be the file that it was.
    """

    def __init__(self, path: str, opener: Callable[[], int], *, held: bool = True) -> None:
        self.path = path
        self._opener = opener
        self._descriptor = -1
        self._map: mmap.mmap | None = None
        descriptor = opener()
        status = os.fstat(descriptor)
        self.size = status.st_size
        self._identity = _identity(status)
        if held:
            self._descriptor = descriptor
        else:
            os.close(descriptor)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        if self._descriptor >= 0:
            yield self._descriptor
            return
        try:
            descriptor = self._opener()
        except OSError as error:
            raise self._changed(_reason(error)) from None
        try:
            if _identity(os.fstat(descriptor)) != self._identity:
                raise self._changed("another file took its place")
            yield descriptor
        finally:
            os.close(descriptor)

    def _changed(self, how: str) -> ArtifactError:
        return ArtifactError(self.path, f"changed while it was read ({how})", "review it when nothing writes to it")

    def map(self) -> mmap.mmap:
        """The whole file, mapped read-only. The file must not be empty."""
        if self._map is not None:
            return self._map
        with self._opened() as descriptor:
            mapped = mmap.mmap(descriptor, self.size, access=mmap.ACCESS_READ)
        if self._descriptor >= 0:  # any other map lives, with a descriptor of its own, while an array needs it
            self._map = mapped
        return mapped

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`, fewer only at the file's end."""
        if not hasattr(os, "pread"):
            return self.map()[offset : offset + length]
        with self._opened() as descriptor:
            return os.pread(descriptor, length, offset)

    def chunks(self, offset: int, length: int, chunk: int) -> Iterator[np.ndarray[Any, Any]]:
        """`length` bytes from `offset`, as uint8, through one reused buffer of at most `chunk` bytes.

        Streaming with `preadv` leaves the pages out of the process's resident memory, which a map would not.
        """

        if not length:
            return
        buffer = _aligned(min(chunk, length))
        end = offset + length
        with self._opened() as descriptor:
            while offset < end:
                part = buffer[: min(chunk, end - offset)]
                self._fill(descriptor, memoryview(part.data), offset)
                yield part
                offset += len(part)

    def copy(self, offset: int, length: int) -> np.ndarray[Any, Any]:
        """`length` bytes from `offset`, as uint8, leaving no mapped pages behind."""

        copied = _aligned(length)
        with self._opened() as descriptor:
            self._fill(descriptor, memoryview(copied.data), offset)
        return copied

    def strided(self, offset: int, stride: int, count: int, length: int) -> np.ndarray[Any, Any]:
        """The first `length` of every `stride` bytes from `offset` on, `count` times, gathered, as uint8."""
        gathered = _aligned(count * length)
        view = memoryview(gathered.data)
        with self._opened() as descriptor:
            for place in range(count):
                self._fill(descriptor, view[place * length : (place + 1) * length], offset + place * stride)
        return gathered

    def _fill(self, descriptor: int, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            if hasattr(os, "preadv"):
                read = os.preadv(descriptor, [view[done:]], offset + done)
            else:
                read = len(view)
                view[:] = self.map()[offset : offset + read]
            if not read:
                raise self._changed("it shrank")
            done += read

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()


class MemorySource(Source):
    """Bytes at hand, in the place of a file: `path` is the file that they were in."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.size = len(data)
        self._data = data
        self._descriptor = -1

    @contextmanager
    def _opened(self) -> Iterator[int]:
        yield -1

    def map(self) -> mmap.mmap:
        return cast("mmap.mmap", self._data)  # whatever reads a map can read bytes

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def _fill(self, descriptor: int, view: memoryview, offset: int) -> None:
        view[:] = self._data[offset : offset + len(view)]


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _aligned(length: int) -> np.ndarray[Any, Any]:
    """An uninitialized buffer that begins at a cache line: the kernel copies into another several times slower."""
    import numpy as np

    room = np.empty(length + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + length]


def open_source(path: str, wanted: str = "model file") -> Source:
    """The file that a person names. A link is followed: the person chose it. `wanted` is what to name, for errors."""
    try:
        return Source(path, partial(_regular, partial(os.open, path, _FLAGS)))
    except FileNotFoundError:
        raise ArtifactError(path, "no such file", "check the path") from None
    except _Irregular as error:
        raise ArtifactError(path, str(error), f"name a {wanted}") from None
    except (OSError, ValueError) as error:
        wrong = f"cannot be opened ({_reason(error)})"
        raise ArtifactError(path, wrong, "check the path and its permissions") from None


def open_beside(model: str, location: str, what: str = "external data", *, held: bool = False) -> Source:
    """A file that the model at path `model` refers to as its `what`, only from inside the model's own folder.

    Refuses absolute paths, `..`, links on any part of the way, further hard links, and all but regular files: each
    of them can make the review read what the model's folder does not hold (CVE-2022-25882, CVE-2024-27318).
    `held` keeps it open: for a file that is read in very many places.
    """
    try:
        parts = _parts_inside(location)
    except _Irregular as error:
        raise _refusal(model, location, what, str(error)) from None
    opener = partial(_regular, partial(_open_parts, os.path.dirname(model) or ".", parts), most_links=1)
    try:
        return Source(os.path.join(os.path.dirname(model), *parts), opener, held=held)
    except FileNotFoundError:
        wrong = f"its {what} {quoted(location)} is missing"
        raise ArtifactError(model, wrong, "put the file beside the model") from None
    except _Irregular as error:
        raise _refusal(model, location, what, str(error)) from None
    except (OSError, ValueError) as error:
        raise _refusal(model, location, what, f"cannot be opened, or lies behind a link ({_reason(error)})") from None


class _Irregular(OSError):  # noqa: N818 - a finding, not a failure
    """What was opened is not the one kind of file that is read."""


def _regular(opener: Callable[[], int], most_links: int | None = None) -> int:
    """The descriptor of a regular file. Raises OSError for a folder, a pipe, a device, or one with many names."""
    descriptor = opener()
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and (most_links is None or status.st_nlink <= most_links):
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        raise _Irregular("has further hard links")
    raise _Irregular("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file")


def _parts_inside(location: str) -> list[str]:
    """The folders and the file on the way. Raises _Irregular for a way that leaves the folder."""
    if not location or "\0" in location:
        raise _Irregular("is no file name")
    if location.startswith(("/", "\\")) or _DRIVE.match(location):
        raise _Irregular("is an absolute path")
    parts = [part for part in re.split(r"[/\\]" if os.sep == "\\" else "/", location) if part not in ("", ".")]
    if not parts or ".." in parts:
        raise _Irregular("leaves the model's folder")
    return parts


def _open_parts(folder: str, parts: list[str]) -> int:
    """Opens each folder on the way in turn, so that none of them can be a link, even one made meanwhile."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows: no openat; links are refused by resolving the path
        path = Path(folder).joinpath(*parts)
        if path.resolve() != Path(folder).resolve().joinpath(*parts):
            raise OSError("a link")
        return os.open(path, _FLAGS)
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK | _CLOEXEC, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(parts[-1], _FLAGS | _NO_LINK, dir_fd=here)
    finally:
        os.close(here)


def _refusal(model: str, location: str, what: str, why: str) -> ArtifactError:
    wrong = f"its {what} {quoted(location)} {why}"
    return ArtifactError(model, wrong, f"store the {what} in a plain file in the model's own folder")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
