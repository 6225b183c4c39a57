"""Pickles that would run code if they were loaded, put together opcode by opcode. Nothing here loads one.

Every attack is a name that acts, in one of the ways in which a pickle can have it called.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

STOP = b"."


class Attack(NamedTuple):
    """A whole pickle, and what it is called in a test."""

    name: str
    pickle: bytes


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def data(value: Any) -> bytes:
    """The opcodes that build a plain value."""
    if isinstance(value, bool) or value is None:
        return {True: b"\x88", False: b"\x89", None: b"N"}[value]
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, Code):
        return value.opcodes
    if isinstance(value, tuple):
        return b"(" + b"".join(map(data, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(data, value)) + b"e"
    assert isinstance(value, dict)
    return b"}(" + b"".join(data(part) for item in value.items() for part in item) + b"u"


class Code(NamedTuple):
    """Opcodes that leave one value on the stack."""

    opcodes: bytes


def glob(module: str, name: str) -> Code:
    return Code(f"c{module}\n{name}\n".encode())


def stack_glob(module: str, name: str) -> Code:
    return Code(text(module) + text(name) + b"\x93")


def call(of: Code, *args: Any) -> Code:
    return Code(of.opcodes + data(args) + b"R")


def whole(code: Code, protocol: int = 4) -> bytes:
    return (b"\x80" + bytes([protocol]) if protocol > 1 else b"") + code.opcodes + STOP


# The ways


def by_global(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(call(glob(module, name), *args), 2)


def by_old_global(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(call(glob(module, name), *args), 0)


def by_stack_global(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(call(stack_glob(module, name), *args))


def by_inst(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return b"(" + b"".join(map(data, args)) + f"i{module}\n{name}\n".encode() + STOP


def by_obj(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return b"\x80\x02(" + glob(module, name).opcodes + b"".join(map(data, args)) + b"o" + STOP


def by_memo(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """The names are put away first and fetched in the other order, over decoys."""
    put = text(name) + b"\x940" + text("collections") + b"\x940" + text(module) + b"\x940"
    return b"\x80\x04" + put + b"h\x02h\x00\x93" + data(args) + b"R" + STOP


def by_overwritten_memo(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """The decoy that is put away under a number is replaced later."""
    put = text("torch") + b"q\x07" + b"0" + text("Size") + b"q\x08" + b"0"
    again = text(module) + b"r\x07\0\0\0" + b"0" + text(name) + b"p8\n" + b"0"
    return b"\x80\x04" + put + again + b"j\x07\0\0\0" + b"g8\n\x93" + data(args) + b"R" + STOP


def by_duplicate(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    of = stack_glob(module, name).opcodes
    return b"\x80\x04" + of + b"2" + data(args) + b"R0" + b"0" + b"}" + STOP


def discarded(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """What the call returns is thrown away, and an innocent state dict remains."""
    done = call(glob(module, name), *args).opcodes + b"0"
    return b"\x80\x02" + done + data({"weight": [1, 2, 3], "epoch": 3}) + STOP


def in_a_marked_group(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    done = b"(" + call(glob(module, name), *args).opcodes + b"1"
    return b"\x80\x02" + done + data({"weight": [1, 2, 3]}) + STOP


def deep_inside(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(Code(data({"state_dict": {"a": [({"b": [call(stack_glob(module, name), *args)]},)]}})))


def framed(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """With a frame that says it ends before the call."""
    body = call(stack_glob(module, name), *args).opcodes + STOP
    return b"\x80\x04\x95" + struct.pack("<Q", 3) + body


def by_getattr(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """Through a package that happens to import the module."""
    found = call(glob("builtins", "getattr"), glob("torch.serialization", module.split(".")[0]), name)
    return whole(call(found, *args))


def by_dotted_name(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(call(stack_glob("torch.utils.data", f"{module}.{name}"), *args))


def by_partial(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(call(call(glob("functools", "partial"), glob(module, name), *args)))


def by_map(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    mapped = call(glob("builtins", "map"), glob(module, name), [*args])
    return whole(call(glob("builtins", "list"), mapped))


def by_newobj_map(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    mapped = Code(glob("builtins", "map").opcodes + data((glob(module, name), [*args])) + b"\x81")
    return whole(Code(glob("collections", "deque").opcodes + data((mapped,)) + b"\x81"))


def by_default(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """A dictionary whose missing entries are made by the call."""
    made = call(glob("collections", "defaultdict"), call(glob("functools", "partial"), glob(module, name), *args))
    return whole(call(glob("_operator", "getitem"), made, "x"))


def by_type_rebuild(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """torch's own rebuilder calls the function that it is handed."""
    return whole(
        call(glob("torch._tensor", "_rebuild_from_type_v2"), glob(module, name), glob("torch", "Tensor"), args, {})
    )


def by_setstate(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """A class is given the function as the method that BUILD calls."""
    kind = glob("mypkg.nets", "Net").opcodes
    patched = kind + data((None, {"__setstate__": glob(module, name)})) + b"b0"
    return b"\x80\x02" + patched + kind + b")\x81" + data(args[0] if args else None) + b"b" + STOP


def by_getstate_of_module(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    """Made without `__init__`, then given the state of a module: it looks like part of a model."""
    state = {"training": False, "_parameters": {}, "_modules": {}}
    return b"\x80\x02" + glob(module, name).opcodes + data(args) + b"\x81" + data(state) + b"b" + STOP


def by_newobj_ex(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return b"\x80\x04" + stack_glob(module, name).opcodes + data(args) + data({"shell": True}) + b"\x92" + STOP


def by_newobj_function(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(call(glob("copyreg", "__newobj__"), glob(module, name), *args))


def by_reconstructor(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    made = call(glob("copy_reg", "_reconstructor"), glob("mypkg", "Net"), glob(module, name), args[0] if args else None)
    return whole(made, 0)


def handed_to_loads(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(call(glob("_pickle", "loads"), by_global(module, name, args)))


def handed_to_torch(module: str, name: str, args: tuple[Any, ...]) -> bytes:
    return whole(call(glob("torch.storage", "_load_from_bytes"), by_global(module, name, args)))


WAYS: tuple[Callable[[str, str, tuple[Any, ...]], bytes], ...] = (
    by_global, by_old_global, by_stack_global, by_inst, by_obj, by_memo, by_overwritten_memo, by_duplicate, discarded,
    in_a_marked_group, deep_inside, framed, by_getattr, by_dotted_name, by_partial, by_map, by_newobj_map, by_default,
    by_type_rebuild, by_setstate, by_getstate_of_module, by_newobj_ex, by_newobj_function, by_reconstructor,
    handed_to_loads, handed_to_torch,
)  # fmt: skip

# NEWOBJ of a function fails before it does anything
ONLY_CLASSES = {by_getstate_of_module, by_newobj_ex, by_newobj_function}

GADGETS = [
    name
    for line in Path(__file__).with_name("pickle_gadgets.txt").read_text().splitlines()
    if not line.startswith("#")
    for name in line.split()
]


def attacks() -> Iterator[Attack]:
    """Every gadget in every way."""
    for gadget in GADGETS:
        module, name = _split(gadget)
        is_class = name.rpartition(".")[2][0].isupper()
        for way in WAYS:
            if is_class or way not in ONLY_CLASSES:
                yield Attack(f"{gadget}-{way.__name__}", way(module, name, ("id",)))


def _split(dotted: str) -> tuple[str, str]:
    """Module and name: the module is all before the first part that is a class or a function."""
    parts = dotted.split(".")
    end = next((n for n, part in enumerate(parts) if n and (part[0].isupper() or n == len(parts) - 1)), 1)
    return ".".join(parts[:end]), ".".join(parts[end:])


def odd_attacks() -> Iterator[Attack]:
    """Those that are not a name called in some way."""
    for opcode, length in ((b"\x82", 1), (b"\x83", 2), (b"\x84", 4)):
        number = (7).to_bytes(length, "little")
        yield Attack(f"extension-{length}-called", b"\x80\x02" + opcode + number + data(("id",)) + b"R" + STOP)
        yield Attack(f"extension-{length}-made", b"\x80\x02" + opcode + number + b")\x81" + STOP)
    module = glob("torch.serialization", "os")
    found = call(glob("builtins", "getattr"), module, "environ")
    yield Attack("setitem-of-environ", b"\x80\x02" + found.opcodes + text("A") + text("B") + b"s" + STOP)
    yield Attack("appends-to-sys-path", b"\x80\x02" + glob("sys", "path").opcodes + b"(" + text("/x") + b"e" + STOP)
    hooked = glob("mypkg.registry", "HOOKS").opcodes
    yield Attack("append-to-a-global", b"\x80\x02" + hooked + text("x") + b"a" + STOP)
    yield Attack("setitem-of-a-global", b"\x80\x02" + hooked + text("x") + text("y") + b"s" + STOP)
    yield Attack("additems-to-a-global", b"\x80\x04" + hooked + b"(" + text("x") + b"\x90" + STOP)
    yield Attack("build-on-a-function", b"\x80\x02" + glob("torch", "load").opcodes + data({"a": 1}) + b"b" + STOP)
    own = call(glob("mypkg.nets", "Net"))
    method = call(glob("builtins", "getattr"), own, "apply")
    yield Attack("method-of-an-object", whole(call(method, glob("evilpkg", "run"))))
    yield Attack("build-on-an-attribute", b"\x80\x02" + method.opcodes + data({"a": 1}) + b"b" + STOP)
    yield Attack("appends-to-an-attribute", b"\x80\x02" + method.opcodes + b"(" + text("x") + b"e" + STOP)
    yield Attack("attrgetter-called", whole(call(call(glob("operator", "attrgetter"), "system"), module)))
    yield Attack("type-with-three", whole(call(glob("builtins", "type"), "T", (), {"__del__": glob("os", "abort")})))
    yield Attack("call-of-a-string", whole(Code(text("os.system") + data(("id",)) + b"R")))
    yield Attack("newline-in-a-name", whole(call(stack_glob("os\nposix", "system"), "id")))
    yield Attack("escape-in-a-name", whole(call(stack_glob("os", "sys\x1b[2Jtem"), "id")))
    yield Attack("non-ascii-module", whole(call(stack_glob("ｏｓ", "system"), "id")))
    yield Attack("empty-name", whole(call(stack_glob("os", ""), "id")))
    yield Attack(
        "iter-of-a-function",
        whole(call(glob("builtins", "list"), call(glob("builtins", "iter"), glob("evilpkg", "run"), 0))),
    )
    yield Attack("mixed-protocols", b"\x80\x05\x80\x00" + by_stack_global("os", "system", ("id",)))
    deeper = whole(call(glob("torch.storage", "_load_from_bytes"), by_global("os", "system", ("id",))))
    yield Attack("nested-twice", whole(call(glob("torch.storage", "_load_from_bytes"), deeper)))
    late = b"\x80\x02N." * 3 + by_global("os", "system", ("id",)) + b"\x80\x02]." + b"\0" * 64
    yield Attack("nested-fourth-of-five", whole(call(glob("torch.storage", "_load_from_bytes"), late)))
