"""Opening the files of an artifact, and nothing but them.

A file under review comes from a stranger: its references may point at devices, links or other people's files.
Only regular files are opened, without following links and without waiting for a pipe's other end.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avreview.errors import ArtifactError

if TYPE_CHECKING:
    import numpy as np

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_DRIVE = re.compile(r"[A-Za-z]:")


class Source:
    """An open regular file: mapped for random access, read in chunks for streaming."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._map: mmap.mmap | None = None

    def map(self) -> mmap.mmap:
        """The whole file, mapped read-only. The file must not be empty."""
        if self._map is None:
            self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        return self._map

    def read(self, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, length, offset)
        return self.map()[offset : offset + length]

    def chunks(self, offset: int, length: int, chunk: int) -> Iterator[np.ndarray[Any, Any]]:
        """`length` bytes from `offset`, as uint8, through one reused buffer of at most `chunk` bytes.

        Streaming with `preadv` leaves the pages out of the process's resident memory, which a map would not.
        """
        import numpy as np

        buffer = np.empty(min(chunk, length), np.uint8)
        end = offset + length
        while offset < end:
            part = buffer[: min(chunk, end - offset)]
            if self._read_into(part, offset) != len(part):
                raise ArtifactError(self.path, "the file shrank while it was read", "review it when nothing writes to it")
            yield part
            offset += len(part)

    def _read_into(self, part: np.ndarray[Any, Any], offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [part], offset)
        data = self.read(offset, len(part))
        part[: len(data)] = memoryview(data)
        return len(data)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


def open_source(path: str) -> Source:
    """The file that a person names. A link is followed: the person chose it."""
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise ArtifactError(path, "no such file", "check the path") from None
    except IsADirectoryError:
        raise ArtifactError(path, "is a folder", "name a model file in it") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(path, f"cannot be opened ({_reason(error)})", "check the path and its permissions") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return Source(path, descriptor)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise ArtifactError(path, "is a folder", "name a model file in it")
    raise ArtifactError(path, "is not a regular file", "copy the model to a file and review that")


def open_beside(model: str, location: str) -> Source:
    """A file that the model at path `model` refers to, only from inside the model's own folder.

    Refuses absolute paths, `..`, links on any part of the way, further hard links, and all but regular files: each
    of them can make the review read what the model's folder does not hold (CVE-2022-25882, CVE-2024-27318).
    """
    parts = _parts_inside(model, location)
    folder = os.open(os.path.dirname(model) or ".", os.O_RDONLY) if hasattr(os, "O_DIRECTORY") else None
    try:
        descriptor = _open_parts(folder, parts, Path(model).parent)
    except FileNotFoundError:
        raise ArtifactError(
            model, f"its external data {location!r} is missing", "put the file beside the model"
        ) from None
    except (OSError, ValueError) as error:
        raise _refusal(model, location, f"cannot be opened without following a link ({_reason(error)})") from None
    finally:
        if folder is not None:
            os.close(folder)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        what = "has further hard links" if stat.S_ISREG(status.st_mode) else "is not a regular file"
        raise _refusal(model, location, what)
    return Source(os.path.join(os.path.dirname(model), *parts), descriptor)


def _parts_inside(model: str, location: str) -> list[str]:
    if not location or "\0" in location:
        raise _refusal(model, location, "is no file name")
    if location.startswith(("/", "\\")) or _DRIVE.match(location):
        raise _refusal(model, location, "is an absolute path")
    parts = [part for part in re.split(r"[/\\]" if os.sep == "\\" else "/", location) if part not in ("", ".")]
    if not parts or ".." in parts:
        raise _refusal(model, location, "leaves the model's folder")
    return parts


def _open_parts(folder: int | None, parts: list[str], parent: Path) -> int:
    """Opens each folder on the way in turn, so that none of them can be a link, even one made meanwhile."""
    if folder is None:  # Windows: no openat; links are refused by resolving the path
        path = parent.joinpath(*parts)
        if path.resolve() != parent.resolve().joinpath(*parts):
            raise OSError("a link")
        return os.open(path, _FLAGS)
    opened: list[int] = []
    try:
        for part in parts[:-1]:
            folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK | os.O_CLOEXEC, dir_fd=folder)
            opened.append(folder)
        return os.open(parts[-1], _FLAGS | _NO_LINK, dir_fd=folder)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _refusal(model: str, location: str, why: str) -> ArtifactError:
    return ArtifactError(
        model, f"its external data {location!r} {why}", "store the data in a plain file in the model's own folder"
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
