"""What could not be seen in a file, and why: said in every report that it concerns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from avreview.artifact import Artifact
from avreview.checks.words import count, listed, verb
from avreview.engine.checks import limitation
from avreview.facts.drawing import MODULES, NAMES, Drawing
from avreview.facts.layers import Layers
from avreview.facts.norms import NormLayers

# Operator sets whose meaning is read: ONNX's own, and what ONNX Runtime adds to it.
_READ_DOMAINS = frozenset({"", "ai.onnx.ml", "com.microsoft", "com.ms.internal.nhwc"})


@limitation
def computed_weights(layers: Layers) -> Iterator[str]:
    """Layers whose weights do not lead back to constants."""
    without = [layer for layer in layers.all if layer.weight is None]
    if without:
        names = listed(layer.module or layer.node.label for layer in without)
        yield (
            f"{count(len(without), 'layer')} of {len(layers.all)} {verb(len(without), 'take')} weights that the graph "
            f"computes from its inputs or chooses at run time ({names}): nothing was said of these weights."
        )


@limitation
def quantized_weights(layers: Layers) -> Iterator[str]:
    """Layers whose weights are integers and a scale: rounding hides how they were initialized."""
    quantized = [layer for layer in layers.weighted if layer.weight is not None and not layer.weight.is_plain]
    if quantized:
        yield (
            f"{count(len(quantized), 'layer')} of {len(layers.all)} {verb(len(quantized), 'hold')} quantized weights: "
            "whether they were ever trained cannot be told from them."
        )


@limitation
def replaceable_weights(artifact: Artifact) -> Iterator[str]:
    """Initializers that are also inputs: a caller may pass others."""
    replaceable = artifact.graph.overridable if artifact.graph is not None else ()
    if replaceable:
        inputs = "an input" if len(replaceable) == 1 else "inputs"
        yield (
            f"{count(len(replaceable), 'weight')} {verb(len(replaceable), 'are', 'is')} also {inputs} of the graph: "
            "a caller may pass others; those in the file were reviewed."
        )


@limitation
def custom_operators(artifact: Artifact) -> Iterator[str]:
    """Operators of domains that nobody here knows."""
    nodes = artifact.graph.nodes if artifact.graph is not None else ()
    unknown = Counter(f"{node.domain}::{node.op}" for node in nodes if node.domain not in _READ_DOMAINS)
    if unknown:
        yield (
            f"{count(unknown.total(), 'node')} of custom operators ({listed(unknown)}) could not be looked into: "
            "what normalizes, drops or draws at random inside them is not known."
        )


@limitation
def guessed_modules(drawing: Drawing, layers: Layers, norms: NormLayers) -> Iterator[str]:
    """Modules that names and shapes alone tell of."""
    if drawing.shows == NAMES:
        yield (
            f"Names and shapes of tensors are all there is: {count(len(layers.all), 'layer')} and "
            f"{count(len(norms.all), 'norm')} were told by them. Activations, strides, groups and modes are not known, "
            "and units that can never fire were not looked for."
        )


@limitation
def unknown_ways(drawing: Drawing) -> Iterator[str]:
    """Parts of a module tree whose forward is not known."""
    if drawing.shows == MODULES:
        produced = {output for node in drawing.graph.nodes for output in node.outputs}
        ends = {info.name for info in drawing.graph.outputs}
        open_ended = sum(output not in drawing.graph.consumers and output not in ends for output in produced)
        if open_ended:
            yield (
                f"What reads the results of {count(open_ended, 'module')} of {len(produced)} is not known: a "
                "module tree shows the way of the data through sequences and known blocks only."
            )
