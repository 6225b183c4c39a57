"""The functions and methods that are computed: those that only make a value of their arguments, on plain values.

Methods that change their object are here as well: it is an object of the configuration, and nothing else.
"""

from __future__ import annotations

import itertools
import math
import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from avreview.recipe.model import Place
from avreview.recipe.python.limits import DEEPEST, MOST_ITEMS
from avreview.recipe.python.operators import check_key, formatted, in_order, light
from avreview.recipe.python.values import Imported, Row, Table, Undecided, Unknown, partly

CONSTANTS = {
    **dict.fromkeys(("math.pi", "numpy.pi", "torch.pi"), math.pi),
    **dict.fromkeys(("math.inf", "numpy.inf", "torch.inf"), math.inf),
    **dict.fromkeys(("math.e", "numpy.e"), math.e),
    "math.tau": math.tau,
}

_BUILT_IN: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "all": all,
    "any": any,
    "bool": bool,
    "enumerate": enumerate,
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "reversed": reversed,
    "round": round,
    "set": set,
    "sorted": sorted,
    "str": str,
    "sum": sum,
    "tuple": tuple,
    "zip": zip,
}
_UNORDERED = frozenset({"all", "any", "bool", "len", "max", "min", "set", "sorted"})  # whatever the order of a set
_LIBRARY: Mapping[str, Callable[..., Any]] = {
    "itertools.chain": itertools.chain,
    "itertools.chain.from_iterable": itertools.chain.from_iterable,
    "math.ceil": math.ceil,
    "math.degrees": math.degrees,
    "math.floor": math.floor,
    "math.log": math.log,
    "math.log2": math.log2,
    "math.radians": math.radians,
    "math.sqrt": math.sqrt,
    "numpy.deg2rad": math.radians,
    "os.path.basename": posixpath.basename,
    "os.path.dirname": posixpath.dirname,
    "os.path.join": posixpath.join,
    "numpy.rad2deg": math.degrees,
    "numpy.radians": math.radians,
    "numpy.sqrt": math.sqrt,
}
_TEXT = frozenset(
    (
        "capitalize", "count", "endswith", "find", "format", "index", "join", "lower", "lstrip", "partition",
        "removeprefix", "removesuffix", "replace", "rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines",
        "startswith", "strip", "title", "upper",
    )
)  # fmt: skip
_LIST = frozenset({"append", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse"})
_DICT = frozenset({"copy", "get", "items", "keys", "merge", "pop", "popitem", "setdefault", "update", "values"})
_TUPLE = frozenset({"count", "index"})
NAMES = frozenset({*_BUILT_IN, "dict", "range"})


def built_in(name: str, at: Place, args: list[Any], named: Mapping[str, Any]) -> Any:
    """A built-in function's value. Raises what it raises."""
    if name == "range":
        return _counted(*args)
    if name == "str" and not all(isinstance(arg, str | int | float | bool | None) for arg in args):
        raise Undecided(Unknown("is the text of something that is no number or text", at))
    _wholly_known([*args, *named.values()])
    if name not in _UNORDERED:
        for arg in args:
            in_order(arg)
    if name == "set":
        return {check_key(item) for arg in args for item in arg}
    return _drawn(_BUILT_IN[name](*args, **named), at)


def library(path: str, at: Place, args: list[Any], named: Mapping[str, Any]) -> Any:
    """A library function's value. Raises Undecided for one that is not known to do nothing else."""
    if path in ("copy.copy", "copy.deepcopy"):
        return duplicate(args[0], deep=path == "copy.deepcopy")
    if path.endswith(".ConfigDict"):
        return table_of(at, args, named)
    function = _LIBRARY.get(path)
    if function is None:
        raise Undecided(Unknown(f"is given by {path}, which is not run", at))
    _wholly_known([*args, *named.values()])
    return _drawn(function(*args, **named), at)


def method(holder: Any, name: str, at: Place, args: list[Any], named: Mapping[str, Any]) -> Any:
    """`holder.name(…)`. Raises what it raises, and LookupError for a method that is not computed."""
    if isinstance(holder, str) and name in _TEXT:
        return _text(holder, name, at, args, named)
    if isinstance(holder, Table) and name in _DICT:
        return _of_table(holder, name, at, args, named)
    if isinstance(holder, Row) and name in _LIST:
        return _of_row(holder, name, at, args, named)
    if isinstance(holder, tuple) and name in _TUPLE:
        light((holder, args))
        return getattr(holder, name)(*args)
    raise NotImplementedError(name)


def duplicate(value: Any, *, deep: bool = True) -> Any:
    """A copy. In a deep one, objects that stand in several places stay one."""
    made: dict[int, Any] = {}
    if not deep:
        return value.copy() if isinstance(value, Table) else Row(value, value.at) if isinstance(value, Row) else value

    def follow(value: Any) -> Any:
        if id(value) in made:
            return made[id(value)]
        if isinstance(value, Table):
            table = made[id(value)] = value.copy()
            for key, item in value.items():
                table[key] = follow(item)
            return table
        if isinstance(value, Row):
            row = made[id(value)] = Row((), value.at, value.rest)
            row.extend([follow(item) for item in value])
            return row
        if isinstance(value, tuple):
            return tuple([follow(item) for item in value])
        return value

    return follow(value)


def _dict(at: Place, args: list[Any], named: Mapping[str, Any]) -> Table:
    made = Table(at)
    if args:
        if partly(args[0]) is not None and not isinstance(args[0], Table):
            raise Undecided(partly(args[0]) or Unknown("is not known", at))
        made.take(args[0] if isinstance(args[0], dict) else dict(args[0]), at)
    made.take(named, at)
    return made


def table_of(at: Place, args: list[Any], named: Mapping[str, Any]) -> Table:
    """`dict(…)` of one mapping or list of pairs, and names."""
    if len(args) > 1:
        raise TypeError("dict takes one argument")
    return _dict(at, args, named)


def _counted(*args: Any) -> Any:
    numbers = range(*args)
    if len(numbers) > MOST_ITEMS:
        raise ValueError("is too long")
    return numbers


def _wholly_known(values: list[Any]) -> None:
    for value in values:
        unknown = partly(value)
        if unknown is not None:
            raise Undecided(unknown)
        if isinstance(value, Imported):
            raise TypeError("is another module's")
        light(value)


def _drawn(result: Any, at: Place) -> Any:
    """What a function gave, with iterators turned into the tuples that they run through."""
    if isinstance(result, str | int | float | bool | None | tuple | set):
        return result
    if isinstance(result, Table):
        return result
    if isinstance(result, list):
        return Row(result, at)
    return tuple(itertools.islice(result, MOST_ITEMS + 1))


def _text(holder: str, name: str, at: Place, args: list[Any], named: Mapping[str, Any]) -> Any:
    _wholly_known([*args, *named.values()])
    if name == "format":
        return formatted(holder, tuple(args), named)
    if name == "replace" and len(holder) * len(args[1]) > MOST_ITEMS:
        raise ValueError("is too long")
    if name == "join":
        in_order(args[0])
    if name == "join" and sum(len(part) + len(holder) for part in args[0]) > MOST_ITEMS:
        raise ValueError("is too long")
    result = getattr(holder, name)(*args, **named)
    return Row(result, at) if isinstance(result, list) else result


def _of_row(holder: Row, name: str, at: Place, args: list[Any], named: Mapping[str, Any]) -> Any:
    if name in ("append", "insert", "extend"):
        if name == "extend":
            unknown = partly(args[0])
            if unknown is not None:
                holder.rest = unknown
                return None
        if len(holder) + 1 > MOST_ITEMS:
            raise ValueError("is too long")
    elif holder.rest is not None:
        raise Undecided(holder.rest)
    if name in ("count", "index", "remove"):
        light((holder, args))
    result = getattr(list, name)(holder, *args, **named)
    return Row(result, at) if name == "copy" else result


def _of_table(holder: Table, name: str, at: Place, args: list[Any], named: Mapping[str, Any]) -> Any:
    if name in ("update", "merge"):
        return _update(holder, name, at, args, named)
    if name == "copy":
        return holder.copy()
    check_key(args[0] if args else None)
    if name in ("items", "keys", "values"):
        if holder.rest is not None:
            raise Undecided(holder.rest)
        return tuple(getattr(dict, name)(holder))
    if name == "popitem" or (holder.rest is not None and args and args[0] not in holder):
        raise Undecided(holder.rest or Unknown("is whatever comes last", at))
    if name == "setdefault" and args and args[0] not in holder:
        holder.put(args[0], args[1] if len(args) > 1 else None, at)
    if name == "pop":
        holder.places.pop(args[0], None)
    return getattr(dict, name)(holder, *args, **named)


def _update(holder: Table, name: str, at: Place, args: list[Any], named: Mapping[str, Any]) -> None:
    """`update` replaces whole values, or goes into dicts where it is mmengine's; `merge` does as bases are merged."""
    from avreview.recipe.python.merging import DELETE, merged

    given = table_of(at, args, named)
    if name == "merge":
        result = given if given.pop(DELETE, False) else merged(given, holder)
        holder.clear()
        holder.take(result, at)
        holder.rest = result.rest
    elif holder.merges:
        _go_into(holder, given, 0)
    else:
        holder.take(given, at)


def _go_into(holder: Table, given: Table, deep: int) -> None:
    for key, value in given.items():
        below = holder.get(key)
        if isinstance(below, Table) and isinstance(value, Table) and deep < DEEPEST:
            _go_into(below, value, deep + 1)
        else:
            holder.put(key, value, given.place(key))
    if given.rest is not None:
        holder.blur(given.rest, set(given))
