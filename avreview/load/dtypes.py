"""ONNX's element types: their names, how many bits each takes, and how numpy holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# TensorProto.DataType → (name, bits). https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
ONNX_TYPES: dict[int, tuple[str, int]] = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16),
    6: ("int32", 32), 7: ("int64", 64), 8: ("string", 0), 9: ("bool", 8), 10: ("float16", 16),
    11: ("float64", 64), 12: ("uint32", 32), 13: ("uint64", 64), 14: ("complex64", 64), 15: ("complex128", 128),
    16: ("bfloat16", 16), 17: ("float8_e4m3fn", 8), 18: ("float8_e4m3fnuz", 8), 19: ("float8_e5m2", 8),
    20: ("float8_e5m2fnuz", 8), 21: ("uint4", 4), 22: ("int4", 4), 23: ("float4_e2m1fn", 4),
    24: ("float8_e8m0fnu", 8), 25: ("uint2", 2), 26: ("int2", 2), 27: ("float6_e2m3fn", 6),
    28: ("float6_e3m2fn", 6),
}  # fmt: skip
BITS = dict(ONNX_TYPES.values())

_NUMPY = frozenset((
    "bool", "complex64", "complex128", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64",
))  # fmt: skip


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype that holds one element; numpy's own where there is one, ml_dtypes' otherwise."""
    import numpy as np

    if name in _NUMPY:
        little: np.dtype[Any] = np.dtype(name).newbyteorder("<")
        return little
    import ml_dtypes

    special: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return special


def byte_length(dtype: str, elements: int) -> int:
    """The bytes that `elements` of a type take; elements under 8 bits are packed, low bits first."""
    return (elements * BITS[dtype] + 7) // 8


def decode(raw: np.ndarray[Any, Any], dtype: str, elements: int) -> np.ndarray[Any, Any]:
    """Bytes (uint8, flat) as elements; a view wherever an element takes whole bytes."""
    bits = BITS[dtype]
    if bits >= 8:
        return raw.view(numpy_dtype(dtype))
    import numpy as np

    digits = np.unpackbits(raw, count=elements * bits, bitorder="little").reshape(elements, bits)
    codes = np.packbits(digits, axis=1, bitorder="little").reshape(elements)
    return codes.view(numpy_dtype(dtype))  # ml_dtypes keeps an element in the low bits of a byte
