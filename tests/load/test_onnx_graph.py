"""Subgraphs, functions and attributes, laid flat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, helper, parser
from wire_models import attribute, branches, calls, convolution, loop, message, model, model_bytes, node, number, value

from avreview.artifact import Artifact, Graph, Node
from avreview.errors import ArtifactError
from avreview.load import open_artifact

Load = Callable[[onnx.ModelProto | bytes], Artifact]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def run(made: onnx.ModelProto | bytes) -> Artifact:
        path = tmp_path / "model.onnx"
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        return open_artifact(path)

    return run


def graph_of(artifact: Artifact) -> Graph:
    assert artifact.graph is not None
    return artifact.graph


def only(graph: Graph, op: str) -> Node:
    (found,) = (node for node in graph.nodes if node.op == op)
    return found


def test_branches_follow_the_values_around_them_and_lead_into_the_node(load: Load) -> None:
    artifact = load(branches())
    graph = graph_of(artifact)
    add, mul, choose = only(graph, "Add"), only(graph, "Mul"), only(graph, "If")
    assert add.inputs[0] == mul.inputs[0] == "x"
    assert sorted(choose.branch_results) == sorted((*add.outputs, *mul.outputs))
    assert [graph.constants[node.inputs[1]].read().tolist() for node in (add, mul)] == [[1, 2], [3, 4]]
    assert len({*add.outputs, *mul.outputs, "o"}) == 3
    assert choose.index == 2
    assert graph.consumers[add.outputs[0]] == [choose]
    assert (add.scope, mul.scope) == ("choose/then_branch", "choose/else_branch")
    assert not {"then_branch", "else_branch"} & choose.attributes.keys()


def test_tensors_of_the_same_name_in_two_scopes_are_both_there(load: Load) -> None:
    artifact = load(branches())
    assert {name: tensor.read().tolist() for name, tensor in artifact.tensors.items()} == {
        "choose/then_branch/k": [1, 2],
        "choose/else_branch/k": [3, 4],
    }
    assert all(name == tensor.name for name, tensor in artifact.tensors.items())


def test_a_subgraph_in_a_subgraph_reads_the_values_of_both(load: Load) -> None:
    graph = graph_of(load(loop()))
    add = only(graph, "Add")
    assert add.scope == "repeat/body/If/else_branch"
    carried, outer = add.inputs
    assert outer == "x"
    assert {node.inputs[0] for node in graph.nodes if node.op == "Identity"} == {carried, only(graph, "If").inputs[0]}
    assert [node.op for node in graph.nodes[-2:]] == ["If", "Loop"]


def test_every_graph_of_a_list_attribute_is_seen(load: Load) -> None:
    graphs = [helper.make_graph([helper.make_node("Abs", ["x"], [f"o{i}"])], "g", [], [value(f"o{i}")]) for i in (0, 1)]
    case = helper.make_node("Case", ["x"], ["y"], domain="vendor")
    case.attribute.append(helper.make_attribute("cases", graphs))
    made = model([case])
    made.opset_import.append(helper.make_opsetid("vendor", 3))
    graph = graph_of(load(made))
    assert [node.scope for node in graph.nodes] == ["Case/cases[0]", "Case/cases[1]", ""]
    assert only(graph, "Case").version == 3


def test_functions_are_unfolded_with_their_attributes_and_opsets(load: Load) -> None:
    artifact = load(calls())
    graph = graph_of(artifact)
    leaky = [node for node in graph.nodes if node.op == "LeakyRelu"]
    assert [node.attributes["alpha"] for node in leaky] == [0.25, 0.5, 0.25, 0.5]
    assert {node.version for node in leaky} == {13}
    assert leaky[0].inputs == ("x",)
    assert [node.scope for node in leaky] == ["first/Inner", "first/Inner", "second/Inner", "second/Inner"]
    assert sum(node.op == "Identity" for node in graph.nodes) == 6
    assert list(artifact.tensors) == [
        "first/Inner/k", "first/Inner/k (2)", "second/Inner/k", "second/Inner/k (2)"
    ]  # fmt: skip


def test_an_attribute_that_the_call_leaves_out_is_left_out(load: Load) -> None:
    function = parser.parse_function(
        '<opset_import: ["" : 17], domain: "local"> F <axis> (a) => (r) { r = Softmax <axis: int = @axis> (a) }'
    )
    call = helper.make_node("F", ["x"], ["y"], domain="local")
    assert only(graph_of(load(model([call], functions=[function]))), "Softmax").attributes == {}


def test_an_overload_is_a_function_of_its_own(load: Load) -> None:
    functions = []
    for overload, op in (("", "Abs"), ("neg", "Neg")):
        made = helper.make_function(
            "local", "F", ["a"], ["r"], [helper.make_node(op, ["a"], ["r"])], [helper.make_opsetid("", 17)]
        )
        made.overload = overload
        functions.append(made)
    call = helper.make_node("F", ["x"], ["y"], domain="local", overload="neg")
    graph = graph_of(load(model([call], functions=functions)))
    assert [node.op for node in graph.nodes] == ["Neg", "Identity"]


def test_a_graph_given_to_a_function_sees_the_values_of_the_call(load: Load) -> None:
    then = helper.make_graph([helper.make_node("Abs", ["x"], ["o"])], "then", [], [value("o")])
    inside = helper.make_node("If", ["a"], ["r"], else_branch=then)
    inside.attribute.append(AttributeProto(name="then_branch", ref_attr_name="body", type=AttributeProto.GRAPH))
    function = helper.make_function("local", "F", ["a"], ["r"], [inside], [helper.make_opsetid("", 17)], ["body"])
    graph = graph_of(
        load(model([helper.make_node("F", ["x"], ["y"], domain="local", body=then)], functions=[function]))
    )
    given, own = (node for node in graph.nodes if node.op == "Abs")
    if given.scope.endswith("else_branch"):
        given, own = own, given
    assert given.inputs == ("x",)
    assert own.inputs != ("x",)


def test_constants_follow_through_a_function_that_returns_one(load: Load) -> None:
    function = parser.parse_function(
        '<opset_import: ["" : 17], domain: "local"> K () => (k) { k = Constant <value = float[1] {7}> () }'
    )
    nodes = [helper.make_node("K", [], ["k"], domain="local"), helper.make_node("Add", ["x", "k"], ["y"])]
    graph = graph_of(load(model(nodes, functions=[function])))
    assert graph.constants["k"].read().tolist() == [7.0]


def test_nodes_come_in_data_flow_order_whatever_the_file_says(load: Load) -> None:
    made = model([helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Abs", ["x"], ["a"])])
    assert [node.op for node in graph_of(load(made)).nodes] == ["Abs", "Relu"]


def test_data_in_a_circle_is_refused(load: Load) -> None:
    made = model([helper.make_node("Add", ["x", "b"], ["y"], name="here"), helper.make_node("Abs", ["y"], ["b"])])
    with pytest.raises(ArtifactError, match="circle through the node 'here'"):
        load(made)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": 2}, 0),  # a proto3 writer leaves zeros out
        ({"type": 1}, 0.0),
        ({"type": 3}, ""),
        ({"type": 7}, ()),
        ({"type": 2, "i": -3}, -3),
        ({"type": 2, "i": 1, "s": b"hidden"}, 1),  # the type decides
        ({"i": 5}, 5),  # IR version 1 has no type
    ],
)
def test_an_attribute_has_the_value_of_its_type(load: Load, fields: dict[str, object], expected: object) -> None:
    made = model([helper.make_node("Softmax", ["x"], ["y"])])
    made.graph.node[0].attribute.append(attribute("axis", **fields))
    assert only(graph_of(load(made)), "Softmax").attributes["axis"] == expected


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("count", [3, 5_000])
def test_lists_of_numbers_come_packed_or_not(load: Load, packed: bool, count: int) -> None:
    integers = [(-1) ** i * 37 ** (i % 12) for i in range(count)]
    floats = np.arange(count, dtype=np.float32) / 8
    if packed:
        content = message(8, b"".join(number(0, i)[1:] for i in integers)), message(7, floats.tobytes())
    else:
        content = b"".join(number(8, i) for i in integers), b"".join(b"\x3d" + f.tobytes() for f in floats)
    attributes = message(5, message(1, b"i") + content[0] + number(20, 7))
    attributes += message(5, message(1, b"f") + content[1] + number(20, 6))
    found = only(graph_of(load(model_bytes(node("Custom", ["x"], ["z"], attributes)))), "Custom").attributes
    assert list(found["i"]) == integers
    assert list(found["f"]) == floats.tolist()


def test_a_graph_written_in_two_parts_is_one(load: Load) -> None:
    graph = graph_of(load(model_bytes() + message(7, node("Abs", ["y"], ["z"]))))
    assert [node.op for node in graph.nodes] == ["Relu", "Abs"]


def test_a_field_of_another_wire_type_is_none(load: Load) -> None:
    odd = node(
        "Softmax", ["x"], ["z"], message(5, message(1, b"axis") + number(20, 2) + message(3, b"\x01") + number(3, 1))
    )
    assert only(graph_of(load(model_bytes(odd))), "Softmax").attributes == {"axis": 1}


def test_what_is_declared_is_read_when_asked_for(load: Load) -> None:
    graph = graph_of(load(convolution()))
    assert graph.values["c"].dims == ("batch", 1, None, 8)
    assert graph.values["x"].dtype == "float32"
    assert graph.values["y"].dims is None
    assert only(graph, "Conv").metadata == {"namespace": "neck/conv"}


def test_an_initializer_that_is_an_input_may_be_replaced(load: Load) -> None:
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], [helper.make_tensor("w", 1, [2], [1.0, 2.0])])
    made.graph.input.append(value("w"))
    graph = graph_of(load(made))
    assert graph.overridable == {"w"}
    assert [info.name for info in graph.inputs] == ["x"]


@pytest.mark.parametrize(("opset", "ir_version"), [(7, 3), (12, 7), (22, 10), (26, 13)])
def test_old_and_new_versions(load: Load, opset: int, ir_version: int) -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], opset=opset, ir_version=ir_version)
    artifact = load(made)
    assert only(graph_of(artifact), "Relu").version == opset
    assert artifact.provenance.details["ir_version"] == ir_version


def test_the_standard_domain_goes_by_two_names(load: Load) -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx")])
    made.opset_import[0].domain = "ai.onnx"
    relu = only(graph_of(load(made)), "Relu")
    assert (relu.domain, relu.version) == ("", 17)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "foo", "type": 1, "f": 1.0},
        {"name": "value", "type": 4},
        {"name": "value", "type": 9},
        {"name": "value_ints", "type": 8, "strings": [b"a"]},
        {"name": "value_float", "type": 2, "i": 3},
    ],
)
def test_a_constant_without_a_value_is_refused(load: Load, fields: dict[str, object]) -> None:
    made = model([helper.make_node("Constant", [], ["k"]), helper.make_node("Add", ["x", "k"], ["y"])])
    if fields:
        entry = made.graph.node[0].attribute.add()
        for name, content in fields.items():
            getattr(entry, name).extend(content) if name == "strings" else setattr(entry, name, content)
    with pytest.raises(ArtifactError, match="holds no value"):
        load(made)


def test_provenance(load: Load, tmp_path: Path) -> None:
    made = calls()
    made.producer_name, made.producer_version = "pytorch", "2.13.0"
    provenance = load(made).provenance
    assert provenance.producer == "pytorch 2.13.0"
    assert provenance.bytes == (tmp_path / "model.onnx").stat().st_size
    assert provenance.details == {
        "ir_version": 10, "opset": 17, "opsets": {"ai.onnx": 17, "local": 1}, "nodes": 2, "functions": 2
    }  # fmt: skip
