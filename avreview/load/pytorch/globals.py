"""What torch's own names in a pickle stand for: tensors, sizes, devices, element types.

Each builder takes what the pickle hands to the function of that name and gives an inert value; none of them is that
function. The functions are torch's `torch/_utils.py` and `torch/_tensor.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Tensor
from avreview.load.pickles.inert import Global, Instance
from avreview.load.pytorch.storages import DTYPES, STORAGE_TYPES, whole_numbers
from avreview.load.pytorch.strided import Reading
from avreview.load.pytorch.tensors import Tensors
from avreview.load.wording import quoted

if TYPE_CHECKING:
    from avreview.checkpoint import NamedCode

Builder = Callable[..., Any]
Name = tuple[str, str]

_SPARSE_LAYOUTS = ("sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
# Element types that are only named: torch has no storage of them
_FURTHER_TYPES = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8))
_SHORT_TYPES = ("float", "double", "half", "long", "int", "short", "cfloat", "cdouble", "chalf")
_SCHEMES = (
    "per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric",
    "per_channel_affine_float_qparams",
)  # fmt: skip
_TENSOR_TYPES = (
    "Tensor", "DoubleTensor", "FloatTensor", "HalfTensor", "BFloat16Tensor", "LongTensor", "IntTensor", "ShortTensor",
    "CharTensor", "ByteTensor", "BoolTensor",
)  # fmt: skip


_WRAPPER = ("torch._utils", "_rebuild_wrapper_subclass")
_WRAPPED = 8  # its arguments: class, type, size, stride, offset, layout, device, requires_grad


class Parameter(NamedTuple):
    """An `nn.Parameter`."""

    tensor: Tensor
    requires_grad: bool


class Globals:
    """The builders that one file needs. `code` is what the file would have a function of torch's call."""

    def __init__(self, tensors: Tensors, file: str) -> None:
        self._tensors = tensors
        self._file = file
        self.code: list[NamedCode] = []
        rebuild: dict[str, Builder] = {
            "_rebuild_tensor": self._plain,
            "_rebuild_tensor_v2": self._tensor,
            "_rebuild_tensor_v3": self._typed_tensor,
            "_rebuild_parameter": self._parameter,
            "_rebuild_parameter_with_state": self._parameter,
            "_rebuild_qtensor": self._quantized,
            "_rebuild_sparse_tensor": self._sparse,
            "_rebuild_sparse_csr_tensor": self._sparse,
            "_rebuild_meta_tensor_no_storage": self._meta,
            "_rebuild_nested_tensor": self._nested,
            "_rebuild_wrapper_subclass": self._wrapper,
            "_rebuild_device_tensor_from_numpy": self._from_numpy,
            "_rebuild_xla_tensor": self._from_numpy,
            "_rebuild_device_tensor_from_cpu_tensor": self._moved,
        }
        self._rebuild: dict[Name, Builder] = {("torch._utils", name): builder for name, builder in rebuild.items()}
        self.builders: Mapping[Name, Builder] = {**_CONSTANTS, **self._rebuild, **self._subclasses()}

    def _subclasses(self) -> dict[Name, Builder]:
        names = ("_rebuild_from_type", "_rebuild_from_type_v2")
        parameter = ("torch.nn.parameter", "Parameter")
        found: dict[Name, Builder] = {(module, name): self._of_type for module in _TENSOR_MODULES for name in names}
        return {**found, parameter: self._new_parameter, ("torch.nn", "Parameter"): self._new_parameter}

    # Tensors of elements

    def _plain(self, storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        return self._tensors.tensor(storage, offset, size, stride)

    def _tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, _requires_grad: Any = False, _hooks: Any = None,
        metadata: Any = None,
    ) -> Tensor:  # fmt: skip
        return self._tensors.tensor(storage, offset, size, stride, reading=_reading(metadata))

    def _typed_tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, _requires_grad: Any, _hooks: Any, dtype: Any,
        metadata: Any = None,
    ) -> Tensor:  # fmt: skip
        return self._tensors.tensor(storage, offset, size, stride, _type_name(dtype), _reading(metadata))

    def _quantized(
        self, storage: Any, offset: Any, size: Any, stride: Any, parameters: Any, _requires_grad: Any = False,
        _hooks: Any = None,
    ) -> Tensor:  # fmt: skip
        tensor = self._tensors.tensor(storage, offset, size, stride)
        scheme = parameters[0] if isinstance(parameters, tuple) and parameters else None
        if not isinstance(scheme, Global) or scheme.module != "torch":
            raise ValueError("a quantized tensor without a scheme")
        return self._tensors.quantized(tensor, scheme.name, parameters[1:])

    def _parameter(self, data: Any, requires_grad: Any, _hooks: Any = None, _state: Any = None) -> Any:
        return Parameter(data, bool(requires_grad)) if isinstance(data, Tensor) else data

    def _new_parameter(self, data: Any = None, requires_grad: Any = True) -> Any:
        return self._parameter(data, requires_grad)

    # Tensors of other tensors

    def _sparse(self, layout: Any, parts: Any) -> Any:
        from avreview.load.pytorch.sparse import CompressedStorage, CoordinateStorage

        layout = layout.name if isinstance(layout, Global) else str(layout).removeprefix("torch.")
        wanted = (3, 4) if layout == "sparse_coo" else (4,)
        if layout not in ("sparse_coo", *_SPARSE_LAYOUTS) or not isinstance(parts, tuple) or len(parts) not in wanted:
            raise ValueError("a sparse tensor of an unknown layout")
        count = 2 if layout == "sparse_coo" else 3
        held, shape = parts[:count], whole_numbers(parts[count])
        if not all(isinstance(part, Tensor) for part in held):
            raise ValueError("a sparse tensor that is not made of tensors")
        path = self._tensors.source.path
        self._tensors.charge(held[-1].dtype, shape)
        if layout == "sparse_coo":
            return Tensor("", shape, held[1].dtype, CoordinateStorage(path, held[0], held[1], shape))
        return Tensor("", shape, held[2].dtype, CompressedStorage(path, layout, held, shape))

    def _nested(self, *_args: Any) -> Instance:
        return self._unseen("that are lists of tensors (nested)", Global("torch", "Tensor"))

    def _meta(self, *_args: Any) -> Instance:
        return self._unseen("on the meta device, which have no elements", Global("torch", "Tensor"))

    def _wrapper(self, kind: Any = None, *_args: Any) -> Instance:
        of = kind if isinstance(kind, Global) else Global("torch", "Tensor")
        return self._unseen(f"of the class {quoted(of.dotted)}, which keeps its elements in its own way", of)

    def _distributed(self, args: tuple[Any, ...], state: dict[Any, Any]) -> Any:
        """The elements of a DTensor, when this process had all of them; None for any other tensor."""
        local = state.get("_local_tensor")
        local = local.tensor if isinstance(local, Parameter) else local
        if not isinstance(local, Tensor) or len(args) < _WRAPPED or local.shape != args[2]:
            return None
        return Parameter(local, bool(args[_WRAPPED - 1])) if state.get("_is_param") is True else local

    def _unseen(self, what: str, of: Global) -> Instance:
        self._tensors.limit(what)
        return Instance(of)

    def _moved(self, data: Any, dtype: Any, _device: Any = None, _requires_grad: Any = False) -> Any:
        return self._as_type(data, dtype)

    def _from_numpy(self, data: Any, dtype: Any, _device: Any = None, _requires_grad: Any = False) -> Any:
        from avreview.load.layouts.arrays import as_tensor
        from avreview.load.pickles.arrays import NumpyArray

        tensor = as_tensor(data) if isinstance(data, NumpyArray) else None
        if tensor is None:
            raise ValueError("a tensor of an array that is none")
        return self._as_type(tensor, dtype)

    def _as_type(self, data: Any, dtype: Any) -> Any:
        if isinstance(data, Tensor) and data.dtype != DTYPES.get(_type_name(dtype)):
            self._tensors.limit("saved in another type than they are used in")
        return data

    def _of_type(self, function: Any, kind: Any, args: Any, state: Any = None) -> Any:
        """A tensor of a subclass, or with attributes of its own: made by `function`, then given its class."""
        if function == _WRAPPER and isinstance(args, tuple):
            return self._distributed(args, _parts(state)) or self._wrapper(*args)
        builder = self._rebuild.get(function) if isinstance(function, Global) else None
        if builder is not None and isinstance(args, tuple):
            return builder(*args)
        if not isinstance(function, Global):
            raise ValueError("a tensor by calling what is no function")
        from avreview.checkpoint import NamedCode

        self.code.append(NamedCode(function.dotted, "called", self._file, 0))
        of = kind if isinstance(kind, Global) else function
        return self._unseen(f"of the class {quoted(of.dotted)}, which keeps its elements in its own way", of)


def _parts(state: Any) -> dict[Any, Any]:
    """An object's attributes, whether they are kept in its dictionary or in slots."""
    found: dict[Any, Any] = {}
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict):
            found.update(part)
    return found


def _reading(metadata: Any) -> Reading:
    """The conjugate and negative bits, which torch keeps beside the elements."""
    if not metadata:
        return Reading()
    if not isinstance(metadata, dict):
        raise ValueError("a tensor with unknown properties")
    return Reading(conjugate=metadata.get("conj") is True, negative=metadata.get("neg") is True)


def _type_name(dtype: Any) -> str:
    if not isinstance(dtype, Global) or dtype.module != "torch":
        raise ValueError("a tensor of an unknown type")
    return _LONG_NAMES.get(dtype.name, dtype.name)


_LONG_NAMES = {
    "float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16",
    "cfloat": "complex64", "cdouble": "complex128", "chalf": "complex32",
}  # fmt: skip


def _size(sizes: Any = ()) -> tuple[int, ...]:
    if not isinstance(sizes, tuple | list) or any(type(size) is not int for size in sizes):
        raise ValueError("a size that is none")
    return tuple(sizes)


def _device(kind: Any = "cpu", index: Any = None) -> str:
    if not isinstance(kind, str) or not (index is None or type(index) is int):
        raise ValueError("a device that is none")
    return kind if index is None else f"{kind}:{index}"


def _layout(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError("a layout that is none")
    return name


def _generator(*args: Any) -> Instance:
    return Instance(Global("torch._C", "Generator"), args)


def _uncallable(*_args: Any) -> Any:
    raise ValueError("what only has a name")


_TENSOR_MODULES = ("torch._tensor", "torch.tensor", "torch._utils")  # the second one is its name before torch 1.9
_CONSTANTS: dict[Name, Builder] = {
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.serialization", "_get_layout"): _layout,
    ("torch._C", "Generator"): _generator,
    ("torch", "Generator"): _generator,
    **{
        ("torch", name): _uncallable
        for name in (*DTYPES, *_SHORT_TYPES, *_FURTHER_TYPES, *_SCHEMES, *_TENSOR_TYPES, "sparse_coo", "strided")
    },
    **{
        (module, name): _uncallable
        for module in ("torch", "torch.cuda", "torch.storage")
        for name in (*STORAGE_TYPES, "TypedStorage", "_TypedStorage")
    },
}
