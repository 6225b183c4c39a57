"""What a node is set to: its attributes, and the constants among its inputs that other opsets have as attributes."""

from __future__ import annotations

import functools
import hashlib
from array import array
from collections.abc import Collection, Mapping
from typing import Any

from avreview.artifact import Node, Tensor
from avreview.facts.weights import Constants

_MOST = 64  # elements of a constant that are kept; of more, a digest tells
# Inputs that are settings, by the names that the operators give them: earlier opsets have most as attributes.
_NAMED: Mapping[str, tuple[str, ...]] = {
    "Clip": ("", "min", "max"), "Dropout": ("", "ratio", "training_mode"), "Expand": ("", "shape"),
    "OneHot": ("", "depth", "values"), "Pad": ("", "pads", "value", "axes"), "Range": ("start", "limit", "delta"),
    "Reshape": ("", "shape"), "Resize": ("", "roi", "scales", "sizes"),
    "Slice": ("", "starts", "ends", "axes", "steps"),
    "Split": ("", "split"), "Squeeze": ("", "axes"), "Tile": ("", "repeats"), "TopK": ("", "k"),
    "Unsqueeze": ("", "axes"), "Upsample": ("", "scales"),
    **{f"Reduce{kind}": ("", "axes") for kind in (
        "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")},
}  # fmt: skip
COMPUTED = "computed"  # what stands for the value of an input that is no constant
_ONES = ("dilations", "strides")  # all 1 is the same as not saying it
_IGNORED = frozenset({"_outputs", "evidence"})


def settings(node: Node, constants: Constants, weights: Collection[int]) -> dict[str, Any]:
    """The settings of a node by name; constants that are `weights` (ids of tensors) stay out."""
    found = {name: _plain(value) for name, value in node.attributes.items() if name not in _IGNORED}
    names = _NAMED.get(node.op, ()) if not node.domain else ()
    for place, key in enumerate(node.inputs):
        weight = constants.weight(key) if key else None
        if weight is None or id(weight.tensor) in weights:
            continue
        name = names[place] if place < len(names) and names[place] else f"input {place}"
        found[name] = _constant(weight.tensor)
    return {name: value for name, value in found.items() if not _says_nothing(name, value)}


def differences(
    old: Node, new: Node, old_settings: Mapping[str, Any], new_settings: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """What both are set to where it differs; a setting that is left out counts as the operator's default."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*old_settings, *new_settings]):
        left = old_settings[name] if name in old_settings else default(old, name)
        right = new_settings[name] if name in new_settings else default(new, name)
        if not _differ(left, right) or (name == "kernel_shape" and None in (left, right)):
            continue
        left, right = _or_computed(old, name, left), _or_computed(new, name, right)
        found[_formal(new, name)] = (left, right)
    return found


def _or_computed(node: Node, name: str, value: Any) -> Any:
    """What stands for a setting that is no constant: that the graph computes it."""
    place = _place(node, name)
    return COMPUTED if value is None and place is not None and node.input(place) else value


def _place(node: Node, name: str) -> int | None:
    if name.startswith("input "):
        return int(name[6:])
    names = _NAMED.get(node.op, ()) if not node.domain else ()
    return names.index(name) if name in names else None


def _formal(node: Node, name: str) -> str:
    """An input's own name, where the operator gives it one."""
    if not name.startswith("input ") or node.domain or node.version < 1:
        return name
    import onnx

    try:
        inputs = onnx.defs.get_schema(node.op, node.version, node.domain).inputs
    except onnx.defs.SchemaError:
        return name
    place = int(name[6:])
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    return inputs[place].name if place < len(inputs) and inputs[place].option != variadic else name


def default(node: Node, name: str) -> Any:
    """What the operator takes where the setting is left out; None where that is not known."""
    return _defaults(node.op, node.domain, node.version).get(name)


@functools.lru_cache(maxsize=1024)
def _defaults(op: str, domain: str, version: int) -> Mapping[str, Any]:
    import onnx

    if domain or version < 1:
        return {}
    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return {}
    given = {name: attribute.default_value for name, attribute in schema.attributes.items()}
    return {
        name: _plain(onnx.helper.get_attribute_value(value)) for name, value in given.items() if value.type
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """An attribute in types that compare and print."""
    if isinstance(value, Tensor):
        return _constant(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (tuple, list, array)):
        if len(value) > _MOST:
            return f"{len(value)} values {hashlib.sha256(repr(value).encode()).hexdigest()[:16]}"
        return tuple(_plain(entry) for entry in value)
    return value


def _constant(tensor: Tensor) -> Any:
    """A small constant's elements, flat; of a larger one its shape, type and a digest."""
    if tensor.size > _MOST:
        digest = hashlib.sha256()
        for chunk in tensor.chunks():
            digest.update(chunk.tobytes())
        return f"{tensor.dtype}{list(tensor.shape)} {digest.hexdigest()[:16]}"
    listed = tensor.copy().reshape(-1).tolist()
    return listed[0] if len(listed) == 1 and not tensor.shape else tuple(listed)


def _says_nothing(name: str, value: Any) -> bool:
    if name in _ONES:
        return isinstance(value, tuple) and all(entry == 1 for entry in value)
    if name == "pads":
        return isinstance(value, tuple) and all(entry == 0 for entry in value)
    return value == () or (name == "auto_pad" and value == "NOTSET")


def _differ(left: Any, right: Any) -> bool:
    if isinstance(left, tuple) and not isinstance(right, tuple):
        left, right = right, left
    if isinstance(right, tuple) and len(right) == 1 and not isinstance(left, tuple) and left is not None:
        right = right[0]  # one axis is the same as a list of it
    if isinstance(left, float) and isinstance(right, float):
        return abs(left - right) > 1e-6 * max(abs(left), abs(right)) and not (left != left and right != right)
    if isinstance(left, tuple) and isinstance(right, tuple) and len(left) == len(right):
        return any(_differ(a, b) for a, b in zip(left, right, strict=True))
    return bool(left != right)
