"""Rule packs: rules of other distributions, which join ours through the entry-point group `avreview.packs`.

    [project.entry-points."avreview.packs"]
    TEAM = "team_rules"

The entry point's name is the prefix of the pack's rule ids, `TEAM401`, whose first digit is the question that the rule
helps to answer. Its value is a package with a folder `rules` of cards, and with modules of checks and facts.
A pack is installed code like any linter's plug-in: it is imported when a review uses its rules, and not before.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from avreview.engine.distributions import title
from avreview.errors import AvreviewError

_RESERVED = ("AV", "ITEM")  # our own; and `item3` is a question
_WITHOUT = "or review without packs (--isolated)"


class PackError(AvreviewError):
    """A rule pack cannot be used: names the pack, what is wrong and what to do."""


class Pack(NamedTuple):
    """An installed rule pack. `name` and `version` are its distribution's."""

    prefix: str
    package: str
    name: str
    version: str

    @property
    def folder(self) -> Path:
        """The package's folder. Raises PackError where there is no such package."""
        try:
            spec = importlib.util.find_spec(self.package)
        except (Exception, SystemExit) as error:  # a package above it may do anything when it is imported
            raise self.wrong(f"cannot be imported: {_told(error)}") from None
        if spec is None:
            raise self.wrong(f"names the package {self.package}, which is not installed")
        if not spec.submodule_search_locations:
            raise self.wrong(f"names {self.package}, which is a module; a pack is a package with a folder `rules`")
        return Path(next(iter(spec.submodule_search_locations)))

    @property
    def digest(self) -> str:
        """sha256 over names and bytes of all files of the package: its cards, its checks, and what they use."""
        digest = hashlib.sha256()
        for path in sorted(_files(self.folder), key=lambda path: path.as_posix()):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise self.wrong(f"cannot be read: {path}: {error.strerror}") from None
            digest.update(f"{path.relative_to(self.folder).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
        return f"sha256:{digest.hexdigest()}"

    def wrong(self, what: str, remedy: str = "mend or uninstall it") -> PackError:
        """The error that says what is wrong with this pack."""
        return PackError(f"the rule pack {self.name} {self.version} {what}; {remedy}, {_WITHOUT}")

    def load(self) -> None:
        """Imports the package and every module directly in it, which registers its checks and facts."""
        try:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.ispkg:
                    importlib.import_module(f"{self.package}.{module.name}")
        except AvreviewError as error:
            raise self.wrong(f"cannot be used: {error}") from error
        except (Exception, SystemExit) as error:
            raise self.wrong(f"cannot be imported: {_told(error)}") from error


def packs(declared: Iterable[tuple[str, str, str]]) -> tuple[Pack, ...]:
    """The packs by prefix, from the name, the value and the distribution's folder of each entry point.

    Raises PackError where two claim one prefix, or one is not as a pack has to be.
    """
    found: dict[str, Pack] = {}
    for name, value, folder in declared:
        pack = _pack(name, value, folder)
        other = found.setdefault(name, pack)
        if other is not pack:
            raise pack.wrong(f"and {other.name} {other.version} both bring rules {name}nnn", "uninstall one of them")
    return tuple(found[prefix] for prefix in sorted(found))


def _pack(name: str, value: str, folder: str) -> Pack:
    pack = Pack(name, value, *title(folder))
    if not re.fullmatch(r"[A-Z]{2,12}", name):
        raise pack.wrong(f"names its entry point {name!r}, which is no prefix of rule ids: 2 to 12 capital letters")
    if name in _RESERVED:
        raise pack.wrong(f"brings rules {name}nnn, which are avreview's own", "give its rules another prefix")
    if not all(part.isidentifier() for part in value.split(".")):
        raise pack.wrong(f"names {value!r}, which is no package; the entry point's value is a package's name")
    return pack


def _files(folder: Path) -> Iterator[Path]:
    for place, inside, names in os.walk(folder):
        inside[:] = [name for name in inside if name != "__pycache__"]
        yield from (Path(place, name) for name in names if not name.endswith((".pyc", ".pyo")))


def _told(error: BaseException) -> str:
    """An error of somebody else's code in one line, with the place in its file."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    where = f" ({os.path.basename(own[-1].filename)}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
