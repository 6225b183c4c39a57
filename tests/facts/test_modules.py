from __future__ import annotations

import time

import pytest

from avreview.artifact import Node
from avreview.facts.modules import locate, module_path, parameter_module

SCOPES = "pkg.torch.onnx.name_scopes"


def named(name: str, scopes: str | None = None) -> Node:
    metadata = None if scopes is None else {SCOPES: scopes}
    return Node("Relu", "", name, ("x",), ("y",), {}, version=17, metadata=metadata)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/neck/bn3/BatchNormalization", "neck.bn3"),
        ("/neck/neck.0/BatchNormalization", "neck.0"),
        ("/backbone/layer1/layer1.0/conv1/Conv", "backbone.layer1.0.conv1"),
        ("/layer1/layer1.0/downsample/downsample.1/BatchNormalization", "layer1.0.downsample.1"),
        ("/blocks.0/mlp/fc1/MatMul", "blocks.0.mlp.fc1"),
        ("/head/Relu_12", "head"),
        ("/head/head.cls/head.cls.0/Conv", "head.cls.0"),
        ("/neck/necklace/Conv", "neck.necklace"),
        ("model/dense/MatMul", "model/dense"),
        ("StatefulPartitionedCall/net/block_1/conv/Conv2D", "StatefulPartitionedCall/net/block_1/conv"),
        ("/Conv", None),
        ("/head/convs.0_1/conv/Conv", "head.convs.0.conv"),
        ("/layer1/layer1.0_2/conv1/Conv", "layer1.0.conv1"),
        ("/head/conv_1/Conv", "head.conv_1"),
        ("/mlp/fc1/MatMul/MatMulAddFusion", "mlp.fc1"),
        ("/attn/MatMul/MatMulScaleFusion//MatmulTransposeFusion/", "attn"),
        ("fused /head/fc/Gemm", "head.fc"),
        ("node_MatMul_3/MatMulAddFusion", None),
        ("Conv_12", None),
        ("", None),
        ("/", None),
        ("//", None),
    ],
)
def test_a_node_path_tells_the_module(name: str, module: str | None) -> None:
    assert module_path(named(name)) == module


@pytest.mark.parametrize(
    ("scopes", "module"),
    [
        ("['', 'neck', 'neck.bn3', 'batch_norm']", "neck.bn3"),
        ("['', 'temporal.1', 'temporal.1.dropout', 'dropout_3']", "temporal.1.dropout"),
        ("['', 'relu']", None),
        ("['']", None),
        ("[]", None),
    ],
)
def test_the_exporters_scopes_tell_the_module_whatever_the_name_says(scopes: str, module: str | None) -> None:
    assert module_path(named("/elsewhere/Relu", scopes)) == module


HOSTILE = {
    "a call": "__import__('os').system('exit 1')",
    "a number": "42",
    "numbers": "[1, 2, 3]",
    "a dictionary": "{'a': 1}",
    "broken off": "['', 'neck'",
    "deep": "[" * 100_000,
    "deep and closed": "[" * 5_000 + "]" * 5_000,
    "a zero byte": "['\0', 'a']\0",
    "long": "[" + "'a'," * 2_000_000 + "]",
    "a huge number": "[" + "9" * 100_000 + "]",
    "a product": "['a' * 10**9, 'b']",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_scopes_are_no_module_and_cost_no_time(kind: str) -> None:
    start = time.perf_counter()
    assert module_path(named("/elsewhere/Relu", HOSTILE[kind])) is None
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("backbone.0.conv.weight", "backbone.0.conv"),
        ("head.bias", "head"),
        ("neck.bn.running_mean", "neck.bn"),
        ("neck.bn.running_var", "neck.bn"),
        ("dense.kernel", "dense"),
        ("norm.gamma", "norm"),
        (".weight", None),
        ("weight", None),
        ("onnx::Conv_123", None),
        ("ConvBnFusion_W_neck.conv.weight", "neck.conv"),
        ("ConvBnFusion_BN_B_neck.bn.bias", "neck.bn"),
        ("ConvMulFusion_W_ConvBnFusion_W_neck.conv.weight", "neck.conv"),
        ("onnx::x.weight", None),
        ("neck.bn.weights", None),
        ("", None),
    ],
)
def test_a_state_dict_key_tells_the_module(name: str, module: str | None) -> None:
    assert parameter_module(name) == module


def test_a_location_names_what_is_known() -> None:
    place = locate("model.onnx", named("/neck/Relu"), tensor="w")
    assert (place.artifact, place.node, place.module, place.tensor) == ("model.onnx", "/neck/Relu", "neck", "w")
    assert locate("model.onnx", named("/neck/Relu"), "head").module == "head"
    assert locate("model.onnx", named("")).node == "Relu(y)"
