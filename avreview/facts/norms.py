"""The normalization layers of a graph: what each normalizes over, and where its statistics come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import NotApplicable, fact
from avreview.engine.review import Location
from avreview.facts.drawing import Drawing
from avreview.facts.flow import is_fixed, only_consumer
from avreview.facts.modules import ModuleNode, locate, module_path, parameter_module
from avreview.facts.norms_written import WrittenNorm, written_norms
from avreview.facts.shapes import Shapes
from avreview.facts.weights import Constants, Weight

RUNNING, BATCH, SAMPLE = "running", "batch", "sample"


class Norm(NamedTuple):
    """A normalization layer.

    `statistics` says what it divides by at inference: `running` (stored), `batch` (of the batch it is given) or
    `sample` (of each sample by itself). `momentum` is ONNX's: the weight of the old statistics.
    """

    kind: str  # BatchNorm, InstanceNorm, GroupNorm, LayerNorm, RMSNorm
    node: Node
    module: str | None
    statistics: str
    input: str
    output: str
    form: str = "operator"  # or `decomposed`: written out in elementary operators
    training_mode: bool = False
    gamma: Weight | None = None
    beta: Weight | None = None
    mean: Weight | None = None
    variance: Weight | None = None
    eps: float | None = None
    momentum: float | None = None
    groups: int | None = None
    evidence: str = ""  # what makes its statistics depend on the batch

    def location(self, artifact: str, tensor: str | None = None) -> Location:
        return locate(artifact, self.node, self.module, tensor)


class NormLayers(NamedTuple):
    """Every normalization layer, in data-flow order."""

    artifact: str
    all: Sequence[Norm]
    by_input: dict[str, Norm]
    by_output: dict[str, Norm]
    drawing: Drawing

    @property
    def batch_norms(self) -> list[Norm]:
        return [norm for norm in self.all if norm.kind == "BatchNorm"]

    @property
    def tracked(self) -> list[Norm]:
        """Batch norms whose stored mean and variance can be read."""
        return [norm for norm in self.batch_norms if norm.mean is not None and norm.variance is not None]

    def some(self, norms: Sequence[Norm], what: str) -> Sequence[Norm]:
        """`norms`, or NotApplicable when there are none."""
        if not norms:
            raise NotApplicable(f"the model has no {what}")
        return norms


@fact
def norm_layers(artifact: Artifact, drawing: Drawing, constants: Constants, shapes: Shapes) -> NormLayers:
    """Finds the norms that stand as operators, and those that are written out."""
    graph = drawing.graph
    finder = _Finder(graph, constants)
    found = [norm for node in graph.nodes if (norm := finder.operator(node)) is not None]
    known = {norm.node.index for norm in found}
    found += [_of_written(norm) for norm in written_norms(graph, constants, shapes) if norm.node.index not in known]
    found.sort(key=lambda norm: norm.node.index)
    by_input, by_output = ({getattr(norm, end): norm for norm in found} for end in ("input", "output"))
    return NormLayers(artifact.provenance.path, found, by_input, by_output, drawing)


class _Finder:
    def __init__(self, graph: Graph, constants: Constants) -> None:
        self._graph = graph
        self._constants = constants

    def operator(self, node: Node) -> Norm | None:
        """The norm that a single operator is, with the affine part behind it where exporters split that off."""
        if node.op == "BatchNormalization":
            return self._batch_norm(node)
        if node.op == "InstanceNormalization":
            return self._instance_norm(node)
        if node.op in ("GroupNormalization", "GroupNorm", "SkipGroupNorm"):
            groups = int(node.attributes.get("num_groups", node.attributes.get("groups", 0)))
            return self._affine(node, "GroupNorm", 1, 2, groups=groups)
        if node.op in ("LayerNormalization", "SkipLayerNormalization"):
            first = 2 if node.op.startswith("Skip") else 1
            return self._affine(node, "LayerNorm", first, first + 1)
        if node.op in ("RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"):
            return self._affine(node, "RMSNorm", 2 if node.op.startswith("Skip") else 1, -1)
        if node.op == "MeanVarianceNormalization":
            return self._mean_variance(node)
        return None

    def _affine(self, node: Node, kind: str, gamma: int, beta: int, groups: int | None = None) -> Norm:
        weight = self._constants.weight(node.input(gamma)) if node.input(gamma) else None
        bias = self._constants.weight(node.input(beta)) if beta > 0 and node.input(beta) else None
        return Norm(
            kind, node, _module(node, weight), SAMPLE, node.input(0), node.outputs[0],
            gamma=weight, beta=bias, eps=_setting(node, "epsilon", 1e-5), groups=groups,
        )  # fmt: skip

    def _batch_norm(self, node: Node) -> Norm:
        gamma, beta, mean, variance = (
            self._constants.weight(node.input(place)) if node.input(place) else None for place in range(1, 5)
        )
        training, evidence = _training_mode(node)
        statistics = BATCH if training else RUNNING
        if not training and not all(is_fixed(self._graph, node.input(place)) for place in (3, 4)):
            statistics, evidence = BATCH, "its mean and variance are computed from the data"
            mean = variance = None
        return Norm(
            "BatchNorm", node, _module(node, gamma), statistics, node.input(0), node.outputs[0],
            training_mode=training, gamma=gamma, beta=beta, mean=mean, variance=variance,
            eps=_setting(node, "epsilon", 1e-5), momentum=_setting(node, "momentum", 0.9), evidence=evidence,
        )  # fmt: skip

    def _mean_variance(self, node: Node) -> Norm:
        axes = node.attributes.get("axes") or (0, 2, 3)
        batch = 0 in axes or any(axis <= -4 for axis in axes)
        return Norm(
            "BatchNorm" if batch else "InstanceNorm", node, module_path(node), BATCH if batch else SAMPLE,
            node.input(0), node.outputs[0], eps=1e-9,
            evidence=f"MeanVarianceNormalization over axes {list(axes)}" if batch else "",
        )  # fmt: skip

    def _instance_norm(self, node: Node) -> Norm:
        """An InstanceNorm, or the GroupNorm that exporters write as one between two reshapes."""
        norm = self._affine(node, "InstanceNorm", 1, 2)
        before = self._graph.producer.get(node.input(0))
        after = only_consumer(self._graph, node.outputs[0])
        if before is None or after is None or before.op != "Reshape":
            return norm
        target = self._constants.integers(before.input(1))
        if target is None or len(target) < 3 or target[1] < 1:
            return norm
        # With a channel a group there is nothing to reshape back, and optimizers leave that out.
        gamma, key = self._channelwise("Mul", after.outputs[0] if after.op == "Reshape" else node.outputs[0])
        beta, key = self._channelwise("Add", key)
        if after.op != "Reshape" and (gamma is None or beta is None):
            return norm
        return Norm(
            "GroupNorm", node, norm.module, SAMPLE, before.input(0), key,
            gamma=gamma, beta=beta, eps=norm.eps, groups=target[1],
        )  # fmt: skip

    def _channelwise(self, op: str, key: str) -> tuple[Weight | None, str]:
        node = only_consumer(self._graph, key)
        if node is None or node.op != op or len(node.inputs) != 2:
            return None, key
        other = node.inputs[1] if node.inputs[0] == key else node.inputs[0]
        weight = self._constants.weight(other)
        return (weight, node.outputs[0]) if weight is not None else (None, key)


def _training_mode(node: Node) -> tuple[bool, str]:
    """Whether a BatchNormalization computes batch statistics by its own opset's rules, and what says so."""
    if node.attributes.get("training_mode"):
        return True, node.attributes.get("evidence", "training_mode=1")
    outputs = sum(1 for output in node.outputs if output)
    if node.version >= 14 or node.version == 0:
        return False, ""
    if node.version <= 6 and "is_test" in node.attributes:
        return not node.attributes["is_test"], "is_test=0"
    if outputs > 1:
        return True, f"{outputs} outputs, which before opset 14 means training mode"
    return False, ""


def _setting(node: Node, name: str, default: float) -> float | None:
    """An attribute, or the operator's default; what a drawn node lacks is not known."""
    value = node.attributes.get(name, None if isinstance(node, ModuleNode) else default)
    return None if value is None else float(value)


def _module(node: Node, weight: Weight | None) -> str | None:
    return module_path(node) or (parameter_module(weight.name) if weight is not None else None)


def _of_written(norm: WrittenNorm) -> Norm:
    statistics = BATCH if norm.kind == "BatchNorm" else SAMPLE
    return Norm(
        norm.kind, norm.node, module_path(norm.node), statistics, norm.input, norm.output, form="decomposed",
        gamma=norm.gamma, beta=norm.beta, eps=norm.eps, evidence=norm.evidence,
    )  # fmt: skip
