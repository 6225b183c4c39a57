"""What inputs are planned from what a graph declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import Facts
from models import ModelBuilder
from onnx import ModelProto, TensorProto, helper

from avreview.engine.resolve import NotAvailable
from avreview.probes.plan import InputPlan, PlannedInput


def planned(plan: InputPlan, name: str, attempt: int = 0) -> PlannedInput:
    return next(entry for entry in plan.attempts[attempt] if entry.name == name)


def images(*shape: int | str) -> ModelBuilder:
    return ModelBuilder().input("image", shape).conv("stem", 4).relu("act").output("scores", ["batch", 4, None, None])


def several(*inputs: tuple[str, Sequence[int | str], int], out: Sequence[int | str | None]) -> ModelBuilder:
    """A graph with these inputs, whose output comes from the first."""
    model = ModelBuilder()
    for name, shape, dtype in inputs:
        model.input(name, shape, dtype)
    return model.at(inputs[0][0]).op("Identity").output("y", out)


FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def test_an_open_image_is_tried_at_the_usual_sizes(fact: Facts) -> None:
    plan = fact(images("batch", 3, "height", "width"), InputPlan)
    first, second = planned(plan, "image"), planned(plan, "image", 1)
    assert (first.kind, first.batch_axis, first.shape) == ("image", 0, (1, 3, 224, 224))
    assert second.shape == (1, 3, 256, 256)
    assert plan.batch is None


def test_a_size_in_the_metadata_comes_first(fact: Facts) -> None:
    model = images("batch", 3, "height", "width")
    model.metadata["imgsz"] = "[96, 96]"
    assert planned(fact(model, InputPlan), "image").shape == (1, 3, 96, 96)


def test_a_fixed_batch_is_kept(fact: Facts) -> None:
    plan = fact(ModelBuilder().input("image", [4, 3, 8, 8]).conv("stem", 4).output("y", [4, 4, 8, 8]), InputPlan)
    assert plan.batch == 4
    assert planned(plan, "image").shape == (4, 3, 8, 8)


@pytest.mark.parametrize("symbol", ["batch", "N", "bs", "batch_size", "s0", "unk__12", "DynamicDimension.0"])
def test_symbols_that_are_the_batch(fact: Facts, symbol: str) -> None:
    model = several(("x", [symbol, 12], FLOAT), out=[symbol, 12])
    assert planned(fact(model, InputPlan), "x").batch_axis == 0


@pytest.mark.parametrize("symbol", ["num_points", "seq_len", "sequence_length", "tokens", "time", "num_boxes"])
def test_symbols_that_are_not_the_batch(fact: Facts, symbol: str) -> None:
    model = several(("x", [symbol, 12], FLOAT), out=[symbol, 12])
    assert planned(fact(model, InputPlan), "x").batch_axis is None


def test_points_are_no_batch_even_when_n_counts_them(fact: Facts) -> None:
    plan = fact(several(("points", ["N", 4], FLOAT), out=["N", 4]), InputPlan)
    assert planned(plan, "points").batch_axis is None
    assert planned(plan, "points").kind == "points"
    plan = fact(several(("points", ["B", "N", 4], FLOAT), out=["B", "N", 4]), InputPlan)
    assert planned(plan, "points").batch_axis == 0


def test_an_axis_of_an_unknown_name_is_left_alone_and_said(fact: Facts) -> None:
    plan = fact(several(("x", ["foo", 12], FLOAT), out=["foo", 12]), InputPlan)
    assert planned(plan, "x").batch_axis is None
    assert plan.note is not None
    assert "x [foo, 12]" in plan.note


def attention(length: int, batch: int) -> ModelProto:
    """Attention along the first axis of [length, batch, 8], with the shapes that exporters write down."""
    model = ModelBuilder().input("x", [length, batch, 8]).transpose(1, 0, 2, module="in")
    rows = model.value
    columns = model.transpose(0, 2, 1).value
    scores = model.node("MatMul", [rows, columns]).value
    model.op("Softmax", axis=-1).node("MatMul", [model.value, rows]).transpose(1, 0, 2, module="out")
    proto = model.output("y", [length, batch, 8]).build()
    proto.graph.value_info.append(helper.make_tensor_value_info(scores, FLOAT, [batch, length, length]))
    return proto


def test_the_axis_that_attention_runs_along_is_no_batch(fact: Facts) -> None:
    plan = fact(attention(6, 2), InputPlan)
    assert planned(plan, "x").batch_axis is None
    assert "x [6, 2, 8] may count samples" in (plan.note or "")


def test_the_batch_of_a_recurrence_is_its_second_axis(fact: Facts) -> None:
    model = ModelBuilder().input("x", [5, 2, 4])
    weights = [model.tensor(name, model.trained(1, 12, 4 if name == "w" else 3)) for name in ("w", "r")]
    model.node("LSTM", ["x", *weights], outputs=1, rank=4, hidden_size=3).output("y", [5, 1, 2, 3])
    plan = fact(model, InputPlan)
    assert planned(plan, "x").batch_axis == 1
    assert plan.batch == 2


def test_one_symbol_has_one_extent_in_every_input_and_attempt(fact: Facts) -> None:
    model = several(("ids", ["batch", "seq"], INT64), ("mask", ["batch", "seq"], INT64), out=["batch", "seq"])
    plan = fact(model, InputPlan)
    assert len(plan.attempts) > 3
    for attempt in plan.attempts:
        assert attempt[0].shape == attempt[1].shape


def test_sums_of_symbols(fact: Facts) -> None:
    model = several(
        ("ids", ["batch", "seq"], INT64),
        ("past_key_values.0.key", ["batch", 2, "past_len", 8], FLOAT),
        ("attention_mask", ["batch", "past_len + seq"], INT64),
        out=["batch", "seq"],
    )
    plan = fact(model, InputPlan)
    for attempt in plan.attempts:
        extents = {entry.name: entry.shape for entry in attempt}
        assert extents["attention_mask"][1] == extents["ids"][1] + extents["past_key_values.0.key"][2]


def test_indices_stay_inside_the_table_that_they_read(fact: Facts) -> None:
    model = ModelBuilder().input("x", ["batch", "seq"], INT64).op("Cast", to=TensorProto.INT32)
    table = model.tensor("embed.weight", model.trained(37, 8))
    model.node("Gather", [table, model.value], rank=3, channels=8).output("y", ["batch", "seq", 8])
    entry = planned(fact(model, InputPlan), "x")
    assert (entry.kind, entry.low, entry.high) == ("indices", 0, 37)


def test_what_stands_beside_images_and_tokens(fact: Facts) -> None:
    model = several(
        ("ids", ["batch", "seq"], INT64),
        ("lengths", ["batch"], INT64),
        ("sr", [], INT64),
        ("timestep", ["batch"], INT64),
        ("attention_mask", ["batch", "seq"], BOOL),
        ("h0", [2, "batch", 16], FLOAT),
        out=["batch", "seq"],
    )
    plan = fact(model, InputPlan)
    assert planned(plan, "lengths").value == planned(plan, "ids").shape[1]
    assert planned(plan, "sr").value == 16000
    assert planned(plan, "timestep").kind == "timestep"
    assert planned(plan, "attention_mask").value == 1
    state = planned(plan, "h0")
    assert (state.kind, state.batch_axis, state.shape) == ("state", 1, (2, 1, 16))


def test_a_mask_of_what_is_left_out_is_made_of_false(fact: Facts) -> None:
    model = ModelBuilder().input("scores", ["batch", 8]).input("m", ["batch", 8], BOOL)
    lowest = model.scalar(-1e9)
    model.node("Where", ["m", lowest, "scores"]).op("Softmax", axis=-1).output("y", ["batch", 8])
    assert planned(fact(model, InputPlan), "m").value == 0


def test_pillars_are_rows_with_counts_and_coordinates(fact: Facts) -> None:
    model = several(
        ("voxels", ["num_voxels", 20, 4], FLOAT),
        ("num_points", ["num_voxels"], INT64),
        ("coors", ["num_voxels", 4], INT64),
        out=["num_voxels", 20, 4],
    )
    plan = fact(model, InputPlan)
    rows = {entry.shape[0] for entry in plan.attempts[0]}
    assert len(rows) == 1
    assert not plan.has_batch
    assert [entry.kind for entry in plan.attempts[0]] == ["points", "counts", "coordinates"]
    assert planned(plan, "num_points").high == 21


def test_an_input_that_is_a_shape_keeps_what_it_shapes(fact: Facts) -> None:
    model = ModelBuilder().input("x", ["batch", 8]).input("target", [2], INT64)
    model.node("Reshape", ["x", "target"], rank=2).output("y", [None, None])
    assert planned(fact(model, InputPlan), "target").value == 0


def test_images_that_are_normalized_inside_come_as_bytes(fact: Facts) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8])
    model.op("Div", model.scalar(255.0)).conv("stem", 4).output("y", ["batch", 4, 8, 8])
    entry = planned(fact(model, InputPlan), "image")
    assert (entry.kind, entry.high) == ("pixels", 256)


def test_overridable_initializers_are_no_inputs(fact: Facts) -> None:
    model = images("batch", 3, 8, 8)
    model.inputs.append(helper.make_tensor_value_info("stem.weight", FLOAT, [4, 3, 3, 3]))
    assert [entry.name for entry in fact(model, InputPlan).attempts[0]] == ["image"]


def test_channels_that_are_open_come_from_the_weights(fact: Facts) -> None:
    model = images("batch", 3, "h", "w").build()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "channels"
    assert planned(fact(model, InputPlan), "image").shape == (1, 3, 224, 224)


@pytest.mark.parametrize("kind", ["string", "sequence", "huge"])
def test_what_cannot_be_made_up_is_named(fact: Facts, kind: str) -> None:
    model = several(("x", [2, 3], FLOAT), out=[2, 3]).build()
    declared = model.graph.input[0]
    if kind == "string":
        declared.type.tensor_type.elem_type = TensorProto.STRING
    elif kind == "huge":
        declared.type.tensor_type.shape.dim[1].dim_value = 1 << 40
    else:
        element: Any = helper.make_tensor_type_proto(FLOAT, [2])
        declared.type.CopyFrom(helper.make_sequence_type_proto(element))
    with pytest.raises(NotAvailable) as refused:
        fact(model, InputPlan)
    assert "'x'" in str(refused.value)
    assert "\n" not in str(refused.value)
    if kind == "string":
        assert "string [2, 3]" in str(refused.value)
    if kind != "sequence":
        assert "--inputs" in str(refused.value)


def test_many_open_axes_give_few_attempts(fact: Facts) -> None:
    inputs = [(f"a{place}", ["batch", f"seq{place}", "points", "time", "past"], FLOAT) for place in range(8)]
    plan = fact(several(*inputs, out=["batch", None, None, None, None]), InputPlan)
    assert 1 <= len(plan.attempts) <= 24
    for attempt in plan.attempts[1:]:
        assert all(np.prod(entry.shape) <= 1 << 23 for entry in attempt)
