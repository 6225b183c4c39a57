"""The arrays that a model is run on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import EVERY_PROBE, Facts
from models import ModelBuilder
from onnx import TensorProto

from avreview.probes.child.inputs import Inputs
from avreview.probes.child.refusal import Refused, reason
from avreview.probes.plan import InputPlan, PlannedInput
from avreview.probes.probing import Probing
from avreview.probes.repeat import Repeatability

Array = np.ndarray[Any, Any]


def inputs(*entries: PlannedInput, batch: int | None = None, seed: int = 0) -> Inputs:
    return Inputs(InputPlan([list(entries)], batch, seed).as_json())


def entry(kind: str, shape: tuple[int, ...], dtype: str = "float32", **more: Any) -> PlannedInput:
    return PlannedInput("x", dtype, shape, kind, more.pop("axis", 0), **more)


IMAGE = entry("image", (1, 3, 64, 64))


def test_a_sample_is_the_same_whatever_stands_beside_it() -> None:
    made = inputs(IMAGE)
    first, again = made.batch([0, 1, -1])["x"], inputs(IMAGE).batch([1, -2, 0])["x"]
    assert np.array_equal(first[0], again[2])
    assert np.array_equal(first[1], again[0])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], inputs(IMAGE, seed=1).batch([0])["x"][0])


def test_images_keep_a_signal_through_pooling() -> None:
    batch = inputs(IMAGE).batch(range(16))["x"]
    assert batch.dtype == np.float32
    assert 0.7 < batch.std() < 1.3
    assert batch.mean(axis=(2, 3)).std() > 0.3  # white noise would leave 0.016


def test_odd_samples_are_of_another_distribution() -> None:
    made = inputs(IMAGE)
    usual, odd = made.batch(range(16))["x"], made.batch(range(-16, 0))["x"]
    assert odd.std() > 1.4 * usual.std()
    assert odd.mean() > usual.mean() + 0.7


@pytest.mark.parametrize(
    ("dtype", "high"),
    [("uint8", 256), ("int8", 128), ("int32", 256), ("float32", 256), ("float16", 256)],
)
def test_pixels_are_whole_numbers_in_their_range(dtype: str, high: int) -> None:
    for numbers in (range(4), range(-4, 0)):
        batch = inputs(entry("pixels", (1, 32, 32, 3), dtype, high=high)).batch(numbers)["x"]
        assert batch.dtype == np.dtype(dtype)
        assert 0 <= batch.min() < batch.max() < high
        assert np.array_equal(batch, np.rint(batch))


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16", "float8_e4m3fn"])
@pytest.mark.parametrize("kind", ["image", "features", "audio", "points", "state", "video"])
def test_every_floating_type(dtype: str, kind: str) -> None:
    batch = inputs(entry(kind, (1, 3, 8, 8), dtype)).batch([0, -1])["x"]
    assert batch.dtype.name == dtype
    assert batch.shape == (2, 3, 8, 8)
    assert np.isfinite(batch.astype(np.float64)).all()


def test_indices_reach_and_respect_their_bounds() -> None:
    batch = inputs(entry("indices", (1, 4000), "int64", high=37)).batch([0, -1])["x"]
    assert batch[0].min() == 0
    assert batch[0].max() == 36
    assert batch[1].max() < 5


def test_places_are_different_ones() -> None:
    batch = inputs(entry("places", (1, 3, 50), "int64", high=64)).batch([0, 1])["x"]
    assert all(len(set(row)) == 50 and max(row) < 64 for sample in batch.tolist() for row in sample)


def test_coordinates_are_different_cells_of_the_grid() -> None:
    array = inputs(entry("coordinates", (200, 4), "int32", axis=None, high=16)).batch([0])["x"]
    assert len(np.unique(array, axis=0)) == 200
    assert array.min() == 0
    assert array[:, 2:].max() == 15
    assert not array[:, :2].any()


def test_states_are_small_and_their_batch_may_be_the_second_axis() -> None:
    batch = inputs(entry("state", (2, 1, 16), axis=1)).batch([0, 1, 2])["x"]
    assert batch.shape == (2, 3, 16)
    assert abs(batch).max() < 0.5


def test_one_value_everywhere() -> None:
    assert inputs(entry("rate", (), "int64", axis=None, value=16000)).batch([0])["x"] == 16000
    assert inputs(entry("mask", (1, 5), "bool", value=1)).batch([0, 1])["x"].tolist() == [[True] * 5] * 2


def test_a_fixed_batch_decides_how_many_samples_there_are() -> None:
    assert inputs(entry("image", (4, 3, 8, 8)), batch=4).samples(2) == [0, 1, 2, 3]
    assert inputs(IMAGE).samples(2) == [0, 1]
    assert inputs(entry("features", (3, 4), axis=None)).samples(2) == [0]


class Picky:
    """A session that accepts images of one side, in batches of at most `most`."""

    def __init__(self, side: int, most: int = 8) -> None:
        self.side, self.most, self.runs = side, most, 0

    def run(self, feed: dict[str, Array]) -> dict[str, Array]:
        self.runs += 1
        if feed["x"].shape[-1] != self.side or len(feed["x"]) > self.most:
            raise RuntimeError(f"no {feed['x'].shape}")
        return {"y": feed["x"]}


def tried(*sides: int) -> Inputs:
    return Inputs(InputPlan([[entry("image", (1, 3, side, side))] for side in sides], None, 0).as_json())


def test_the_first_attempt_that_the_model_accepts_is_kept() -> None:
    made, session = tried(32, 48, 64), Picky(48)
    assert made.settle(session, [0, 1])["y"].shape == (2, 3, 48, 48)  # type: ignore[arg-type]
    assert made.attempt == 1
    assert (made.described() or {})["arrays"] == [
        {"name": "x", "kind": "image", "dtype": "float32", "shape": [2, 3, 48, 48]}
    ]


def test_a_model_that_accepts_nothing_is_refused_with_its_first_words() -> None:
    with pytest.raises(Refused, match=r"none of the inputs.*\(2, 3, 32, 32\).*--inputs"):
        tried(32, 48).settle(Picky(7), [0, 1])  # type: ignore[arg-type]


def test_a_batch_fixed_inside_is_met_with_one_sample() -> None:
    made = tried(32, 48)
    samples, outputs = made.settle_usual(Picky(48, most=1), 3)  # type: ignore[arg-type]
    assert samples == [0]
    assert outputs["y"].shape == (1, 3, 48, 48)


def test_a_model_with_a_baked_batch_is_run_all_the_same(fact: Facts) -> None:
    model = ModelBuilder().input("x", ["batch", 8]).reshape(1, 2, 4).output("y", [None, 2, 4])
    assert not fact(model, Repeatability).differing


def test_a_bfloat16_input_reaches_the_model(fact: Facts) -> None:
    model = ModelBuilder(19).input("x", ["batch", 8], TensorProto.BFLOAT16)
    model.op("Cast", to=TensorProto.FLOAT).output("y", ["batch", 8])
    assert fact(model, Repeatability).moved == {"y": 0.0}


def test_the_report_says_what_a_model_ran_on(fact: Facts, opened: Any) -> None:
    model = opened(
        ModelBuilder()
        .input("ids", ["batch", "seq"], TensorProto.INT64)
        .op("Identity")
        .output("y", None, TensorProto.INT64)
    )
    probing = Probing(model.provenance.path, EVERY_PROBE)
    probing.run("repeat", fact(model, InputPlan), runs=2, samples=2)
    described = probing.runs[0].inputs
    assert described is not None
    assert described["seed"] == 0
    assert described["arrays"] == [{"name": "ids", "kind": "integers", "dtype": "int64", "shape": [2, 16]}]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Could not find an implementation for Conv(22) node with name '/c'", "no kernel for the operator Conv"),
        ("Fatal error: my.dom:Foo(-1) is not a registered function/op", "operator my.dom:Foo, which it does not know"),
        ("Unsupported model IR version: 99, max supported IR version: 13", "IR version 99"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'/h/R' "
            "Status Message: /src/onnxruntime/core/x.h:91 a::b::B(const c::D&, bool) one == two was false. "
            "The input cannot be reshaped.",
            "ONNX Runtime refused the model (Reshape '/h/R' failed: The input cannot be reshaped.)",
        ),
    ],
)
def test_what_the_runtime_says_is_put_plainly(said: str, meant: str) -> None:
    words = reason(RuntimeError(said))
    assert words is not None
    assert meant in words
    assert "\n" not in words


def test_memory_that_runs_out_is_no_refusal() -> None:
    with pytest.raises(MemoryError):
        reason(RuntimeError("Failed to allocate memory for requested buffer of size 400000000000000"))
    assert reason(KeyError("ours")) is None
