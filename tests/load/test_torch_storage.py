"""Strided views: the same elements as numpy's own, gathered from the file without holding it."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.load.pytorch import strided as torch_storage
from avreview.load.pytorch.strided import Reading, StridedStorage, is_contiguous, is_nested, span
from avreview.load.source import Source, open_source

ELEMENTS = 60_000


@pytest.fixture(scope="module")
def numbers() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 1 << 31, ELEMENTS).astype("<i4")


@pytest.fixture(scope="module")
def file(numbers: np.ndarray[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("storage") / "numbers"
    numbers.tofile(path)
    return open_source(str(path))


@st.composite
def views(draw: st.DrawFn) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Offset, shape and strides: transposed and sliced tensors, expanded ones, and any strides at all."""
    shape = draw(st.lists(st.integers(1, 5), max_size=4))
    if draw(st.booleans()):
        strides = [draw(st.integers(0, 40)) for _ in shape]
    else:
        order, reach = draw(st.permutations(range(len(shape)))), 1
        strides = [0] * len(shape)
        for axis in order:
            strides[axis] = reach * draw(st.integers(1, 3))
            reach = strides[axis] * shape[axis]
        if draw(st.booleans()):
            shape, strides = [draw(st.integers(1, 4)), *shape], [0, *strides]
    return draw(st.integers(0, 50)), tuple(shape), tuple(strides)


def expected(numbers: np.ndarray[Any, Any], view: tuple[int, tuple[int, ...], tuple[int, ...]]) -> Any:
    offset, shape, strides = view
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, [4 * stride for stride in strides]).reshape(-1)


@settings(max_examples=80, deadline=None)
@given(views(), st.data())
def test_every_view_reads_as_numpy_reads_it(
    numbers: np.ndarray[Any, Any], file: Source, view: Any, data: st.DataObject
) -> None:
    offset, shape, strides = view
    wanted = expected(numbers, view)
    storage = StridedStorage(file, 4 * offset, "int32", shape, strides)
    slab, block = data.draw(st.sampled_from([(64, 256), (256, 2048), (1 << 20, 1 << 20)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_storage, "_SLAB", slab)
        patch.setattr(torch_storage, "_BLOCK", block)
        assert (storage.array() == wanted).all()
        length = data.draw(st.integers(1, 70))
        chunks = [chunk.copy() for chunk in storage.chunks(length)]
        assert all(len(chunk) == length for chunk in chunks[:-1])
        assert (np.concatenate(chunks) == wanted).all()
        start, count = data.draw(st.integers(0, len(wanted))), data.draw(st.integers(0, len(wanted) + 3))
        assert (storage.part(start, count) == wanted[start : start + count]).all()
        rows = shape[0] if shape else 1
        length = data.draw(st.integers(0, len(wanted) // rows))
        assert (storage.heads(rows, length) == wanted.reshape(rows, -1)[:, :length]).all()


@settings(max_examples=80, deadline=None)
@given(views())
def test_what_is_said_of_a_view_is_true(view: Any) -> None:
    _, shape, strides = view
    places = np.zeros(1, int)
    for extent, stride in zip(shape, strides, strict=True):
        places = (places[:, None] + np.arange(extent if stride else 1) * stride).reshape(-1)
    assert span(shape, strides) == places.max() + 1
    if is_nested(shape, strides):
        assert len(set(places.tolist())) == len(places)  # no two elements, but for axes that are expanded
    in_order = len(places) == math.prod(shape) and (places == np.arange(len(places))).all()
    assert is_contiguous(shape, strides) == in_order


@pytest.mark.parametrize(
    ("reading", "dtype", "change"),
    [
        (Reading(swapped=True), "float64", lambda flat: flat.byteswap()),
        (Reading(swapped=True), "complex64", lambda flat: flat.byteswap()),
        (Reading(swapped=True), "bfloat16", lambda flat: flat.view("u2").byteswap().view(flat.dtype)),
        (Reading(swapped=True), "bool", lambda flat: flat),
        (Reading(conjugate=True), "complex128", np.conjugate),
        (Reading(conjugate=True, negative=True), "complex64", lambda flat: -np.conjugate(flat)),
        (Reading(negative=True), "float32", np.negative),
    ],
)
def test_what_torch_keeps_beside_the_elements(
    numbers: np.ndarray[Any, Any], file: Source, reading: Reading, dtype: str, change: Callable[[Any], Any]
) -> None:
    plain = StridedStorage(file, 16, dtype, (5, 3), (1, 5)).array()
    made = StridedStorage(file, 16, dtype, (5, 3), (1, 5), reading)
    assert made.array().tobytes() == change(plain).tobytes()
    assert b"".join(chunk.tobytes() for chunk in made.chunks(4)) == change(plain).tobytes()


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4096, 4096), (1, 4096)), ((16, 1024, 1024), (1, 16, 16384)), ((4096, 2048), (4096, 2)), ((1 << 24,), (1,))],
)
def test_memory_stays_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    monkeypatch.setattr(torch_storage, "_SLAB", 1 << 20)
    monkeypatch.setattr(torch_storage, "_BLOCK", 1 << 22)
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(4 << 24)
    storage = StridedStorage(open_source(str(path)), 0, "float32", shape, strides)
    tracemalloc.start()
    try:
        assert sum(len(chunk) for chunk in storage.chunks(65_536)) == storage.elements
        assert tracemalloc.get_traced_memory()[1] < 16 << 20  # of 64; threads of other tests may add a little
    finally:
        tracemalloc.stop()
