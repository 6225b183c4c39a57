"""The JSON of an exported program, checked as it is read.

The format is torch's own: https://github.com/pytorch/pytorch/blob/main/torch/_export/serde/schema.py (8.20 in torch
2.13; 5 to 8 are read, which is torch 2.3 and later).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.artifact import ValueInfo

# torch._export.serde.schema.ScalarType → the name of the element type.
SCALAR_TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn",
    30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip
_LONGEST_NUMBER = 100  # digits: Python's conversion takes quadratic time


class SchemaError(Exception):
    """The JSON is not what torch writes; the text says in lower case what is wrong with it."""


class Named:
    """A reference to a value of the program by its name there."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Subgraph:
    """A graph that is an argument: a branch, or the body of a loop."""

    __slots__ = ("graph",)

    def __init__(self, graph: Mapping[str, Any]) -> None:
        self.graph = graph


class TensorMeta(NamedTuple):
    """What the program records of a tensor; sizes that are not fixed are expressions."""

    dtype: str | None
    sizes: tuple[int | str | None, ...]
    strides: tuple[int | str | None, ...]
    offset: int
    requires_grad: bool
    is_strided: bool


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object in some bytes. Raises SchemaError."""
    try:
        value = json.loads(raw, parse_int=_integer)
    except (ValueError, RecursionError):
        raise SchemaError("is not the JSON that torch writes") from None
    return mapping(value, "it")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError("a number of too many digits")
    return int(digits)


def mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SchemaError(f"has no object where {what} should be")
    return value


def sequence(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise SchemaError(f"has no list where {what} should be")
    return value


def text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise SchemaError(f"has no text where {what} should be")
    return value


def union(value: Any, what: str) -> tuple[str, Any]:
    """The one alternative of a union: its tag and its value."""
    entries = mapping(value, what)
    if len(entries) != 1:
        raise SchemaError(f"has {len(entries)} values where {what} should be one")
    return next(iter(entries.items()))


def _size(value: Any) -> int | str | None:
    tag, inner = union(value, "a size")
    if tag == "as_int" and isinstance(inner, int) and not isinstance(inner, bool):
        return inner
    return text(mapping(inner, "a size").get("expr_str"), "a size") if tag == "as_expr" else None


def tensor_meta(value: Any) -> TensorMeta:
    """A TensorMeta. Raises SchemaError."""
    entries = mapping(value, "a tensor's description")
    dtype = entries.get("dtype")
    offset = _size(entries.get("storage_offset", {"as_int": 0}))
    return TensorMeta(
        SCALAR_TYPES.get(dtype) if isinstance(dtype, int) else None,
        tuple(_size(size) for size in sequence(entries.get("sizes"), "a tensor's sizes")),
        tuple(_size(stride) for stride in sequence(entries.get("strides"), "a tensor's strides")),
        offset if isinstance(offset, int) else 0,
        bool(entries.get("requires_grad")),
        entries.get("layout", 7) in (0, 7),
    )


def value_info(key: str, value: Any) -> ValueInfo:
    """The declared type of a value of the graph."""
    meta = tensor_meta(value)
    return ValueInfo(key, meta.dtype, meta.sizes)


_NAMED = ("as_tensor", "as_custom_obj", "as_token")
_SYMBOLIC = ("as_sym_int", "as_sym_float", "as_sym_bool")
_PLAIN = ("as_int", "as_bool", "as_string", "as_operator")
_PLAIN_LISTS = ("as_ints", "as_bools", "as_strings")


def argument(value: Any) -> Any:
    """An argument as plain values: Named for what is computed, a tuple for a list, None for what does not matter."""
    tag, inner = union(value, "an argument")
    if tag in _NAMED:
        return Named(text(mapping(inner, tag).get("name"), "a name"))
    if tag in _SYMBOLIC or tag == "as_optional_tensor":
        return _alternative(inner)
    if tag in _PLAIN and isinstance(inner, (int, str)):
        return inner
    if tag == "as_float":
        return _float(inner)
    if tag == "as_scalar_type" and isinstance(inner, int):
        return SCALAR_TYPES.get(inner)
    if tag == "as_graph":
        entries = mapping(inner, "a subgraph")
        return Subgraph(mapping(entries.get("graph"), "a subgraph"))
    if tag == "as_tensors":
        return tuple(Named(text(mapping(entry, tag).get("name"), "a name")) for entry in sequence(inner, tag))
    if tag in ("as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
        return tuple(_alternative(entry) for entry in sequence(inner, tag))
    if tag in _PLAIN_LISTS:
        return tuple(entry if isinstance(entry, (int, str)) else None for entry in sequence(inner, tag))
    if tag == "as_floats":
        return tuple(_float(entry) for entry in sequence(inner, tag))
    return None


def _alternative(value: Any) -> Any:
    """A number, or the name of one; a tensor, or none."""
    tag, inner = union(value, "an argument")
    if tag == "as_name":
        return Named(text(inner, "a name"))
    if tag == "as_tensor":
        return Named(text(mapping(inner, tag).get("name"), "a name"))
    if tag == "as_float":
        return _float(inner)
    return inner if tag in ("as_int", "as_bool") and isinstance(inner, int) else None


def _float(value: Any) -> float:
    """torch writes infinities and NaN as text."""
    if isinstance(value, (int, float)) or value in ("Infinity", "-Infinity", "NaN"):
        try:
            return float(value)
        except OverflowError:
            pass
    raise SchemaError("has no number where one should be")
