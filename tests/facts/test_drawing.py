"""Graphs drawn from checkpoints: what names, trees and recorded forwards tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint, tensors
from conftest import Facts

from avreview.artifact import Artifact
from avreview.checkpoint import Call, Module
from avreview.engine.resolve import NotAvailable
from avreview.facts.drawing import Drawing
from avreview.facts.layers import Layer, Layers
from avreview.facts.norms import NormLayers
from avreview.facts.randomness import Randomness
from avreview.facts.state_names import kind_of

Array = np.ndarray[Any, Any]


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def norm(path: str, channels: int = 4) -> dict[str, Array]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{path}.{part}": ones(channels) for part in parts}


CONV_NORM = {"net.0.weight": ones(4, 3, 3, 3), **norm("net.1"), "head.weight": ones(5, 4), "head.bias": ones(5)}


def conv_norm(*leaves: Module, kind: str = "Sequential", names: tuple[str, ...] = ("0", "1", "2")) -> Artifact:
    """A convolution, a norm and an activation inside one module, and a dense layer whose place nothing tells."""
    modules = [
        Module("", "Net", "nets", children=("net", "head")),
        Module("net", kind, "nets", children=names),
        *leaves,
        Module("head", "Linear", "torch.nn.modules.linear", parameters=("weight", "bias")),
    ]
    return checkpoint(CONV_NORM, modules=modules)


CONV = Module("net.0", "Conv2d", "torch.nn.modules.conv", {"groups": 1, "stride": (2, 2)}, parameters=("weight",))
NORM = Module("net.1", "BatchNorm2d", "torch.nn.modules.batchnorm", {"eps": 1e-3, "momentum": 0.03},
              parameters=("weight", "bias"), buffers=("running_mean", "running_var"))  # fmt: skip
RELU = Module("net.2", "ReLU", "torch.nn.modules.activation")


def by_module(fact: Facts, artifact: Artifact) -> dict[str | None, Layer]:
    return {layer.module: layer for layer in fact(artifact, Layers).all}


@pytest.mark.parametrize(
    ("name", "held", "kind"),
    [
        ("conv", {"weight": ones(4, 3, 3, 3)}, "Conv2d"),
        ("conv", {"weight": ones(4, 3, 3), "bias": ones(4)}, "Conv1d"),
        ("fc", {"weight": ones(4, 3), "bias": ones(4)}, "Linear"),
        ("proj", {"weight": ones(4, 3)}, "Linear"),
        ("word_embeddings", {"weight": ones(100, 3)}, "Embedding"),
        ("bn", {name: ones(4) for name in ("weight", "bias", "running_mean", "running_var")}, "BatchNorm"),
        ("bn", {name: ones(4) for name in ("running_mean", "running_var")}, "BatchNorm"),
        ("ln", {"weight": ones(4), "bias": ones(4)}, "Norm"),
        ("rms_norm", {"weight": ones(4)}, "RMSNorm"),
        ("prelu", {"weight": ones(4)}, ""),
        ("rnn", {"weight_ih_l0": ones(32, 3), "weight_hh_l0": ones(32, 8)}, "LSTM"),
        ("rnn", {"weight_ih_l0": ones(24, 3), "weight_hh_l0": ones(24, 8)}, "GRU"),
        ("rnn", {"weight_ih": ones(32, 3), "weight_hh": ones(32, 8)}, "LSTM"),
        ("attn", {"in_proj_weight": ones(24, 8), "in_proj_bias": ones(24)}, "MultiheadAttention"),
        ("scale", {"gamma": ones(4)}, ""),
    ],
)
def test_names_and_shapes_tell_the_kind(name: str, held: dict[str, Array], kind: str) -> None:
    assert kind_of(name, tensors(held)) == kind


def test_a_state_dict_gives_layers_and_norms_but_no_way_of_the_data(fact: Facts) -> None:
    artifact = checkpoint(CONV_NORM)
    drawing = fact(artifact, Drawing)
    assert drawing.shows == "names"
    layers = by_module(fact, artifact)
    assert (layers["net.0"].kind, layers["net.0"].fan_in, layers["net.0"].units) == ("Conv", 27, 4)
    assert (layers["head"].kind, layers["head"].fan_in, layers["head"].units) == ("Gemm", 4, 5)
    assert layers["net.0"].norm is None
    (found,) = fact(artifact, NormLayers).all
    assert (found.module, found.eps, found.momentum) == ("net.1", None, None)
    for ask in (drawing.require_flow, drawing.require_settings, drawing.require_forward):
        with pytest.raises(NotAvailable):
            ask()


def test_a_sequence_is_a_chain_and_keeps_its_settings(fact: Facts) -> None:
    artifact = conv_norm(CONV, NORM, RELU)
    assert fact(artifact, Drawing).shows == "modules"
    conv = by_module(fact, artifact)["net.0"]
    assert conv.norm is not None
    assert (conv.norm.module, conv.norm.eps) == ("net.1", 1e-3)
    assert conv.norm.momentum == pytest.approx(0.97)
    assert conv.activation is not None
    assert conv.activation.name == "relu"
    assert conv.node.attributes["strides"] == (2, 2)


@pytest.mark.parametrize(
    ("kind", "names"), [("Conv", ("conv", "bn", "act")), ("ConvModule", ("conv", "bn", "activate"))]
)
def test_a_known_block_is_a_chain(fact: Facts, kind: str, names: tuple[str, ...]) -> None:
    arrays = {key.replace("net.0", f"net.{names[0]}").replace("net.1", f"net.{names[1]}"): array
              for key, array in CONV_NORM.items()}  # fmt: skip
    leaves = [Module(f"net.{name}", leaf.kind, leaf.package, leaf.attributes)
              for name, leaf in zip(names, (CONV, NORM, RELU), strict=True)]  # fmt: skip
    modules = [Module("", "Net", "nets", children=("net",)), Module("net", kind, "nets", children=names), *leaves]
    conv = by_module(fact, checkpoint(arrays, modules=modules))["net.conv"]
    assert conv.norm is not None
    assert conv.activation is not None


def test_the_forward_of_an_unknown_block_is_not_guessed(fact: Facts) -> None:
    conv = by_module(fact, conv_norm(CONV, NORM, RELU, kind="MyBlock"))["net.0"]
    assert conv.norm is None
    assert conv.activation is None


def test_a_norm_without_tracked_statistics_computes_them_from_the_batch(fact: Facts) -> None:
    loose = Module("net.1", "BatchNorm2d", NORM.package, {"track_running_stats": False}, parameters=("weight", "bias"))
    arrays = {name: array for name, array in CONV_NORM.items() if "running" not in name}
    modules = [Module("", "Net", "nets", children=("net",)), Module("net", "Sequential", "", children=("0", "1")),
               CONV, loose]  # fmt: skip
    (found,) = fact(checkpoint(arrays, modules=modules), NormLayers).all
    assert (found.statistics, found.evidence) == ("batch", "track_running_stats=False")


def call(target: str, *inputs: str, out: str, child: bool = False, **arguments: Any) -> Call:
    return Call(target if child else f"aten::{target}", child, inputs, (out,), arguments)


def recorded(*calls: Call, **attributes: Any) -> Artifact:
    modules = [
        Module("", "Net", "nets", attributes, ("net", "head"), inputs=("x",), calls=calls),
        Module("net", "Sequential", "torch.nn", children=("0", "1")),
        CONV, NORM,
        Module("head", "Linear", "torch.nn.modules.linear", {}),
    ]  # fmt: skip
    return checkpoint(CONV_NORM, modules=modules)


def test_a_recorded_forward_is_followed_through_functions(fact: Facts) -> None:
    artifact = recorded(
        call("net", "x", out="a", child=True),
        call("leaky_relu", "a", out="b", negative_slope=0.2),
        call("dropout", "b", out="c", p=0.4, train=True),
        call("head", "c", out="d", child=True),
    )
    conv = by_module(fact, artifact)["net.0"]
    assert conv.activation is not None
    assert conv.activation.name == "leaky_relu"
    assert conv.activation.slope == pytest.approx(0.2)
    (dropout,) = fact(artifact, Randomness).active
    assert dropout.rate == pytest.approx(0.4)


@pytest.mark.parametrize("training", [True, False])
def test_a_dropout_without_a_literal_follows_its_modules_mode(fact: Facts, training: bool) -> None:
    artifact = recorded(call("dropout", "x", out="a", p=0.4), training=training)
    assert bool(fact(artifact, Randomness).active) is training


def test_a_function_takes_its_weights_from_the_module(fact: Facts) -> None:
    calls = (
        call("conv2d", "x", "self.net.0.weight", out="a", bias=None, stride=(1, 1), groups=1),
        call("batch_norm", "a", "self.net.1.weight", "self.net.1.bias", "self.net.1.running_mean",
             "self.net.1.running_var", out="b", training=True, momentum=0.1, eps=1e-5),
        call("relu_", "b", out="c"),
    )  # fmt: skip
    artifact = checkpoint(CONV_NORM, modules=[Module("", "Net", "nets", inputs=("x",), calls=calls)])
    layer = next(layer for layer in fact(artifact, Layers).all if layer.kind == "Conv")
    assert layer.norm is not None
    assert layer.norm.statistics == "batch"
    assert layer.activation is not None
    assert layer.weight is not None
    assert layer.weight.name == "net.0.weight"


def test_a_tree_of_any_depth_and_with_a_cycle_of_calls_is_drawn(fact: Facts) -> None:
    deep = [Module(".".join(["m"] * depth), "Sequential", "torch.nn", children=("m",)) for depth in range(400)]
    assert fact(checkpoint(CONV_NORM, modules=deep), Drawing).shows == "modules"
    looping = Module(
        "", "Net", "nets", inputs=("x",), children=("net",), calls=(call("net", "x", out="a", child=True),)
    )
    back = Module("net", "Net", "nets", inputs=("x",), calls=(call("", "x", out="a", child=True),))
    assert not fact(checkpoint(CONV_NORM, modules=[looping, back]), Drawing).graph.nodes


def test_forwards_that_unfold_without_end_are_given_up(fact: Facts) -> None:
    levels = [
        Module(".".join("m" * depth), "Net", "nets", children=("m",), inputs=("x",),
               calls=tuple(call("m", "x", out=str(number), child=True) for number in range(10)))
        for depth in range(30)
    ]  # fmt: skip
    with pytest.raises(NotAvailable, match="call each other"):
        fact(checkpoint(CONV_NORM, modules=levels), Drawing)
