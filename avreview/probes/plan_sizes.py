"""Extents that a file leaves open: which ones to try, the most probable first."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from avreview.artifact import Graph
from avreview.facts.weights import Constants
from avreview.probes.plan_axes import Batch
from avreview.probes.plan_declared import Declared, Extent, first_readers, is_named_state, is_unnamed

_CANDIDATES: dict[str, Sequence[int]] = {
    # A pooled classifier works at 224 as it was meant to; detectors and U-Nets want multiples of 32 or 64.
    "image": (224, 256, 64, 32, 320, 640, 28, 48, 96, 128, 512, 384, 299, 416, 448),
    "latent": (64, 32, 96, 128),  # what a diffusion model works on: an eighth of the image's side
    "channels": (3, 1, 4, 16, 2),
    "line": (320, 192, 256, 100, 128, 640),  # the width of a line of text
    "volume": (32, 64, 16, 96, 128),
    "audio": (16000, 8000, 32000, 48000, 80000, 160000),
    "chunk": (512, 576, 1536, 256, 1024, 4000, 16000),  # of audio, for a model that carries a state along
    "time": (64, 100, 128, 200, 256, 400, 32, 16, 1000, 3000),
    "tokens": (16, 32, 8, 64, 128, 77, 512, 4, 1),
    "past": (8, 0, 1),
    "rows": (256, 1024, 64, 512, 2048, 16),
    "views": (6, 4, 5, 2, 8, 3, 1, 16),
    "other": (16, 32, 8, 64, 4, 2, 1, 128, 256, 512),
}
_NAMES = (
    ("past", r"past"),
    ("audio", r"audio|wave?form|wav|(num_?)?samples"),
    ("time", r"time|frame|mel"),
    ("tokens", r"seq|len|token|text|word|char"),
    ("rows", r"point|pts|voxel|pillar|box|roi|node|edge|anchor|quer"),
    ("views", r"cam|view"),
    ("channels", r"channel"),
    ("image", r"height|width|^[hw]$|image|img|rows|cols"),
)
_AUDIO = re.compile(r"audio|wave?(form)?$|wav|speech|^pcm|input_values|signal|sound|samples", re.IGNORECASE)
_RATE = re.compile(r"^sr$|sample_?rate|sampling_?rate|^fs$|^rate$", re.IGNORECASE)
_SUM = re.compile(r"\s*([+-])\s*")
_MOST_ATTEMPTS = 24
_MOST_ELEMENTS = 1 << 23  # of one input whose extents are open


def is_rate(name: str) -> bool:
    """True for the name of an input that says how many samples of sound a second has."""
    return bool(_RATE.search(name))


def is_audio(entry: Declared, inputs: Sequence[Declared]) -> bool:
    """Sound as it was recorded: `[batch, samples]`, or with one channel between."""
    dims = entry.dims or ()
    if not entry.is_floating or not (len(dims) in (1, 2) or (len(dims) == 3 and dims[1] in (1, 2))):
        return False
    last = dims[-1]
    if isinstance(last, int):
        return last >= 4000 or (last >= 256 and bool(_AUDIO.search(entry.name)))
    words = f"{entry.name} {last}" if not is_unnamed(last) else entry.name
    if _AUDIO.search(words) or any(is_rate(other.name) for other in inputs):
        return True
    return len(dims) == 2 and not is_named_state(entry) and any(map(is_named_state, inputs))


def sizes_to_try(
    inputs: Sequence[Declared], batch: Batch, graph: Graph, constants: Constants, *, carries_state: bool
) -> list[dict[str, int]]:
    """Extents for every open symbol, one dict an attempt, the most probable first; at least one."""
    groups: dict[str, list[str]] = {}
    for entry in inputs:
        for axis, extent in enumerate(entry.dims or ()):
            if isinstance(extent, str) and batch.axes.get(entry.name) != axis:
                groups.setdefault(_role(entry, axis, inputs, carries_state), []).append(extent)
    settled: dict[str, str] = {}
    for role, symbols in groups.items():
        for symbol in symbols:
            settled.setdefault(symbol, role)
    hints = list(_hints(inputs, graph, constants))
    roles = [role for role in groups if role in settled.values()]
    candidates = [_candidates(role, hints) for role in roles]
    attempts: list[dict[str, int]] = []
    for chosen in _combined(candidates):
        extents = dict(zip(roles, chosen, strict=True))
        attempt = _with_sums({symbol: extents[role] for symbol, role in settled.items()})
        if _fits(inputs, attempt) or not attempts:
            attempts.append(attempt)
        if len(attempts) == _MOST_ATTEMPTS:
            break
    return attempts


def _combined(candidates: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """One candidate of each, the first ones first. Of more than two not every combination: they vary one by one."""
    if len(candidates) <= 2:
        places = sorted(
            itertools.product(*(range(len(each)) for each in candidates)), key=lambda p: (sum(p), max(p, default=0))
        )
        yield from (tuple(each[place] for each, place in zip(candidates, chosen, strict=True)) for chosen in places)
        return
    first = tuple(each[0] for each in candidates)
    yield first
    for place in range(1, max(map(len, candidates))):
        yield tuple(each[min(place, len(each) - 1)] for each in candidates)
        for role, each in enumerate(candidates):
            if place < len(each):
                yield (*first[:role], each[place], *first[role + 1 :])


def _candidates(role: str, hints: Sequence[int]) -> Sequence[int]:
    usual = _CANDIDATES[role]
    first = list(hints) if role == "image" else []
    return tuple(dict.fromkeys([*first, *usual]))[: 12 if role in ("image", "other") else 8]


def _role(entry: Declared, axis: int, inputs: Sequence[Declared], carries_state: bool) -> str:
    """What an open axis counts, by the input's layout and the symbol's name."""
    dims = entry.dims or ()
    symbol = str(dims[axis])
    if is_audio(entry, inputs) and axis == len(dims) - 1:
        return "chunk" if carries_state else "audio"
    named = "" if is_unnamed(symbol) else symbol
    for role, pattern in _NAMES:
        if named and re.search(pattern, named, re.IGNORECASE):
            return (
                "line" if role == "image" and _is_line(dims, axis) else _image_role(entry) if role == "image" else role
            )
    if entry.channel_axis is not None:
        return "line" if _is_line(dims, axis) else _image_role(entry)
    if entry.rank == 4 and entry.is_floating and isinstance(dims[1], str):
        return "channels" if axis == 1 else "image"
    if entry.rank == 5:
        return "views" if axis == 1 else "volume" if dims[1] in (1, 2, 3, 4) else "image"
    if entry.is_rows and axis == 0:
        return "rows"
    if not entry.is_floating and entry.rank in (1, 2):
        return "tokens"
    if entry.rank == 3 and axis == 1 and (isinstance(dims[2], str) or dims[2] > 8):
        return "tokens"
    return "rows" if entry.rank == 3 and axis == 1 else "time" if entry.rank == 3 and axis == 2 else "other"


def _image_role(entry: Declared) -> str:
    return "latent" if (entry.dims or ())[1:2] == (4,) and re.search("sample|latent|noise", entry.name) else "image"


def _is_line(dims: Sequence[Extent], axis: int) -> bool:
    """The open width of an image whose fixed height is that of a line of text."""
    height = dims[2] if len(dims) == 4 else 0
    return axis == 3 and isinstance(height, int) and 16 <= height <= 64


def _hints(inputs: Sequence[Declared], graph: Graph, constants: Constants) -> Iterator[int]:
    """Sides of images that the file names: in its metadata, beside an open one, or by an embedding of positions."""
    said = re.findall(r"\d+", str(graph.metadata.get("imgsz", "")))
    yield from (int(side) for side in said[:1] if 16 <= int(side) <= 2048)
    for entry in inputs:
        dims = entry.dims or ()
        axis = entry.channel_axis
        if axis is None:
            continue
        sides = [extent for extent in (dims[2:] if axis == 1 else dims[1:3]) if isinstance(extent, int)]
        yield from (side for side in sides if side >= 64)
        if len(sides) < 2:
            yield from _embedded(entry, graph, constants)


def _embedded(entry: Declared, graph: Graph, constants: Constants) -> Iterator[int]:
    """The side of the images that a table of positions was made for: one row a patch, and maybe one for a class."""
    patch = 0
    for key, node in first_readers(graph, entry.name):
        strides = node.attributes.get("strides") or [1]
        weight = constants.weight(node.input(1)) if node.op == "Conv" and node.input(0) == key else None
        if weight is not None and weight.shape is not None and strides[0] == weight.shape[-1] > 1:
            patch = int(strides[0])
    for node in graph.nodes if patch else ():
        weights = [constants.weight(key) for key in node.inputs] if node.op == "Add" else []
        for weight in weights:
            shape = weight.shape if weight is not None else None
            if shape is None or len(shape) != 3 or shape[0] != 1 or shape[1] < 4:
                continue
            for rows in (shape[1], shape[1] - 1, shape[1] - 2):
                if math.isqrt(rows) ** 2 == rows:
                    yield patch * math.isqrt(rows)
            return


def _with_sums(extents: dict[str, int]) -> dict[str, int]:
    """Symbols that name a sum of others, `past_sequence_length + 1`, or a total, get what they come to."""
    known = {re.sub(r"\s", "", symbol): extent for symbol, extent in extents.items()}
    past = next((extent for symbol, extent in extents.items() if re.search(r"^past\w*$", symbol)), None)
    for symbol in extents:
        if symbol.startswith("\0"):
            continue
        parts = _SUM.split(symbol.strip())
        if len(parts) > 1:
            values = [int(part) if part.isdigit() else known.get(part) for part in parts[::2]]
            if all(value is not None for value in values):
                signs = [1, *(1 if sign == "+" else -1 for sign in parts[1::2])]
                extents[symbol] = max(1, sum(s * (v or 0) for s, v in zip(signs, values, strict=True)))
        elif "total" in symbol and past is not None:
            extents[symbol] += past
    return extents


def _fits(inputs: Sequence[Declared], extents: Mapping[str, int]) -> bool:
    """Whether no input gets too large by the extents that were chosen."""
    for entry in inputs:
        dims = entry.dims or ()
        fixed = math.prod(extent for extent in dims if isinstance(extent, int))
        opened = math.prod(extents.get(extent, 1) for extent in dims if isinstance(extent, str))
        if opened > 1 and fixed * opened > _MOST_ELEMENTS:
            return False
    return True
