"""Pickles that want to crash, hang or fill the memory: each is read or refused in words, and at once."""

from __future__ import annotations

import datetime
import pickle
import pickletools
import random
import struct
import time
import tracemalloc
import warnings
from collections import Counter, OrderedDict, defaultdict
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickle_attacks import Code, call, data, glob, stack_glob, text, whole

from avreview.load.pickles.builders import BUILDERS
from avreview.load.pickles.calls import SPECIAL
from avreview.load.pickles.machine import PickleError, PickleLimits, unpickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def refusal(pickled: bytes, **limits: Any) -> str:
    with pytest.raises(PickleError) as caught:
        unpickle(pickled, builders=BUILDERS, limits=PickleLimits(**limits))
    said = str(caught.value)
    assert said.startswith("its pickle ")
    assert said.isprintable()
    assert len(said) < 400
    return said


BROKEN = {
    "empty": (b"", "cut off"),
    "no stop": (b"\x80\x02N", "cut off"),
    "nothing to stop at": (b".", "without a value"),
    "nothing to add": (b"\x80\x02N\x86.", "is damaged: byte 3"),
    "no mark": (b"Nt.", "never began"),
    "protocol 6": (b"\x80\x06N.", "protocol 6"),
    "unknown opcode": (b"\x80\x02\xff.", "none at byte 2"),
    "frame past the end": (b"\x80\x04\x95\x00\x10\0\0\0\0\0\0N.", "cut off"),
    "unknown memo": (b"h\x09.", "value 9"),
    "negative memo": (b"Np-4\n.", "numbers a value -4"),
    "odd dictionary": (b"(Nd.", "no value"),
    "append to text": (b"X\x01\0\0\0aNa.", "no list"),
    "set an item of text": (b"X\x01\0\0\0aNNs.", "no dictionary"),
    "add to a list": (b"](N\x90.", "no set"),
    "call of a number": (b"K\x01)R.", "no function"),
    "made of no class": (b"(o.", "no class"),
    "name of a number": (b"K\x01X\x01\0\0\0a\x93.", "not text"),
    "name of bytes": (b"c\xff\xfe\na\n.", "not text"),
    "text": (b"X\x02\0\0\0\xff\xff.", "not UTF-8"),
    "short text": (b"\x8c\x01\xff.", "not UTF-8"),
    "escape": (b"S'\\x4'\n.", "escape"),
    "no quotes": (b"Sabc\n.", "quotes"),
    "unicode escape": (b"V\\u12\n.", "escape"),
    "number": (b"I12x\n.", "number"),
    "long": (b"L12xL\n.", "number"),
    "float": (b"F1.2.3\n.", "number"),
    "negative length": (b"\x8b\xff\xff\xff\xff.", "number of -1 bytes"),
    "negative text": (b"T\xff\xff\xff\xff.", "-1 bytes"),
    "buffer": (b"\x97.", "outside"),
    "no buffer": (b"N\x98.", "buffer"),
    "extension 0": (b"\x82\x00.", "code 0"),
    "extension -1": (b"\x84\xff\xff\xff\xff.", "code -1"),
    "options": (whole(Code(glob("a", "B").opcodes + b")K\x01\x92")), "no names"),
    "list as a key": (b"}]Ns.", "uses a list as a key"),
    "list in a key": (b"}]\x85Ns.", "uses a list as part of a key"),
    "list in a set": (b"\x8f(]\x90.", "uses a list as a key"),
    "array of too few bytes": (
        whole(call(glob("numpy.core.numeric", "_frombuffer"), b"abc", call(glob("numpy", "dtype"), "f4"), (1,), "C")),
        "other than that",
    ),
    "zeros by number": (whole(call(glob("builtins", "bytearray"), 1 << 30)), "no bytes"),
    "a class made of nothing": (whole(call(glob("builtins", "type"), "A", (), {})), "wrong parts"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_pickle_says_what_is_wrong(case: str) -> None:
    pickled, expected = BROKEN[case]
    assert expected in refusal(pickled)


def _bombs() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Small pickles, and limits, with which each must be refused at once and in little memory."""
    small = {"memory": 1 << 22}
    deep_tuple = b")" + b"\x85" * 1_000
    shared = b")" + b"".join(b"q\x00h\x00\x86" for _ in range(60))
    return {
        "nested lists": (b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".", {}),
        "nested through the memo": (b"]q\0" + b"h\0]q\0a0" * 600 + b".", {}),
        "nested objects": (glob("a", "B").opcodes + b"q\x010" + b"h\x01)\x81" * 2_000 + b"b" * 1_999 + b".", {}),
        "nested tuples as a key": (b"}" + deep_tuple + b"Ns.", {}),
        "shared tuples as a key": (b"}" + shared + b"Ns.", {}),
        "keys that hash alike": (
            b"}("
            + b"".join(b"\x8a\x0a" + (n * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for n in range(1, 20_000))
            + b"u.",
            {},
        ),
        "members that hash alike": (
            b"\x8f("
            + b"".join(b"\x8a\x0a" + (n * ((1 << 61) - 1)).to_bytes(10, "little") for n in range(1, 20_000))
            + b"\x90.",
            {},
        ),
        "a number of a million digits": (b"I" + b"9" * 1_000_000 + b"\n.", {}),
        "a long of a million bytes": (b"\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000 + b".", {}),
        "bytes of 2^63": (b"\x8e" + struct.pack("<Q", 1 << 63) + b"x.", {}),
        "a bytearray of 2^40": (b"\x96" + struct.pack("<Q", 1 << 40) + b"x.", {}),
        "text of 2^62": (b"\x8d" + struct.pack("<Q", 1 << 62) + b"x.", {}),
        "many lists": (b"\x80\x02(" + b"]" * 200_000 + b"t.", small),
        "many objects": (b"\x80\x02" + glob("a", "B").opcodes + b"q\x00(" + b"h\x00)R" * 50_000 + b"t.", small),
        "many marks": (b"(" * 100_000 + b"N.", small),
        "many memo entries": (b"N" + b"\x94" * 100_000 + b".", small),
        "copies of a set": (
            b"\x80\x02"
            + glob("builtins", "set").opcodes
            + b"q\x000"
            + data(list(range(2_000)))
            + b"q\x01"
            + b"h\x00h\x01\x85R" * 500
            + b".",
            small,
        ),
        "a list that grows by itself": (
            b"](" + b"N" * 1_000 + b"eq\x00" + b"h\x00(" * 3 + b"K\x01" * 600_000 + b"e.",
            small,
        ),
        "wide text": (b"(" + (b"X\xff\0\0\0" + "😀".encode() + b"a" * 251) * 4_000 + b"t.", small),
        "opcodes": (b"N0" * 3_000 + b"N.", {"opcodes": 5_000}),
    }


BOMBS = _bombs()


@pytest.mark.parametrize("case", list(BOMBS))
def test_a_bomb_is_refused_at_once(case: str) -> None:
    pickled, limits = BOMBS[case]
    tracemalloc.start()
    started = time.process_time()
    try:
        refusal(pickled, **limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 6
    assert peak < (24 << 20 if limits else 300 << 20)


# Mutations


class _Net:
    pass


def _samples() -> list[bytes]:
    net = _Net()
    net.__dict__.update(
        training=True, _parameters={"w": np.ones(3, "f4")}, _modules={"a": _Net()}, path=PurePosixPath("a")
    )
    value = {
        "state_dict": OrderedDict((f"layer{n}.weight", [n, 1.5 * n, (n, "x" * n), b"y" * n]) for n in range(6)),
        "net": net, "set": {1, "a", (2, 3)}, "frozen": frozenset([4]), "big": 10**40, "none": None, "flag": True,
        "array": np.arange(4), "number": np.float32(2), "when": datetime.datetime(2026, 3, 1), "count": Counter("aab"),
        "bytes": bytearray(b"abc"), "text": "é😀\ud800", "complex": 1j, "default": defaultdict(list, a=[1]),
    }  # fmt: skip
    stacked = whole(call(stack_glob("a", "b"), {"k": [1]}, text("x")))
    return [*(pickle.dumps(value, protocol) for protocol in PROTOCOLS), stacked]


SAMPLES = _samples()
_OPCODES = bytes(ord(opcode.code) for opcode in pickletools.opcodes)


def mutated(pickled: bytes, chance: random.Random) -> bytes:
    content = bytearray(pickled)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(content)) if content else 0
        kind = chance.randrange(7)
        if kind == 0 and content:
            content[place] = chance.randrange(256)
        elif kind == 1 and content:
            content[place] = chance.choice(_OPCODES)
        elif kind == 2:
            del content[place : place + chance.choice((1, 2, 8))]
        elif kind == 3:
            content[place:place] = bytes([chance.choice(_OPCODES)]) * chance.choice((1, 1, 3, 50))
        elif kind == 4:
            other = chance.randrange(len(content)) if content else 0
            content[place:place] = content[other : other + chance.choice((2, 16, 64))]
        elif kind == 5 and content:
            content[place] ^= 1 << chance.randrange(8)
        else:
            content[place:place] = b"\xff" * chance.choice((1, 4, 8))
    return bytes(content)


def assert_handled(pickled: bytes) -> None:
    try:
        found = unpickle(pickled, persistent=lambda key: None, builders=BUILDERS)
    except PickleError as error:
        said = str(error)
        assert said.startswith("its pickle ")
        assert said.isprintable()
        assert len(said) < 600
        return
    assert 0 < found.end <= len(pickled)
    repr(found.code)


@pytest.mark.parametrize("which", range(len(SAMPLES)))
def test_a_mutated_pickle_is_read_or_refused(which: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(400):
            assert_handled(mutated(SAMPLES[which], random.Random(seed)))


_NAMES = [glob(*name).opcodes for name in (*BUILDERS, *SPECIAL, ("os", "system"), ("a", "Net"), ("numpy", "ndarray"))]
_VALUES = [
    data(value)
    for value in (
        1,
        -1,
        1 << 30,
        "f4",
        "latin1",
        b"abc",
        None,
        True,
        (),
        [],
        {},
        (2,),
        {"a": 1},
        ("a", 1),
        [(1, 2)],
        "é",
    )
]
_TYPE = data((3, "<", None, None, None, -1, -1, 0))
_ALONE = [
    bytes([ord(opcode.code)]) for opcode in pickletools.opcodes if opcode.arg is None and opcode.code not in ".\x97"
]
_MEMO = [bytes([opcode, number]) for opcode in b"hq" for number in range(3)]


def shuffled(chance: random.Random, length: int) -> bytes:
    """Values, calls of known names with arguments of any kind, and opcodes, in any order on values to work on."""

    def piece(depth: int = 2) -> bytes:
        kind = chance.randrange(10)
        if kind < 4 and depth:
            args = b"".join(piece(depth - 1) for _ in range(chance.randrange(5)))
            ending = chance.choice((b"", b"", _TYPE + b"b", b"Nb", b"(" + args + b"tb", b"]b"))
            return chance.choice(_NAMES) + b"(" + args + b"t" + chance.choice((b"R", b"\x81", b"}\x92")) + ending
        if kind < 8:
            return chance.choice(_VALUES)
        return chance.choice(_NAMES) if kind == 8 else chance.choice(_MEMO)

    parts = [chance.choice(_ALONE) if chance.random() < 0.2 else piece() for _ in range(length)]
    return b"(" + b"Nq\x00q\x01q\x02" + b"]" * 4 + b"".join(parts) + b"."


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 12))
def test_opcodes_in_any_order_are_read_or_refused(seed: int, length: int) -> None:
    assert_handled(shuffled(random.Random(seed), length))


@pytest.mark.parametrize("which", range(len(SAMPLES)))
def test_a_pickle_cut_off_anywhere_is_refused(which: int) -> None:
    pickled = SAMPLES[which]
    for end in range(0, len(pickled), 11):
        refusal(pickled[:end])
