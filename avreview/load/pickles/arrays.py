"""numpy's arrays, types and numbers as a pickle holds them: what they are and their bytes, made into arrays on demand.

Formats: numpy/_core/src/multiarray/methods.c (array_setstate) and descriptor.c (arraydescr_setstate).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from struct import unpack
from typing import TYPE_CHECKING, Any

from avreview.load.pickles.state import Record

if TYPE_CHECKING:
    import numpy as np

_KIND = re.compile(r"([<>|=]?)(?:([?bBhHiIlLqQefdgFDG])|([biufcSUVOMm])(\d{1,9}))\Z")
_CHARS = {  # numpy's one-letter types of a fixed size → kind and bytes
    "?": "b1", "b": "i1", "B": "u1", "h": "i2", "H": "u2", "i": "i4", "I": "u4", "l": "i8", "L": "u8", "q": "i8",
    "Q": "u8", "e": "f2", "f": "f4", "d": "f8", "g": "f16", "F": "c8", "D": "c16", "G": "c32",
}  # fmt: skip
_STRUCT = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f2": "e",
    "f4": "f", "f8": "d", "c8": "ff", "c16": "dd",
}  # fmt: skip
_MOST_AXES = 64
_MOST_FIELDS = 1_000  # of a structured type, at every level together
_DEEPEST = 16


class NumpyType(Record):
    """A dtype: `name` as numpy writes it without its byte order (`f4`, `U8`, `O`), `order` one of `<`, `>` and `|`.

    A structured type has `fields`, and its name is `V` and its size; a type of small arrays is no more than that.
    """

    __slots__ = ("depth", "fields", "leaves", "name", "order", "unit", "used")

    def __init__(self, name: Any, align: Any = False, copy: Any = False, metadata: Any = None) -> None:
        super().__init__()
        found = _KIND.match(name) if isinstance(name, str) else None
        if name == "O":
            self.name, self.order = "O", "|"
        elif found is None:
            raise ValueError("a type that numpy does not have")
        else:
            self.name = _CHARS.get(found[2], found[2]) if found[2] else found[3] + str(int(found[4]))
            self.order = found[1].replace("=", "<") or "<"
        if self.name.startswith("O"):
            self.name = "O"
        self.fields: dict[str, tuple[NumpyType, int]] = {}
        self.unit = ""
        self.depth = 0
        self.leaves = 1
        self.used = False  # as a field: then it is complete, and so cannot come to hold itself

    def build(self, state: Any) -> None:
        """(version, byte order, subarray, names, fields, item size, alignment, flags[, metadata])."""
        if not isinstance(state, tuple) or not 7 <= len(state) <= 9 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("the state of no numpy type")
        if self.used:
            raise ValueError("a type that is changed after it was used")
        self.order = state[1].replace("=", "<")
        names, fields, size = state[3], state[4], state[5]
        if names is not None:
            self._give_fields(_fields(names, fields))
        if self.name[:1] in "VSU" and isinstance(size, int) and 0 <= size < 1 << 31:
            self.name = f"{self.name[0]}{size // 4 if self.name[0] == 'U' else size}"
        if self.name[:1] in "Mm" and len(state) == 9:
            self.unit = _unit(state[8])

    def _give_fields(self, fields: dict[str, tuple[NumpyType, int]]) -> None:
        for kind, _ in fields.values():
            kind.used = True
        if self.used:
            raise ValueError("a type that holds itself")
        self.fields = fields
        self.leaves = sum(kind.leaves for kind, _ in fields.values())
        self.depth = 1 + max((kind.depth for kind, _ in fields.values()), default=0)
        if self.leaves > _MOST_FIELDS or self.depth > _DEEPEST:
            raise ValueError("a type of too many fields")

    @property
    def size(self) -> int:
        """Bytes an element, 0 for objects."""
        if self.name == "O":
            return 0
        size = int(self.name[1:])
        return 4 * size if self.name[0] == "U" else size

    def numpy(self) -> np.dtype[Any]:
        """numpy's own type. Raises ValueError for objects, which have no bytes."""
        import numpy as np

        if self.name == "O":
            raise ValueError("objects, which are no numbers")
        if self.fields:
            return np.dtype(
                {
                    "names": list(self.fields),
                    "formats": [kind.numpy() for kind, _ in self.fields.values()],
                    "offsets": [offset for _, offset in self.fields.values()],
                    "itemsize": self.size,
                }
            )
        try:
            return np.dtype(self.order + self.name + self.unit)
        except TypeError:
            raise ValueError(f"a type that numpy does not have: {self.name}") from None

    def __repr__(self) -> str:
        return f"<numpy type {self.order}{self.name}>"


def _fields(names: Any, fields: Any) -> dict[str, tuple[NumpyType, int]]:
    made: dict[str, tuple[NumpyType, int]] = {}
    if not isinstance(names, tuple | list) or not isinstance(fields, dict):
        raise ValueError("a structured type without fields")
    for name in names:
        entry = fields.get(name) if isinstance(name, str) else None
        if not isinstance(entry, tuple) or len(entry) < 2 or not isinstance(entry[0], NumpyType):
            raise ValueError("a field of no numpy type")
        if not isinstance(entry[1], int) or not 0 <= entry[1] < 1 << 31:
            raise ValueError("a field at no place")
        made[name] = (entry[0], entry[1])
    return made


def _unit(metadata: Any) -> str:
    """The unit of a datetime64: metadata is ({}, (b"ns", 1, 1, 1))."""
    unit = metadata[1] if isinstance(metadata, tuple) and len(metadata) == 2 else None
    text = unit[0] if isinstance(unit, tuple) and unit else None
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-zμ]{1,7}", text):
        raise ValueError("a unit of time that numpy does not have")
    return "" if text == "generic" else f"[{text}]"


class NumpyArray(Record):
    """An array: its shape, type, and bytes in C order (`fortran`: with the first axis fastest).

    `data` is a list for an array of objects.
    """

    __slots__ = ("data", "fortran", "shape", "type")

    def __init__(self, shape: tuple[int, ...] = (), kind: NumpyType | None = None, data: Any = b"") -> None:
        super().__init__()
        self.shape = shape
        self.type = kind
        self.data: Any = data
        self.fortran = False

    def build(self, state: Any) -> None:
        """(version, shape, type, whether in Fortran order, bytes or a list), of old without the version."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("the state of no array")
        shape, kind, fortran, data = state[-4:]
        self.shape = checked_shape(shape)
        if not isinstance(kind, NumpyType):
            raise ValueError("an array of no numpy type")
        self.type = kind
        self.fortran = bool(fortran)
        if kind.name == "O" and isinstance(data, list):
            self.data = data
        else:
            self._take(data, kind)

    def _take(self, data: Any, kind: NumpyType) -> None:
        self.data = checked_bytes(data, kind, self.shape)
        if self.data is not data:
            self.copied += len(self.data)

    def parts(self) -> Sequence[Any]:
        return self.data if isinstance(self.data, list) else ()

    def array(self) -> np.ndarray[Any, Any]:
        """The array itself, on the bytes. Raises ValueError when it holds objects."""
        import numpy as np

        if self.type is None:
            raise ValueError("an array that was never filled")
        flat = np.frombuffer(self.data, self.type.numpy(), math.prod(self.shape)) if self.data else None
        if flat is None:
            return np.empty(self.shape, self.type.numpy())
        return flat.reshape(self.shape, order="F" if self.fortran else "C")

    def __repr__(self) -> str:
        return f"<numpy array {self.shape} of {self.type}>"


def checked_shape(shape: Any) -> tuple[int, ...]:
    """The shape. Raises ValueError unless it is a tuple of few whole numbers."""
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(shape, tuple | list) or len(shape) > _MOST_AXES:
        raise ValueError("the shape of no array")
    if not all(type(extent) is int and 0 <= extent < 1 << 62 for extent in shape):
        raise ValueError("the shape of no array")
    return tuple(shape)


def checked_bytes(data: Any, kind: NumpyType, shape: tuple[int, ...]) -> bytes:
    """The bytes of an array; from Python 2 they come as text. Raises ValueError unless they are as many as needed."""
    elements = math.prod(shape)
    expected = elements * kind.size
    if elements and not kind.size and kind.name != "O":
        raise ValueError("elements of no bytes")
    for candidate in _candidates(data):
        if len(candidate) == expected:
            return candidate
    raise ValueError(f"an array of {expected:,} bytes with other than that")


def _candidates(data: Any) -> list[bytes]:
    if isinstance(data, bytes | bytearray):
        return [bytes(data)]
    if not isinstance(data, str):
        return []
    try:
        return [data.encode("latin-1"), data.encode()]
    except UnicodeEncodeError:
        return [data.encode("utf-8", "surrogatepass")]


def reconstruct(kind: Any, shape: Any, code: Any) -> NumpyArray:
    """`_reconstruct(numpy.ndarray, (0,), b"b")`: an array to be filled."""
    return NumpyArray(checked_shape(shape))


def from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
    """`_frombuffer(bytes, dtype, shape, "C")`, of protocol 5."""
    if not isinstance(kind, NumpyType):
        raise ValueError("an array of no numpy type")
    made = NumpyArray(checked_shape(shape), kind)
    made._take(data, kind)
    made.fortran = order == "F"
    return made


def scalar(kind: Any, data: Any = None) -> Any:
    """`scalar(dtype, bytes)`: a plain number where Python has one, otherwise an array without axes."""
    if not isinstance(kind, NumpyType):
        raise ValueError("a number of no numpy type")
    if kind.name == "O":
        return data
    raw = checked_bytes(b"\0" * kind.size if data is None and kind.size < 1 << 16 else data, kind, ())
    if kind.name in _STRUCT and not kind.fields:
        parts = unpack((">" if kind.order == ">" else "<") + _STRUCT[kind.name], raw)
        return complex(*parts) if len(parts) == 2 else parts[0]
    return NumpyArray((), kind, raw)
