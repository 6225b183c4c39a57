"""What onnx.checker says, asked without the weights in a child process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from avreview.artifact import Artifact, Provenance
from avreview.engine.resolve import NotAvailable, is_background
from avreview.facts.validity import CheckerOutcome, Validity, validity
from avreview.load import open_artifact
from avreview.load.onnx.checker import complaint
from avreview.sandbox import Ending, Limits, Outcome, start

_PUBLISHED = Path(onnx.__file__).parent / "backend" / "test" / "data"


def relu(*more: onnx.NodeProto, inputs: int = 1) -> onnx.ModelProto:
    """A large weight, so that the checker sees a skeleton, and a Relu."""
    weight = numpy_helper.from_array(np.ones(1_000, np.float32), "w")
    nodes = [helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"] * inputs, ["y"]), *more]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1_000]) for name in "xy")
    graph = helper.make_graph(nodes, "graph", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    made = relu()
    change(made)
    return made


def swap_nodes(made: onnx.ModelProto) -> None:
    nodes = [made.graph.node[1], made.graph.node[0]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del made.graph.node[:]
    made.graph.node.extend(copies)


def repeat_weight(made: onnx.ModelProto) -> None:
    made.graph.initializer.append(made.graph.initializer[0])


def wrong_attribute(made: onnx.ModelProto) -> None:
    made.graph.node[1].attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, i=3)


def recursive_function(made: onnx.ModelProto) -> None:
    body = [helper.make_node("F", ["a"], ["r"], domain="local")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    made.functions.append(helper.make_function("local", "F", ["a"], ["r"], body, opsets))
    made.opset_import.append(helper.make_opsetid("local", 1))


INVALID = {
    "unknown operator": relu(helper.make_node("NoSuchOperator", ["y"], ["z"])),
    "unsorted nodes": changed(swap_nodes),
    "duplicate output": relu(helper.make_node("Abs", ["x"], ["y"])),
    "duplicate initializer": changed(repeat_weight),
    "bad attribute": changed(wrong_attribute),
    "unknown attribute": relu(helper.make_node("Abs", ["x"], ["z"], no_such=1)),
    "missing input": relu(helper.make_node("Abs", ["nowhere"], ["z"])),
    "too many inputs": relu(inputs=2),
    "missing output": changed(lambda made: made.graph.output.append(helper.make_tensor_value_info("q", 1, [1]))),
    "no opset": changed(lambda made: made.ClearField("opset_import")),
    "unknown domain": relu(helper.make_node("Abs", ["x"], ["z"], domain="elsewhere")),
    "newer than the checker": changed(lambda made: setattr(made, "ir_version", 99)),
    "no name": changed(lambda made: made.graph.ClearField("name")),
    "recursive function": changed(recursive_function),
}


def asked(model: onnx.ModelProto, folder: Path) -> CheckerOutcome:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return Validity(start("avreview.load.onnx.checker:complaint", os.fspath(path))).outcome()


@pytest.mark.parametrize("case", INVALID)
def test_what_the_checker_rejects(case: str, tmp_path: Path) -> None:
    with pytest.raises(onnx.checker.ValidationError) as expected:
        onnx.checker.check_model(INVALID[case])
    path = tmp_path / "model.onnx"
    path.write_bytes(INVALID[case].SerializeToString())
    assert complaint(os.fspath(path)) == str(expected.value)


def test_a_rejection_is_one_clean_line(tmp_path: Path) -> None:
    made = relu(helper.make_node("NoSuchOperator", ["y"], ["z"], name="\x1b[2J\n" + "n" * 10_000))
    outcome = asked(made, tmp_path)
    assert not outcome.accepted
    assert outcome.message is not None
    assert outcome.message.isprintable()
    assert outcome.message.startswith("No Op registered for NoSuchOperator")
    assert len(outcome.message) <= 300


def test_what_the_checker_accepts(tmp_path: Path) -> None:
    assert asked(relu(), tmp_path) == CheckerOutcome(True, None)


def published() -> list[Path]:
    return sorted(path for path in _PUBLISHED.rglob("*.onnx"))


def test_it_agrees_with_the_checker_on_published_models() -> None:
    disagreed = []
    for path in published():
        try:
            onnx.checker.check_model(os.fspath(path))
            expected = None
        except onnx.checker.ValidationError as error:
            expected = str(error)
        if complaint(os.fspath(path)) != expected:
            disagreed.append(path)
    assert len(published()) > 100
    assert disagreed == []


def test_external_data_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(relu(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    assert complaint(os.fspath(path)) is None


def test_the_fact_starts_at_once_and_answers_later(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(INVALID["unsorted nodes"].SerializeToString())
    artifact = open_artifact(path)
    started = time.monotonic()
    working = validity(artifact)
    assert isinstance(working, Validity)
    assert time.monotonic() - started < 0.5
    assert not working.outcome().accepted
    assert is_background(Validity)


def test_without_a_graph_there_is_nothing_to_check() -> None:
    with pytest.raises(NotAvailable, match="needs an ONNX export"):
        validity(Artifact(Provenance("weights", "other", 1), {}))


class Ended:
    """A child that has ended in a certain way."""

    def __init__(self, ending: Ending, message: str) -> None:
        self._outcome = Outcome(ending, message=message)

    def result(self) -> Outcome:
        return self._outcome


def test_a_crash_is_a_rejection() -> None:
    assert Validity(Ended(Ending.DIED, "died by SIGSEGV")).outcome() == CheckerOutcome(  # type: ignore[arg-type]
        False, "onnx.checker crashed with SIGSEGV"
    )


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_a_checker_that_somebody_ended_says_nothing_of_the_file(signal: str) -> None:
    with pytest.raises(NotAvailable, match=f"onnx.checker died by {signal}; check the model with it by hand"):
        Validity(Ended(Ending.DIED, f"died by {signal}")).outcome()  # type: ignore[arg-type]


def test_a_failure_is_none() -> None:
    with pytest.raises(NotAvailable, match=r"could not be run \(MemoryError\)"):
        Validity(Ended(Ending.FAILED, "MemoryError")).outcome()  # type: ignore[arg-type]


def test_a_checker_that_hangs_is_not_available() -> None:
    with pytest.raises(NotAvailable, match=r"onnx\.checker did not finish within 0\.3 s"):
        Validity(start("time:sleep", 60, limits=Limits(seconds=0.3))).outcome()
