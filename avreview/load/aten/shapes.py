"""What moves, cuts, joins, pools and resizes: ATen's operators in ONNX's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avreview.load.aten.graph import GraphBuilder, Value
from avreview.load.aten.rules import Result, listed, rule

_Arguments = Mapping[str, Any]


@rule("clone", "contiguous", "detach", "alias", "lift", "lift_fresh", "lift_fresh_copy", "view_of", "resolve_conj",
      "resolve_neg", "detach_", "positive")  # fmt: skip
def _same(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Identity", given["self"])


@rule("to", "_to_copy", "type_as", "float", "half", "double", "long", "int")
def _cast(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Cast", given["self"])


@rule("copy_", "copy")
def _copy(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Identity", given["src"])


def _shaped(build: GraphBuilder, value: Any, op: str = "Reshape") -> str:
    """A reshape to the dimensions that the program records for the result."""
    target = next(iter(build.call.outputs), "")
    dims = build.dims(target) if isinstance(target, str) else None
    if dims is None or sum(not isinstance(extent, int) for extent in dims) > 1:
        raise TypeError("a shape that is not recorded")
    return build.node(op, value, build.integers([extent if isinstance(extent, int) else -1 for extent in dims]))


def _changes_nothing(build: GraphBuilder, value: Value) -> bool:
    """Whether the result is recorded with the very dimensions of the operand."""
    target = build.call.outputs[0]
    before, after = build.dims(value), build.dims(target) if isinstance(target, str) else None
    return before is not None and before == after


@rule("view", "_unsafe_view", "reshape")
def _view(build: GraphBuilder, given: _Arguments) -> Result:
    size = given["size"] if "size" in given else given["shape"]
    if not isinstance(size, tuple):
        raise TypeError("a view as another type")
    if _changes_nothing(build, given["self"]):
        return str(given["self"].key)
    return build.node("Reshape", given["self"], build.integers(size))


@rule("flatten")
def _flatten(build: GraphBuilder, given: _Arguments) -> Result:
    rank = build.rank(given["self"])
    whole = given["end_dim"] in (-1, None if rank is None else rank - 1)
    if given["start_dim"] == 1 and whole and (rank is None or rank > 1):
        return build.node("Flatten", given["self"], axis=1)
    return _shaped(build, given["self"])


@rule("unflatten", "view_as", "reshape_as", "_reshape_alias")
def _reshaped(build: GraphBuilder, given: _Arguments) -> Result:
    return _shaped(build, given["self"])


@rule("expand", "expand_as", "broadcast_to")
def _expand(build: GraphBuilder, given: _Arguments) -> Result:
    size = given.get("size")
    if _changes_nothing(build, given["self"]):
        return str(given["self"].key)
    if size is None or -1 in size:
        return _shaped(build, given["self"], "Expand")
    return build.node("Expand", given["self"], build.integers(size))


@rule("permute")
def _permute(build: GraphBuilder, given: _Arguments) -> Result:
    rank = len(given["dims"])
    return build.node("Transpose", given["self"], perm=tuple(axis % rank for axis in given["dims"]))


@rule("transpose", "swapaxes", "swapdims", "t", "mT", "numpy_T")
def _transpose(build: GraphBuilder, given: _Arguments) -> Result:
    rank = build.rank(given["self"])
    first, second = given.get("dim0", 0), given.get("dim1", 1)
    if rank is None:
        raise TypeError("a value of unknown rank")
    order = list(range(rank))
    if rank > 1:
        order[first % rank], order[second % rank] = second % rank, first % rank
    return build.node("Transpose", given["self"], perm=tuple(order))


@rule("movedim")
def _movedim(build: GraphBuilder, given: _Arguments) -> Result:
    rank = build.rank(given["self"])
    if rank is None:
        raise TypeError("a value of unknown rank")
    source, target = (
        [axis % rank for axis in ([place] if isinstance(place, int) else place)]
        for place in (given["source"], given["destination"])
    )
    order = [axis for axis in range(rank) if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return build.node("Transpose", given["self"], perm=tuple(order))


@rule("squeeze")
def _squeeze(build: GraphBuilder, given: _Arguments) -> Result:
    dim, dims = given["dim"], build.dims(given["self"])
    axes = None if dim is None else (dim,) if isinstance(dim, int) else dim
    if axes is not None and dims is not None:  # torch leaves an axis that is not 1 as it is
        axes = tuple(axis for axis in axes if dims[axis] == 1)
        if not axes:
            return build.node("Identity", given["self"])
    return build.node("Squeeze", given["self"], None if axes is None else build.integers(axes))


@rule("unsqueeze")
def _unsqueeze(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Unsqueeze", given["self"], build.integers([given["dim"]]))


@rule("cat", "concat", "concatenate")
def _cat(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Concat", *given["tensors"], axis=given["dim"])


@rule("stack")
def _stack(build: GraphBuilder, given: _Arguments) -> Result:
    axis = build.integers([given["dim"]])
    return build.node("Concat", *(build.node("Unsqueeze", part, axis) for part in given["tensors"]), axis=given["dim"])


def _parts(build: GraphBuilder, value: Any, axis: int, sizes: Sequence[Any] | None) -> tuple[str, ...]:
    """A Split into as many parts as the program names."""
    target = build.call.outputs[0]
    if not isinstance(target, tuple):
        raise TypeError("a split that names no parts")
    lengths = None if sizes is None else build.integers(sizes)
    count = len(target)
    return build.several("Split", value, lengths, count=count, axis=axis, num_outputs=count if sizes is None else None)


@rule("split", "split_with_sizes", "chunk", "tensor_split")
def _split(build: GraphBuilder, given: _Arguments) -> Result:
    sizes = given.get("split_sizes", given.get("split_size"))
    return (_parts(build, given["self"], given["dim"], sizes if isinstance(sizes, tuple) else _recorded(build, given)),)


def _recorded(build: GraphBuilder, given: _Arguments) -> tuple[Any, ...] | None:
    """The lengths of the parts as the program records them."""
    target = build.call.outputs[0]
    found = [build.dims(part) for part in target] if isinstance(target, tuple) else []
    lengths = [dims[given["dim"]] for dims in found if dims is not None]
    known = len(lengths) == len(found) and all(isinstance(length, int) for length in lengths)
    return tuple(lengths) if known else None


@rule("unbind")
def _unbind(build: GraphBuilder, given: _Arguments) -> Result:
    axis = build.integers([given["dim"]])
    target = build.call.outputs[0]
    parts = _parts(build, given["self"], given["dim"], (1,) * len(target))
    return (tuple(build.node("Squeeze", part, axis) for part in parts),)


@rule("slice")
def _slice(build: GraphBuilder, given: _Arguments) -> Result:
    start = 0 if given["start"] is None else given["start"]
    end = (1 << 63) - 1 if given["end"] is None else given["end"]
    bounds = (build.integers([number]) for number in (start, end, given["dim"], given["step"]))
    return build.node("Slice", given["self"], *bounds)


@rule("flip")
def _flip(build: GraphBuilder, given: _Arguments) -> Result:
    axes = given["dims"]
    bounds = ([-1] * len(axes), [-(1 << 62)] * len(axes), axes, [-1] * len(axes))
    return build.node("Slice", given["self"], *(build.integers(numbers) for numbers in bounds))


@rule("narrow")
def _narrow(build: GraphBuilder, given: _Arguments) -> Result:
    bounds = (given["start"], given["start"] + given["length"], given["dim"])
    return build.node("Slice", given["self"], *(build.integers([number]) for number in bounds))


@rule("select")
def _select(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Gather", given["self"], given["index"], axis=given["dim"])


@rule("index_select")
def _index_select(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Gather", given["self"], given["index"], axis=given["dim"])


@rule("index")
def _index(build: GraphBuilder, given: _Arguments) -> Result:
    places = [(axis, index) for axis, index in enumerate(given["indices"]) if index is not None]
    if len(places) != 1:
        raise ValueError("several indices at once")
    (axis, index), *_ = places
    return build.node("Gather", given["self"], index, axis=axis)


@rule("gather")
def _gather(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("GatherElements", given["self"], given["index"], axis=given["dim"])


@rule("repeat", "tile")
def _repeat(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Tile", given["self"], build.integers(given.get("repeats", given.get("1"))))


@rule("topk")
def _topk(build: GraphBuilder, given: _Arguments) -> Result:
    return build.several(
        "TopK", given["self"], build.integers([given["k"]]), count=2, axis=given["dim"],
        largest=int(given["largest"]), sorted=int(given["sorted"]),
    )  # fmt: skip


@rule("cumsum")
def _cumsum(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("CumSum", given["self"], given["dim"])


@rule("arange")
def _arange(build: GraphBuilder, given: _Arguments) -> Result:
    bounds = [given[name] for name in ("self", "1", "2") if name in given]
    bounds = [given[name] for name in ("start", "end", "step") if name in given] or bounds
    first = bounds[0] if len(bounds) > 1 else 0
    return build.node("Range", first, bounds[-1] if len(bounds) < 3 else bounds[1], bounds[2] if bounds[2:] else 1)


@rule("zeros", "ones", "empty", "new_zeros", "new_ones", "new_empty", "full", "new_full", "empty_permuted")
def _filled(build: GraphBuilder, given: _Arguments) -> Result:
    value = given.get("fill_value", 1.0 if "ones" in build.call.op else 0.0)
    shape = build.integers(given["size"])
    return build.filled(shape, float(value)) if not isinstance(value, Value) else build.node("Expand", value, shape)


@rule("zeros_like", "ones_like", "empty_like", "full_like", "fill", "fill_", "zero_", "zero")
def _filled_like(build: GraphBuilder, given: _Arguments) -> Result:
    value = given.get("fill_value", given.get("value", 1.0 if "ones" in build.call.op else 0.0))
    dims = build.dims(given["self"])
    numbers = [extent for extent in dims or () if isinstance(extent, int)]
    known = dims is not None and len(numbers) == len(dims)
    shape = build.integers(numbers) if known else build.node("Shape", given["self"])
    return build.filled(shape, float(value)) if not isinstance(value, Value) else build.node("Expand", value, shape)


@rule("sym_size")
def _extent(build: GraphBuilder, given: _Arguments) -> Result:
    axis = given.get("dim", given.get("1"))
    return build.node("Gather", build.node("Shape", given["self"]), axis, axis=0)


@rule("scalar_tensor")
def _scalar(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Identity", next(iter(given.values())))


@rule("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
      "replication_pad2d", "replication_pad3d")  # fmt: skip
def _pad(build: GraphBuilder, given: _Arguments) -> Result:
    """torch lists the padding from the last axis on, ONNX from the first: all beginnings, then all ends."""
    padding, rank = given["pad"] if "pad" in given else given["padding"], build.rank(given["self"])
    if rank is None or not all(isinstance(entry, int) for entry in padding):
        raise TypeError("a padding that is not known before run time")
    begins, ends = [0] * rank, [0] * rank
    for place in range(len(padding) // 2):
        begins[rank - 1 - place], ends[rank - 1 - place] = padding[2 * place], padding[2 * place + 1]
    name = next(
        (kind for kind in ("reflection", "replication") if kind in build.call.op), given.get("mode", "constant")
    )
    mode = {"reflection": "reflect", "replication": "edge", "replicate": "edge", "circular": "wrap"}.get(name, name)
    value = float(given.get("value") or 0.0) if mode == "constant" else None
    return build.node("Pad", given["self"], build.integers([*begins, *ends]), value, mode=mode)


def _pooled(build: GraphBuilder, given: _Arguments, op: str, axes: int, **more: Any) -> str:
    kernel = listed(given["kernel_size"], axes)
    return build.node(
        op, given["self"], kernel_shape=kernel, strides=listed(given["stride"], axes) if given["stride"] else kernel,
        pads=listed(given["padding"], axes) * 2, ceil_mode=int(given["ceil_mode"]), **more,
    )  # fmt: skip


def _axes_of(build: GraphBuilder) -> int:
    return next(int(character) for character in build.call.op if character.isdigit())


@rule(*(f"max_pool{n}d{tail}" for n in (1, 2, 3) for tail in ("", "_with_indices")))
def _max_pool(build: GraphBuilder, given: _Arguments) -> Result:
    axes = _axes_of(build)
    return _pooled(build, given, "MaxPool", axes, dilations=listed(given["dilation"], axes)), None


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _average_pool(build: GraphBuilder, given: _Arguments) -> Result:
    if given["divisor_override"] is not None:
        raise ValueError("a divisor of its own, which ONNX has not")
    return _pooled(build, given, "AveragePool", _axes_of(build), count_include_pad=int(given["count_include_pad"]))


@rule(*(f"{lead}adaptive_{kind}_pool{n}d" for lead in ("", "_") for kind in ("avg", "max") for n in (1, 2, 3)))
def _adaptive_pool(build: GraphBuilder, given: _Arguments) -> Result:
    """Global for a single output; else as a pool of equal windows where they are."""
    op = "Average" if "avg" in build.call.op else "Max"
    axes = _axes_of(build)
    wanted = listed(given["output_size"], axes)
    if set(wanted) == {1}:
        return build.node(f"Global{op}Pool", given["self"]), None
    extents = (build.dims(given["self"]) or ())[-axes:]
    lengths = [extent for extent in extents if isinstance(extent, int)]
    if len(lengths) != axes or any(length % want for length, want in zip(lengths, wanted, strict=True)):
        raise ValueError("unequal windows, which ONNX has not")
    kernel = tuple(length // want for length, want in zip(lengths, wanted, strict=True))
    return build.node(f"{op}Pool", given["self"], kernel_shape=kernel, strides=kernel), None


@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_nearest_exact2d",
      "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d")  # fmt: skip
def _resize(build: GraphBuilder, given: _Arguments) -> Result:
    mode = "nearest" if "nearest" in build.call.op else "cubic" if "cubic" in build.call.op else "linear"
    value = given.get("self", given.get("input"))
    target = build.dims(build.call.outputs[0])
    known = target is not None and all(isinstance(extent, int) for extent in target)
    sizes = build.integers(target) if known and target is not None else build.node("Shape", value)
    corners = "align_corners" if given.get("align_corners") else "asymmetric" if mode == "nearest" else "half_pixel"
    return build.node("Resize", value, None, None, sizes, mode=mode, coordinate_transformation_mode=corners)


@rule("pixel_shuffle")
def _pixel_shuffle(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("DepthToSpace", given["self"], blocksize=given["upscale_factor"], mode="CRD")


@rule("pixel_unshuffle")
def _pixel_unshuffle(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("SpaceToDepth", given["self"], blocksize=given["downscale_factor"])
