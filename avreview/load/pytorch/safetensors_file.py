"""safetensors: a JSON header, and behind it the tensors one after the other.

Format: https://github.com/huggingface/safetensors#format. As in its own reader, the tensors have to cover the rest
of the file exactly: without holes, without overlaps, without an end of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from avreview.artifact import Tensor
from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.dtypes import BITS
from avreview.load.source import Source
from avreview.load.storage import RawStorage
from avreview.load.wording import quoted

# https://github.com/huggingface/safetensors/blob/main/safetensors/src/tensor.rs, `Dtype`
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16",
    "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32", "F64": "float64", "I64": "int64",
    "U64": "uint64", "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn",
}  # fmt: skip

_LENGTH = 8  # bytes of the header's own length
_LONGEST_HEADER = 100_000_000  # the format's own limit
_MEMORY_PER_BYTE = 10  # of the header, while it is read
_MAX_RANK = 64
_MAX_ELEMENTS = 1 << 60
_MAX_DIGITS = 19


class Safetensors(NamedTuple):
    """The tensors of one file by name, in the header's order, and its metadata."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]


class _Entry(NamedTuple):
    dtype: Any
    shape: Any
    offsets: Any


def read_safetensors(source: Source, context: OpenContext) -> Safetensors:
    """The tensors of a safetensors file. Raises ArtifactError when the header does not fit the file."""
    length = int.from_bytes(source.read(0, _LENGTH), "little")
    limit = min(_LONGEST_HEADER, context.memory // _MEMORY_PER_BYTE)
    if length > source.size - _LENGTH:
        _refuse(source, f"has a header of {length:,} bytes in a file of {source.size:,}")
    if length > limit:
        _refuse(source, f"has a header of {length:,} bytes, more than the {limit:,} allowed")
    header = _parsed(source, source.read(_LENGTH, length))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(source, "has metadata that are not text")
    begin = _LENGTH + length
    tensors: dict[str, Tensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        tensors[name], (start, end) = _tensor(source, name, entry, begin)
        spans.append((start, end, name))
    _check_cover(source, sorted(spans), source.size - begin)
    return Safetensors(tensors, metadata)


def _parsed(source: Source, raw: bytes) -> dict[str, Any]:
    try:
        header = strict_json(raw, _object)
    except ValueError as error:
        _refuse(source, f"has a header that cannot be read ({error})")
    if not isinstance(header, dict):
        _refuse(source, "has a header that is no table of tensors")
    return header


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} as a number")


def strict_json(
    raw: bytes,
    make: Callable[[list[tuple[str, Any]]], Any] | None = None,
    constant: Callable[[str], Any] = _no_number,
) -> Any:
    """The JSON of a file. Raises ValueError, with a phrase, for what is not UTF-8, twice there, or nested too deep.

    `make` turns the pairs of each object into what stands for it, `constant` the words NaN and Infinity.
    """
    try:
        text = raw.decode("utf-8")
        return json.loads(text, object_pairs_hook=make or unique, parse_constant=constant, parse_int=_integer)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at character {error.pos:,}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dictionary. Raises ValueError when two have one name."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{quoted(twice)} twice")
    return found


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """A tensor's entry as a record, which takes a third of a dictionary's memory; anything else as it is."""
    found = unique(pairs)
    if len(found) == 3 and found.keys() == {"dtype", "shape", "data_offsets"}:
        return _Entry(found["dtype"], found["shape"], found["data_offsets"])
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _tensor(source: Source, name: str, entry: Any, begin: int) -> tuple[Tensor, tuple[int, int]]:
    if not isinstance(entry, _Entry):
        _refuse(source, f"does not say of tensor {quoted(name)} its type, shape and place alone")
    dtype = _DTYPES.get(entry.dtype) if isinstance(entry.dtype, str) else None
    if dtype is None:
        shown = quoted(entry.dtype) if isinstance(entry.dtype, str) else "of no name"
        _refuse(source, f"has the tensor {quoted(name)} of the unknown type {shown}")
    shape, offsets = entry.shape, entry.offsets
    if not _are_sizes(shape) or len(shape) > _MAX_RANK or math.prod([n or 1 for n in shape]) > _MAX_ELEMENTS:
        _refuse(source, f"has the tensor {quoted(name)} with an impossible shape")
    if not _are_sizes(offsets) or len(offsets) != 2:
        _refuse(source, f"has the tensor {quoted(name)} without a place")
    start, end = offsets
    elements = math.prod(shape)
    if (end - start) * 8 != elements * BITS[dtype]:
        _refuse(source, f"has {end - start:,} bytes for the {elements:,} × {dtype} of tensor {quoted(name)}")
    return Tensor(name, tuple(shape), dtype, RawStorage(source, begin + start, dtype, elements)), (start, end)


def _are_sizes(values: Any) -> bool:
    if not isinstance(values, list):
        return False
    for value in values:  # noqa: SIM110 - in a file of 300,000 tensors `all` takes half a second
        if type(value) is not int or value < 0:
            return False
    return True


def _check_cover(source: Source, spans: list[tuple[int, int, str]], size: int) -> None:
    covered = 0
    for start, end, name in spans:
        if start != covered:
            how = "overlaps another one" if start < covered else "leaves a hole before it"
            _refuse(source, f"has the tensor {quoted(name)}, which {how}")
        covered = end
    if covered != size:
        what = "is cut off" if covered > size else "goes on behind its last tensor"
        _refuse(source, f"{what}: its tensors take {covered:,} bytes and it has {size:,}")


def _refuse(source: Source, what: str) -> NoReturn:
    raise ArtifactError(source.path, f"as a safetensors file it {what}", "copy or download it again")
