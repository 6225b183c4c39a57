"""The opcodes that name functions and classes, call them and make objects: nothing is looked up, nothing is called.

A call of a name that `builders` knows gives what the builder makes of the arguments; any other gives an `Instance`
and is noted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avreview.load.pickles.containers import note_method
from avreview.load.pickles.inert import Global, Instance
from avreview.load.pickles.nested import names_inside
from avreview.load.pickles.opcodes import line, opcode, text
from avreview.load.pickles.state import INSTANCE, Machine, PickleError, Record

_PLAIN_BASES = frozenset(
    Global(module, name)
    for module in ("builtins", "__builtin__")
    for name in ("object", "int", "float", "complex", "str", "bytes", "bytearray", "tuple", "list", "dict", "set")
) | {Global("builtins", "frozenset"), Global("__builtin__", "unicode"), Global("__builtin__", "long")}
_MOST_OPTIONS = 1_000


# Names


@opcode(b"c")  # GLOBAL
def _global(m: Machine, position: int) -> int:
    module, name, end = _name_lines(m, position)
    m.stack.append(m.name(module, name, position - 1))
    return end


def _name_lines(m: Machine, position: int) -> tuple[str, str, int]:
    module, end = line(m, position)
    name, end = line(m, end)
    return _as_name(module), _as_name(name), end


def _as_name(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise PickleError("its pickle names a function by bytes that are not text") from None


@opcode(b"\x93")
def _stack_global(m: Machine, position: int) -> int:
    name = m.stack.pop()
    module = m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise PickleError("its pickle names a function by what is not text")
    m.stack.append(m.name(module, name, position - 1))
    return position


def _extension(length: int) -> Callable[[Machine, int], int]:
    def push(m: Machine, position: int) -> int:
        end = m.take(position, length)
        code = int.from_bytes(m.data[position:end], "little", signed=length == 4)
        if code <= 0:
            raise PickleError(f"its pickle names an extension by the code {code}")
        m.stack.append(m.name("", f"extension code {code}", position - 1))
        return end

    return push


for _byte, _length in ((b"\x82", 1), (b"\x83", 2), (b"\x84", 4)):
    opcode(_byte)(_extension(_length))


@opcode(b"P")
def _persid(m: Machine, position: int) -> int:
    written, position = line(m, position)
    m.stack.append(_persistent(m, text(written)))
    return position


@opcode(b"Q")
def _binpersid(m: Machine, position: int) -> int:
    m.stack[-1] = _persistent(m, m.stack[-1])
    return position


def _persistent(m: Machine, key: Any) -> Any:
    if m.persistent is None:
        raise PickleError("its pickle refers to data by a number that only its own program knows")
    return m.build("a persistent id", m.persistent, (key,), {})


# Calls


@opcode(b"R")
def _reduce(m: Machine, position: int) -> int:
    args = m.stack.pop()
    of = m.stack.pop()
    m.stack.append(_call(m, of, args if isinstance(args, tuple) else (args,), {}, "called", position - 1))
    return position


@opcode(b"\x81")
def _newobj(m: Machine, position: int) -> int:
    args = m.stack.pop()
    of = m.stack.pop()
    m.stack.append(_call(m, of, args if isinstance(args, tuple) else (args,), {}, "made", position - 1))
    return position


@opcode(b"\x92")
def _newobj_ex(m: Machine, position: int) -> int:
    options = m.stack.pop()
    args = m.stack.pop()
    of = m.stack.pop()
    m.stack.append(_call(m, of, args if isinstance(args, tuple) else (args,), _named(options), "made", position - 1))
    return position


def _named(options: Any) -> dict[str, Any]:
    if not isinstance(options, dict) or len(options) > _MOST_OPTIONS or any(type(key) is not str for key in options):
        raise PickleError("its pickle makes an object with options that have no names")
    return options


@opcode(b"i")
def _inst(m: Machine, position: int) -> int:
    module, name, end = _name_lines(m, position)
    args = tuple(m.unmark())
    m.stack.append(_call(m, m.name(module, name, position - 1), args, {}, "called", position - 1))
    return end


@opcode(b"o")
def _obj(m: Machine, position: int) -> int:
    parts = m.unmark()
    if not parts:
        raise PickleError("its pickle makes an object of no class")
    m.stack.append(_call(m, parts[0], tuple(parts[1:]), {}, "called", position - 1))
    return position


def _call(m: Machine, of: Any, args: tuple[Any, ...], options: dict[str, Any], how: str, offset: int) -> Any:
    if isinstance(of, Global):
        builder = m.builders.get(of)
        if builder is not None:
            return m.build(of, builder, args, options)
        special = SPECIAL.get(of)
        if special is not None:
            return special(m, of, args, offset)
    elif not isinstance(of, Instance):
        raise PickleError("its pickle calls what is no function")
    return _instance(m, of, args, options, how, offset)


def _instance(m: Machine, of: Any, args: tuple[Any, ...], options: dict[str, Any], how: str, offset: int) -> Instance:
    m.offset = offset
    m.use(of, how)
    return _stub(m, of, args, options, how)


def _stub(m: Machine, of: Any, args: tuple[Any, ...], options: dict[str, Any], how: str) -> Instance:
    m.room -= INSTANCE
    made = Instance(of, args, how)
    if options:
        made.kwargs.update(options)
        m.charge(100 * len(options))
    return made


# Functions of the unpickler's own, which call or make what they are given


def _getattr(m: Machine, of: Global, args: tuple[Any, ...], offset: int) -> Any:
    """An attribute of a name is a longer name; one of anything else is noted only if it is called."""
    if len(args) in (2, 3) and isinstance(args[0], Global) and isinstance(args[1], str):
        return m.name(args[0].module, f"{args[0].name}.{args[1]}", offset)
    return _stub(m, Global("builtins", "getattr"), args, {}, "called")


def _newobj_function(m: Machine, of: Global, args: tuple[Any, ...], offset: int) -> Any:
    if not args:
        raise PickleError("its pickle makes an object of no class")
    return _call(m, args[0], args[1:], {}, "made", offset)


def _newobj_ex_function(m: Machine, of: Global, args: tuple[Any, ...], offset: int) -> Any:
    if len(args) != 3 or not isinstance(args[1], tuple):
        raise PickleError("its pickle makes an object of the wrong parts")
    return _call(m, args[0], args[1], _named(args[2]), "made", offset)


def _reconstructor(m: Machine, of: Global, args: tuple[Any, ...], offset: int) -> Any:
    """`copyreg._reconstructor(cls, base, state)`: base.__new__(cls, state), of protocols 0 and 1."""
    if len(args) != 3:
        raise PickleError("its pickle makes an object of the wrong parts")
    kind, base, state = args
    if not isinstance(base, Global) or base not in _PLAIN_BASES:
        m.offset = offset
        m.use(base, "called")
    return _call(m, kind, () if state is None else (state,), {}, "made", offset)


def _getitem(m: Machine, of: Global, args: tuple[Any, ...], offset: int) -> Any:
    """`typing.List[int]` pickles as a call of getitem; the entry of anything else may be made by what it is."""
    if args and isinstance(args[0], Global) and args[0].module == "typing":
        return _stub(m, of, args, {}, "called")
    return _instance(m, of, args, {}, "called", offset)


def _load_from_bytes(m: Machine, of: Global, args: tuple[Any, ...], offset: int) -> Any:
    """`torch.storage._load_from_bytes(raw)` reads another checkpoint: what matters is what that one names."""
    raw = args[0] if args else None
    inner = names_inside(raw, m) if isinstance(raw, bytes) else None
    if inner is None:
        return _instance(m, of, args, {}, "called", offset)
    m.nested += inner
    return _stub(m, of, args, {}, "called")


SPECIAL: dict[tuple[str, str], Callable[[Machine, Global, tuple[Any, ...], int], Any]] = {
    ("builtins", "getattr"): _getattr,
    ("__builtin__", "getattr"): _getattr,
    ("copyreg", "__newobj__"): _newobj_function,
    ("copy_reg", "__newobj__"): _newobj_function,
    ("copyreg", "__newobj_ex__"): _newobj_ex_function,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("_operator", "getitem"): _getitem,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
}


def is_special(name: Global) -> bool:
    return name in SPECIAL


# State


@opcode(b"b")
def _build(m: Machine, position: int) -> int:
    state = m.stack.pop()
    target = m.stack[-1]
    m.offset = position - 1
    if isinstance(target, Instance):
        _give_state(m, target, state)
    elif isinstance(target, Record):
        before = target.copied
        m.build("a record", target.build, (state,), {})
        m.charge(target.copied - before)
    # Of the rest, only what a name stands for could obey: a dictionary's or a tensor's further attributes are not kept
    note_method(m, target, "__setstate__")
    return position


def _give_state(m: Machine, target: Instance, state: Any) -> None:
    if not target.states and isinstance(state, dict) and "_modules" in state and "_parameters" in state:
        m.note_module(target)
    target.state = state
    target.states += 1
