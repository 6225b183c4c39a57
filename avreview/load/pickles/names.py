"""Which of the names in a pickle make loading it unsafe.

What loading would execute decides. A name that is only mentioned runs its module's import. A class whose object is
`made` (NEWOBJ) runs its `__new__` and `__setstate__`: of a user's own class and of a framework's that is what loading
a model means, of the standard library's only known holders of data do nothing else. What is `called` runs with
arguments of the author's choice: a class, written LikeThis, makes an object of itself, as Enum members do; a
function is trusted only by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from avreview.checkpoint import NamedCode
from avreview.load.pickles.builders import BUILDERS
from avreview.load.pickles.known import (
    ACTING,
    BUILTIN_DATA,
    CALLED_FUNCTIONS,
    CALLED_PREFIXES,
    COMPUTING,
    DATA_CLASSES,
    HARMLESS,
    ONE_FILE,
    REACHED,
    STANDARD,
)

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}  # since Python 2
_OWN_PLACES = frozenset({"__main__", "__mp_main__", "__torch__"})
_MOST_PARTS = 40  # of a dotted name
_PACKAGED = re.compile(r"<torch_package_\d+>\.")
_DUNDER = re.compile(r"__\w+__")
_EXCEPTION = re.compile(r"[A-Z]\w*(Error|Exception|Warning|Exit|Interrupt|Iteration)")
_PLACES = frozenset(prefix.rpartition(".")[0] for prefix in CALLED_PREFIXES)
_BUILT = frozenset(f"{module}.{name}" for module, name in BUILDERS)


class Unsafe(NamedTuple):
    """A name that loading must not meet, and why: a phrase with the name as its subject."""

    code: NamedCode
    reason: str


def judge(code: Sequence[NamedCode]) -> list[Unsafe]:
    """The names that make loading unsafe, in the order given."""
    return [Unsafe(named, reason) for named in code if (reason := why_unsafe(named))]


def why_unsafe(code: NamedCode) -> str:
    """Why a name makes loading unsafe; "" when it does not."""
    if code.name.startswith("extension code "):
        return "stands for whatever the loading program has registered under this number"
    name = _PACKAGED.sub("", code.name, count=1)
    if "(" in name:
        return "is what another call returned, and loading calls it"
    parts = name.split(".")
    parts[0] = _RENAMED.get(parts[0], parts[0])
    if len(parts) > _MOST_PARTS or not all(part.isidentifier() for part in parts):
        return "is a name that no function or class can have"
    if _is_known_function(".".join(parts)):
        return ""
    own = parts[0] in ONE_FILE and len(parts) > 2 and parts[1][:1].islower() and not code.through
    if (does := _acts(parts)) and not own:
        return _with_use(code, does)
    if any(_DUNDER.fullmatch(part) and part not in _OWN_PLACES for part in parts[1:]):
        return _with_use(code, "reaches into Python's own workings")
    if any(part in REACHED for part in parts[1:]) or any(_reached(parts[n:]) for n in range(1, len(parts) - 1)):
        return _with_use(code, "reaches another module through one that imports it")
    if _is_harmless(parts, code.use):
        return ""
    if code.through and code.use != "named":
        return _with_use(code, "is reached through an attribute of the module named")
    if parts[0] in STANDARD and not own:
        return _with_use(code, "is of Python's standard library, but not of the parts that only hold data")
    if code.use == "named":
        return ""
    if code.use == "made" or _is_class(parts[-1]):
        return ""
    return "is a function, not known to be harmless, that loading calls with arguments from the file"


def _acts(parts: list[str]) -> str:
    """What a name of ACTING, or below one, does; "" for others."""
    dotted = ".".join(parts)
    if any(within(dotted, harmless) for harmless in HARMLESS):
        return ""
    for end in range(len(parts), 0, -1):
        if does := ACTING.get(".".join(parts[:end])):
            return does
    return ""


def _reached(parts: list[str]) -> bool:
    """Whether these parts of a longer name are one of ACTING: `types.CodeType` in `mypkg.types.CodeType`."""
    return parts[0] in STANDARD and any(".".join(parts[:end]) in ACTING for end in range(2, len(parts) + 1))


def within(dotted: str, prefix: str) -> bool:
    return dotted == prefix or dotted.startswith(prefix + ".")


def _is_known_function(dotted: str) -> bool:
    """Whether a name is one of the functions that only put together what they are given."""
    place, _, _ = dotted.rpartition(".")
    return dotted in CALLED_FUNCTIONS or dotted in _BUILT or (dotted.startswith(CALLED_PREFIXES) and place in _PLACES)


def _is_harmless(parts: list[str], use: str) -> bool:
    dotted = ".".join(parts)
    if use == "named" and parts[0] in COMPUTING:
        return True
    if parts[-1].startswith("__pyx_unpickle_") or any(within(dotted, harmless) for harmless in HARMLESS):
        return True  # Cython's own: makes an object of the class and sets its fields
    if parts[0] == "builtins" and len(parts) == 2:
        return parts[1] in BUILTIN_DATA or bool(_EXCEPTION.fullmatch(parts[1]))
    held = any(".".join(parts[:end]) in DATA_CLASSES for end in range(1, len(parts) + 1))
    return held and (use == "made" or _is_class(parts[-1]))


def _is_class(name: str) -> bool:
    """Whether a name is written as classes are: `Color`, `_Color`."""
    return name.lstrip("_")[:1].isupper()


def _with_use(code: NamedCode, what: str) -> str:
    """`what` a name does, and what loading does with it."""
    follows = {"called": "loading the file calls it", "made": "loading the file makes an object of it"}
    return f"{what}; {follows.get(code.use, 'the file names it without calling it')}"
