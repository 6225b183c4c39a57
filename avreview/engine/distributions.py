"""What is installed beside avreview, told from the folders that installers leave behind.

`importlib.metadata` tells the same and more, and importing it takes as long as reviewing a small model. This is on
the way of every review: the file system is asked without detours, and the rest is for what was found.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

_SUFFIXES = (".dist-info", ".egg-info")
_LARGEST = 1 << 20  # bytes of a file of metadata
_BINARY = getattr(os, "O_BINARY", 0)


def distributions() -> dict[str, str]:
    """The folder of every distribution on Python's path by its name in normal form and its version: `torch-2.6.0`.

    Of several with one name the first counts, which is the one imported.
    """
    found: dict[str, str] = {}
    names: set[str] = set()
    for folder in _folders():
        try:
            entries = sorted(entry for entry in os.listdir(folder) if entry.endswith(_SUFFIXES))
        except OSError:  # a zip archive, or a folder that is not there
            continue
        for entry in entries:
            title, _, version = entry.rpartition(".")[0].partition("-")
            name = title.replace("_", "-").replace(".", "-").lower()
            if name not in names:
                names.add(name)
                found[f"{name}-{version}"] = os.path.join(folder, entry)
    return found


def entry_points(group: str) -> Iterator[tuple[str, str, str]]:
    """Each entry point of a group: its name, its value, and the folder of its distribution."""
    sought = group.encode()
    for folder in distributions().values():
        text = _read(f"{folder}/entry_points.txt")
        if sought in text:
            for name, value in _entries(text.decode("utf-8", "replace"), group):
                yield name, value, folder


def title(folder: str) -> tuple[str, str]:
    """The name and the version of a distribution as its authors write them."""
    text = _read(f"{folder}/METADATA") or _read(f"{folder}/PKG-INFO")
    head = text.decode("utf-8", "replace").replace("\r\n", "\n").partition("\n\n")[0]
    fields = dict(re.findall(r"^(Name|Version):[ \t]*(\S+)", head, re.MULTILINE))
    stem, _, version = os.path.basename(folder).rpartition(".")[0].partition("-")
    return fields.get("Name", stem), fields.get("Version", version)


def _folders() -> list[str]:
    """The folders that packages are imported from, without the working folder.

    `python -m` puts that first: what lies in a checkout under review is not installed, and is not to be run.
    """
    path = list(sys.path)
    try:
        here = os.getcwd()
    except OSError:  # it was removed
        here = ""
    if path and path[0] in ("", here) and path[0] not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        del path[0]
    return [folder for folder in dict.fromkeys(path) if folder]


def _read(path: str) -> bytes:
    """A file of metadata; nothing where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _BINARY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _LARGEST)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _entries(text: str, group: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()
