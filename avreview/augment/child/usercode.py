"""Where in a person's own code an exception came from, and what it says, in one line."""

from __future__ import annotations

import functools
import inspect
import os
import sysconfig
import traceback
import types
from typing import Any

import avreview
from avreview.load.wording import one_line

_LONGEST = 200  # characters of what an exception says
_OURS = os.path.dirname(os.path.abspath(avreview.__file__)) + os.sep
_LIBRARIES = tuple(
    os.path.abspath(path) + os.sep for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")} if path
)
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def said_by(error: BaseException) -> str:
    """`ValueError: no boxes (aug.py, line 12)`: the innermost frame outside libraries, else the innermost at all."""
    said = _text(error)
    if isinstance(error, SyntaxError) and error.filename:
        return (
            f"{type(error).__name__}: {one_line(error.msg, _LONGEST)} ({_short(error.filename)}, line {error.lineno})"
        )
    where = place(error)
    return f"{type(error).__name__}{f': {said}' if said else ''}{f' ({where})' if where else ''}"


def _text(error: BaseException) -> str:
    """What an exception says, whose own words may fail as well."""
    try:
        return one_line(str(error), _LONGEST)
    except Exception:
        return ""


def defined(function: Any) -> str:
    """Where a function, or what an object is called by, stands: `aug.py, line 3`; empty where that is not told."""
    try:
        inner = inspect.unwrap(function)
        while isinstance(inner, functools.partial):
            inner = inner.func
        code = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    except Exception:
        return ""
    if not isinstance(code, types.CodeType) or os.path.abspath(code.co_filename).startswith(_OURS):
        return ""
    return f"{_short(code.co_filename)}, line {code.co_firstlineno}"


def place(error: BaseException) -> str:
    """`aug.py, line 12`; empty where no frame but ours is known."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    others = [entry for entry in frames if not os.path.abspath(entry[0]).startswith(_OURS)]
    own = [entry for entry in others if not _library(entry[0])]
    if not own and not others:
        return ""
    path, line = (own or others)[-1]
    return f"{_short(path)}, line {line}"


def _library(path: str) -> bool:
    whole = os.path.abspath(path)
    return path.startswith("<") or any(part in whole for part in _INSTALLED) or whole.startswith(_LIBRARIES)


def _short(path: str) -> str:
    """From the working folder where the file is in it."""
    whole, here = os.path.abspath(path), os.getcwd() + os.sep
    return one_line(whole[len(here) :] if whole.startswith(here) else whole, _LONGEST)
