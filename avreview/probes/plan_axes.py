"""Which axis of each input counts samples: said by a symbol, or concluded where nothing speaks against it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Graph
from avreview.facts.shapes import Shapes
from avreview.probes.plan_declared import Declared, Extent, first_readers, is_state, is_unnamed

_BATCH = re.compile(r"^(n|b|bs|bsz|bz|nb)$|^\w*batch\w*$", re.IGNORECASE)
_COUNTS_OTHERS = re.compile(
    r"seq|len|time|frame|token|step|point|pts|voxel|pillar|box|height|width|past|total|node|edge|quer|object|roi|"
    r"propos|sample(?!s?_?batch)|cam|view|num_|channel|row|col",
    re.IGNORECASE,
)
_ONE_A_SAMPLE = re.compile(r"len|timestep|^t$|num|label|class", re.IGNORECASE)
_IMAGE = re.compile(r"image|img|pixel|rgb", re.IGNORECASE)
_MOVES = frozenset({"Cast", "Dropout", "Identity"})


class Batch(NamedTuple):
    """The batch axis of each input that has one; `fixed` is its extent where the file fixes it.

    `note` says which input's first axis may be the batch and was not taken for it.
    """

    axes: Mapping[str, int]
    fixed: int | None = None
    note: str | None = None


def batch_of(inputs: Sequence[Declared], graph: Graph, shapes: Shapes) -> Batch:
    """Looks for the batch: by the symbols' names, then among unnamed first axes, then among fixed ones."""
    states = {entry.name for entry in inputs if is_state(graph, entry)}
    ranked = [entry for entry in inputs if entry.dims]
    axes = _named(ranked)
    note = None
    if not axes:
        axes, note = _unnamed([entry for entry in ranked if entry.name not in states], graph, shapes)
    if axes:
        symbols = {(entry.dims or ())[axes[entry.name]] for entry in ranked if entry.name in axes}
        return _with_states(Batch(_sharing(ranked, axes, symbols), None, note), ranked, states)
    fixed = _fixed([entry for entry in ranked if entry.name not in states], graph, shapes, note)
    return _with_states(fixed, ranked, states) if fixed.axes else fixed


def _named(inputs: Sequence[Declared]) -> dict[str, int]:
    found = {}
    for entry in inputs:
        for axis, extent in enumerate(entry.dims or ()):
            letter = isinstance(extent, str) and len(extent) <= 2  # N may be the number of points behind a batch
            if isinstance(extent, str) and _BATCH.match(extent) and not (entry.is_rows if axis == 0 else letter):
                found[entry.name] = axis
                break
    return found


def _sharing(inputs: Sequence[Declared], axes: Mapping[str, int], symbols: set[Extent]) -> dict[str, int]:
    """With the axes of other inputs that have one of the batch's symbols."""
    found = dict(axes)
    for entry in inputs:
        for axis, extent in enumerate(entry.dims or ()):
            if extent in symbols:
                found.setdefault(entry.name, axis)
    return found


def _unnamed(inputs: Sequence[Declared], graph: Graph, shapes: Shapes) -> tuple[dict[str, int], str | None]:
    """First axes that are open, and called nothing that tells what they count."""
    found: dict[str, int] = {}
    unsure = []
    for entry in inputs:
        dims = entry.dims or ()
        if not isinstance(dims[0], str) or entry.is_rows or len(dims) < 2 or _COUNTS_OTHERS.search(_visible(dims[0])):
            continue
        axis = _axis_of_sequence(entry, graph, shapes)
        image = entry.channel_axis is not None
        led = image or (is_unnamed(dims[0]) and _outputs_led(graph, None))
        if axis is None or not led:
            unsure.append(entry)
        elif isinstance(dims[axis], str):
            found[entry.name] = axis
    return found, _unsure(unsure)


def _visible(symbol: str) -> str:
    return "" if is_unnamed(symbol) else symbol


def _unsure(inputs: Sequence[Declared]) -> str | None:
    if not inputs:
        return None
    names = ", ".join(f"{entry.name} {entry.shown}" for entry in inputs)
    return f"the first axis of {names} may count samples or something else, and was taken for no batch axis"


def _outputs_led(graph: Graph, extent: int | None) -> bool:
    """Whether some output's first axis can be the batch: open, undeclared, or fixed at `extent`."""
    for info in graph.outputs:
        if info.dims is None:
            return True
        lead = info.dims[0] if info.dims else 1
        if not (isinstance(lead, int) and lead > 0) or lead == extent:
            return True
    return False


def _axis_of_sequence(entry: Declared, graph: Graph, shapes: Shapes) -> int | None:
    """The batch axis of `[a, b, features]`: 0, or 1 in front of a recurrence. None where the axes cannot be told.

    Recurrent operators take [time, batch, features]. Attention runs along time, so an axis that no Softmax runs
    along is none that attention works on.
    """
    dims = entry.dims or ()
    if len(dims) != 3 or not entry.is_floating:
        return 0
    keys = [entry.name]
    while keys:
        key = keys.pop()
        for node in graph.consumers.get(key, ()):
            if node.op in ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM") and node.input(0) == key:
                return 0 if node.attributes.get("layout") else 1
            if node.op in _MOVES:
                keys += node.outputs[:1]
    if dims[0] == 1 or any(node.op == "Conv" for _, node in first_readers(graph, entry.name)):
        return 0
    return None if any(_runs_along(node.op, shapes.dims(node.input(0)), node.attributes.get("axis", -1), dims)
                       for node in graph.nodes if node.op in _ATTENDING) else 0  # fmt: skip


_ATTENDING = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention", "Softmax"})


def _runs_along(op: str, dims: Sequence[int | str | None] | None, axis: int, of: Sequence[Extent]) -> bool:
    if op != "Softmax":
        return True
    if dims is None or not -len(dims) <= axis < len(dims):
        return True
    extent = dims[axis]
    return extent == of[0] or not isinstance(extent, int)


def _fixed(inputs: Sequence[Declared], graph: Graph, shapes: Shapes, note: str | None) -> Batch:
    """First axes of one extent, where every one is fixed."""
    leading = [entry for entry in inputs if entry.rank >= 2 and isinstance((entry.dims or ())[0], int)]
    leading = [entry for entry in leading if not entry.is_rows and not _bare_image(entry, graph)]
    if any(entry.dims and isinstance(entry.dims[0], str) for entry in inputs):  # a graph's nodes, beside its [2, edges]
        leading = [entry for entry in leading if entry.channel_axis is not None]
    leading.sort(key=lambda entry: entry.channel_axis is None)
    if not leading:
        return Batch({}, None, note)
    axis = _axis_of_sequence(leading[0], graph, shapes)
    extent = (leading[0].dims or ())[axis or 0]
    if not isinstance(extent, int):
        return Batch({}, None, note)
    if axis is None or (axis == 0 and extent > 1 and not _outputs_led(graph, extent)):
        return Batch({}, None, note or _unsure(leading[:1]))
    found = {leading[0].name: axis}
    for entry in inputs:
        dims = entry.dims or ()
        whole = entry in leading and axis == 0
        single = len(dims) == 1 and (extent > 1 or bool(_ONE_A_SAMPLE.search(entry.name)))
        if (whole or single) and dims[0] == extent:
            found[entry.name] = 0
    return Batch(found, extent, note)


def _bare_image(entry: Declared, graph: Graph) -> bool:
    """One image without a batch axis: `[3, H, W]` or `[H, W, 3]`."""
    dims = entry.dims or ()
    if len(dims) != 3 or not (dims[0] in (1, 3, 4) or dims[2] in (1, 3, 4)):
        return False
    sides = dims[1:] if dims[0] in (1, 3, 4) else dims[:2]
    if not all(isinstance(extent, str) or extent >= 32 for extent in sides):
        return False
    led = isinstance(dims[0], int) and _outputs_led(graph, dims[0])
    return bool(_IMAGE.search(entry.name)) or not led


def _with_states(batch: Batch, inputs: Sequence[Declared], states: set[str]) -> Batch:
    """Adds the recurrent states, [layers, batch, features]: one whose batch is fixed fixes that of all."""
    axes, fixed = dict(batch.axes), batch.fixed
    for entry in inputs:
        if entry.name not in states or entry.name in axes:
            continue
        dims = entry.dims or ()
        axis = 1 if len(dims) == 3 else 0
        extent = dims[axis]
        if isinstance(extent, int) and fixed is None:
            fixed = extent
        if isinstance(extent, str) or extent == fixed:
            axes[entry.name] = axis
    return Batch(axes, fixed, batch.note)
