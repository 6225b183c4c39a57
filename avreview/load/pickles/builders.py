"""The plain data of the standard library and of numpy: what a pickle's calls of them stand for.

Each builder makes a value of ours of the arguments, takes no longer than they are long, allocates nothing that they
do not hold, and raises TypeError or ValueError for arguments that do not fit.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from avreview.load.pickles.arrays import NumpyType, from_buffer, reconstruct, scalar
from avreview.load.pickles.inert import Global, Instance
from avreview.load.pickles.keys import Keys, as_set

_CODECS = frozenset({"latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"})
_MOST_PARTS = 1_000  # of a path


def _listed(values: Any = ()) -> list[Any]:
    if isinstance(values, Instance):
        return [values]  # what it would give, one by one, is not known
    if not isinstance(values, list | tuple | set | frozenset | dict | str | bytes | bytearray):
        raise TypeError("what is no list of things")
    return list(values)


def _iter(*values: Any) -> list[Any]:
    """An iterator over a list, as the list: one over what a function returns would call it."""
    if len(values) != 1 or not isinstance(values[0], list | tuple | str | bytes):
        raise TypeError("what is no list")
    return list(values[0])


def _set(values: Any = ()) -> set[Any]:
    return as_set(_listed(values))


def _frozenset(values: Any = ()) -> frozenset[Any]:
    return frozenset(as_set(_listed(values)))


def _tuple(values: Any = ()) -> tuple[Any, ...]:
    return tuple(_listed(values))


def _deque(values: Any = (), longest: Any = None) -> list[Any]:
    return _listed(values)


def _dict(values: Any = (), /, **options: Any) -> dict[Any, Any]:
    if not values:
        return options
    pairs = list(values.items()) if isinstance(values, dict) else _listed(values)
    checked = Keys().checked
    made: dict[Any, Any] = {}
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError("what are no pairs")
        made[checked(pair[0])] = pair[1]
    made.update(options)
    return made


def _counter(values: Any = (), /, **options: Any) -> dict[Any, Any]:
    if isinstance(values, dict):
        return _dict(values, **options)
    checked = Keys().checked
    made: dict[Any, Any] = {}
    for value in _listed(values):
        made[checked(value)] = made.get(value, 0) + 1
    return made


def _default_dict(factory: Any = None, values: Any = (), /, **options: Any) -> dict[Any, Any]:
    """The factory is left out: nobody asks for a key that is missing."""
    return _dict(values, **options)


def _bytes(values: Any = b"", encoding: Any = None, errors: Any = "strict") -> bytes:
    if isinstance(values, str):
        return _encode(values, encoding, errors)
    if not isinstance(values, bytes | bytearray | list | tuple):
        raise TypeError("what are no bytes")  # of a number, so many zeros
    return bytes(values)


def _bytearray(values: Any = b"", encoding: Any = None, errors: Any = "strict") -> bytearray:
    return bytearray(_bytes(values, encoding, errors))


def _encode(text: Any, encoding: Any = "utf-8", errors: Any = "strict") -> bytes:
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding.lower() not in _CODECS:
        raise TypeError("an encoding other than those of pickles")
    return text.encode(encoding)


def _complex(real: Any = 0.0, imaginary: Any = 0.0) -> complex:
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise TypeError("what are no numbers")
    return complex(real, imaginary)


def _slice(*bounds: Any) -> tuple[Any, ...]:
    """A slice or range, as the tuple of its bounds."""
    if not 1 <= len(bounds) <= 3:
        raise TypeError("other than one to three bounds")
    return bounds


def _type(value: Any) -> Global:
    if value is not None:
        raise TypeError("what names no type")  # NoneType pickles as type(None)
    return Global("builtins", "NoneType")


def _date(kind: Callable[..., Any], *args: Any) -> Any:
    """A date or time from its packed bytes or from numbers; of a time zone of one's own only the time is kept."""
    plain = [part for part in args if isinstance(part, int | bytes | datetime.tzinfo | datetime.timedelta)]
    if args and isinstance(args[0], str):
        plain.insert(0, args[0].encode("latin-1"))  # from Python 2
    return kind(*plain)


def _path(kind: Callable[..., Any], *parts: Any) -> str:
    if len(parts) > _MOST_PARTS or not all(isinstance(part, str) for part in parts):
        raise TypeError("a path of what is no text")
    return str(kind(*parts))


def _known(module: str, name: str) -> Callable[..., Any]:
    """A class whose instances are harmless and kept as records."""

    def make(*args: Any, **options: Any) -> Instance:
        made = Instance(Global(module, name), args, "made")
        made.kwargs.update(options)
        return made

    return make


def _builtins() -> dict[str, Callable[..., Any]]:
    return {
        "set": _set, "frozenset": _frozenset, "list": _listed, "tuple": _tuple, "dict": _dict, "slice": _slice,
        "range": _slice, "xrange": _slice, "complex": _complex, "bytearray": _bytearray, "bytes": _bytes, "type": _type,
        "iter": _iter,
        "object": _known("builtins", "object"),
    }  # fmt: skip


def _collections() -> dict[str, Callable[..., Any]]:
    return {"OrderedDict": _dict, "defaultdict": _default_dict, "Counter": _counter, "deque": _deque}


def _dates() -> dict[str, Callable[..., Any]]:
    names = ("date", "time", "datetime", "timedelta", "timezone")
    return {name: partial(_date, getattr(datetime, name)) for name in names}


def _paths() -> dict[str, Callable[..., Any]]:
    posix, windows = partial(_path, PurePosixPath), partial(_path, PureWindowsPath)
    return {
        "PosixPath": posix, "PurePosixPath": posix, "Path": posix, "PurePath": posix,
        "WindowsPath": windows, "PureWindowsPath": windows,
    }  # fmt: skip


def _arrays() -> dict[tuple[str, str], Callable[..., Any]]:
    made: dict[tuple[str, str], Callable[..., Any]] = {("numpy", "dtype"): NumpyType}
    for core in ("numpy.core", "numpy._core"):
        made[f"{core}.multiarray", "_reconstruct"] = reconstruct
        made[f"{core}.multiarray", "scalar"] = scalar
        made[f"{core}.numeric", "_frombuffer"] = from_buffer
    return made


def _records() -> dict[tuple[str, str], Callable[..., Any]]:
    names = {
        "argparse": ("Namespace",),
        "types": ("SimpleNamespace",),
        "uuid": ("UUID",),
        "decimal": ("Decimal",),
        "fractions": ("Fraction",),
    }
    return {(module, name): _known(module, name) for module, own in names.items() for name in own}


def _all() -> dict[tuple[str, str], Callable[..., Any]]:
    made: dict[tuple[str, str], Callable[..., Any]] = {("_codecs", "encode"): _encode}
    modules = {
        ("builtins", "__builtin__"): _builtins(),
        ("collections",): _collections(),
        ("datetime",): _dates(),
        ("pathlib", "pathlib._local"): _paths(),  # the second since Python 3.13
    }
    for aliases, names in modules.items():
        made.update({(module, name): builder for module in aliases for name, builder in names.items()})
    return made | _arrays() | _records()


BUILDERS: Mapping[tuple[str, str], Callable[..., Any]] = _all()
