"""Predicting a norm's running mean from the norm in front of it, without data.

For batch norm → activation → convolution or dense layer → batch norm: what leaves the first norm in channel i is
about N(β_i, γ_i²), whatever the data, because that is what the norm makes of it. The mean of the activation of it,
times the weights summed over the kernel, plus the bias, is the mean that the second norm must have stored. Healthy
models correlate at .77 or better; statistics that were reset, permuted or taken from another model do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Graph
from avreview.engine.resolve import fact
from avreview.facts.activations import Activation, ActivationFinder, apply
from avreview.facts.drawing import Drawing
from avreview.facts.layers import Layer, Layers
from avreview.facts.norms import RUNNING, Norm, NormLayers

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_KINDS = ("Conv", "Gemm", "MatMul")
_PASSED = ("Identity", "Dropout", "Pad", "Cast", "QuantizeLinear", "DequantizeLinear")
_NODES = 40  # of the Gauss-Hermite quadrature: exact for polynomials of degree 79
_MOST_ELEMENTS = 1 << 24  # of a weight that is read for it


class Prediction(NamedTuple):
    """A norm, and how its stored mean correlates with what the norm before it predicts."""

    norm: Norm
    before: Norm
    layer: Layer
    correlation: float
    channels: int


class NormPredictions(NamedTuple):
    """Every chain of two batch norms that could be judged."""

    all: Sequence[Prediction]


@fact
def norm_predictions(
    drawing: Drawing, layers: Layers, norms: NormLayers, activations: ActivationFinder
) -> NormPredictions:
    """Finds the chains and correlates predicted and stored means over the channels."""
    graph = drawing.graph
    sources = dict(_sources(norms, activations))
    found = []
    for layer in layers.weighted:
        source = sources.get(_behind_passed(graph, layer.node.input(0)))
        if source is None or layer.norm is None or layer.kind not in _KINDS or not _has_statistics(layer.norm):
            continue
        before, activation = source
        prediction = _predict(layer, layer.norm, before, activation)
        if prediction is not None:
            found.append(prediction)
    return NormPredictions(found)


def _has_statistics(norm: Norm) -> bool:
    return norm.kind == "BatchNorm" and norm.statistics == RUNNING and norm.mean is not None


def _sources(norms: NormLayers, activations: ActivationFinder) -> Iterator[tuple[str, tuple[Norm, Activation | None]]]:
    """The values whose distribution a batch norm fixes: its result, or its result after the activation."""
    for norm in norms.batch_norms:
        if norm.statistics == RUNNING and norm.gamma is not None and norm.beta is not None:
            activation = activations.after(norm.output)
            yield (activation.output if activation is not None else norm.output), (norm, activation)


def _behind_passed(graph: Graph, key: str) -> str:
    for _ in range(4):
        node = graph.producer.get(key)
        if node is None or node.op not in _PASSED:
            break
        key = node.input(0)
    return key


def _predict(layer: Layer, norm: Norm, before: Norm, activation: Activation | None) -> Prediction | None:
    import numpy as np

    if before.gamma is None or before.beta is None or norm.mean is None or layer.weight is None:
        return None
    if layer.weight.tensor.size > _MOST_ELEMENTS or not layer.fan_in:
        return None
    beta, gamma = (part.read().astype(np.float64).reshape(-1) for part in (before.beta, before.gamma))
    inputs = activated_mean(beta, gamma, activation)
    matrix = _summed_kernel(layer)
    if inputs is None or matrix is None or matrix.shape[1] * layer.groups != len(inputs):
        return None
    grouped = inputs.reshape(layer.groups, -1)
    predicted = np.einsum("gui,gi->gu", matrix.reshape(layer.groups, -1, matrix.shape[1]), grouped).reshape(-1)
    if layer.bias is not None:
        predicted = predicted + layer.bias.read().astype(np.float64).reshape(-1)
    stored = norm.mean.read().astype(np.float64).reshape(-1)
    if len(stored) != len(predicted) or np.ptp(stored) == 0 or np.ptp(predicted) == 0:
        return None
    if not (np.isfinite(stored).all() and np.isfinite(predicted).all()):
        return None
    return Prediction(norm, before, layer, float(np.corrcoef(predicted, stored)[0, 1]), len(stored))


def activated_mean(beta: Array, gamma: Array, activation: Activation | None) -> Array | None:
    """E[act(z)] for z ~ N(beta_i, gamma_i²), per channel, by Gauss-Hermite quadrature. None for an unknown function."""
    import numpy as np

    if activation is None:
        return beta
    points, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    values = apply(activation, beta[:, None] + np.abs(gamma)[:, None] * points)
    return None if values is None else np.asarray(values @ (weights / weights.sum()))


def _summed_kernel(layer: Layer) -> Array | None:
    """The layer's weights as [units, inputs of a group], summed over the kernel."""
    import numpy as np

    if layer.weight is None:
        return None
    weight = layer.weight.read().astype(np.float64)
    if layer.kind == "Conv":
        summed: Array = weight.reshape(weight.shape[0], weight.shape[1], -1).sum(axis=2)
        return summed
    if weight.ndim != 2:
        return None
    return weight if layer.unit_axis in (0, -2) else weight.T
