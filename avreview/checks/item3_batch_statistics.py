"""Question 3: which normalization layers depend on batch statistics?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.facts.blocks import Blocks
from avreview.facts.cameras import FoldedCameras
from avreview.facts.drawing import NAMES
from avreview.facts.layers import Layers
from avreview.facts.modality import InputModality
from avreview.facts.norms import BATCH, Norm, NormLayers
from avreview.facts.scale_paths import ScalePaths
from avreview.facts.sequences import Sequences


@check("AV301")
def batch_statistics_at_inference(norms: NormLayers) -> Iterator[Violation]:
    """A norm whose statistics come from the batch it is given."""
    norms.drawing.require_settings()
    every = norms.some(norms.all, "normalization layers")
    found = [norm for norm in every if norm.statistics == BATCH]
    if found:
        first = found[0]
        yield Violation(
            at=first.location(norms.artifact),
            also=[norm.location(norms.artifact) for norm in found[1:]],
            message=f"{count(len(found), 'norm')} of {len(every)} "
            f"{verb(len(found), 'compute')} statistics from the batch at inference.",
            observed={"evidence": listed(dict.fromkeys(norm.evidence for norm in found)), "norms": len(found)},
            expected={"statistics": "running"},
        )


@check("AV303")
def batch_norm_in_sequence_model(norms: NormLayers, sequences: Sequences, limits: Thresholds) -> Iterator[Violation]:
    """A batch norm at most a few weight layers behind a recurrent or attention operator, or in a loop's body."""
    batch_norms = norms.some(norms.batch_norms, "batch norms")
    if not sequences.operators and not sequences.inside:
        norms.drawing.require_flow()
        raise NotApplicable("the model has no recurrent, looping or attention operator")
    found = [norm for norm in batch_norms if sequences.reaches(norm.node, int(limits.max_weight_layers))]
    if not found:
        norms.drawing.require_flow()
    else:
        yield Violation(
            at=found[0].location(norms.artifact),
            also=[norm.location(norms.artifact) for norm in found[1:]],
            message=f"{count(len(found), 'batch norm')} in or right behind a temporal, recurrent or attention block.",
            observed={"kind": "BatchNorm", "norms": len(found), "sequence_operators": len(sequences.operators)},
            expected={"kind": "LayerNorm or RMSNorm"},
        )


@check("AV304")
def bias_before_norm(layers: Layers, norms: NormLayers) -> Iterator[Violation]:
    """A bias that the norm right behind it subtracts again."""
    norms.some(norms.all, "normalization layers")
    followed = [
        layer
        for layer in layers.weighted
        if layer.norm is not None and layer.norm.kind in ("BatchNorm", "InstanceNorm") and layer.norm.input
    ]
    if not followed:
        norms.drawing.require_flow()
        raise NotApplicable("no layer is followed directly by a batch or instance norm")
    found = [layer for layer in followed if layer.bias is not None and layer.bias.read().any()]
    if found:
        yield Violation(
            at=found[0].location(layers.artifact),
            also=[layer.location(layers.artifact) for layer in found[1:]],
            message=f"{count(len(found), 'layer')} of {len(followed)} in front of a norm "
            f"{'has' if len(found) == 1 else 'have'} a bias that the norm subtracts again.",
            observed={"bias": "not zero", "layers": len(found)},
            expected={"bias": "none"},
        )


@check("AV305")
def norm_placement_mixed(blocks: Blocks, norms: NormLayers, limits: Thresholds) -> Iterator[Violation]:
    """Some blocks normalize before the activation and some after it."""
    if not blocks.before and not blocks.after:
        norms.drawing.require_flow()
        raise NotApplicable("no layer is followed by both a norm and an activation")
    rarer, common = sorted((blocks.before, blocks.after), key=len)
    if len(rarer) >= limits.min_blocks:
        order = "before" if rarer is blocks.before else "after"
        yield Violation(
            at=rarer[0].location(blocks.artifact),
            also=[layer.location(blocks.artifact) for layer in rarer[1:]],
            message=f"{count(len(rarer), 'block')} of {len(rarer) + len(common)} normalize {order} the activation.",
            observed={"norm_before_activation": len(blocks.before), "norm_after_activation": len(blocks.after)},
            expected={"order": "one throughout"},
        )


@check("AV306")
def norm_hides_absolute_scale(
    modality: InputModality, paths: ScalePaths, norms: NormLayers, limits: Thresholds
) -> Iterator[Violation]:
    """Every path from a measuring sensor's input meets a per-sample norm before anything has kept its scale."""
    if not modality.known:
        raise NotAvailable("needs the sensor behind the inputs, which their names do not tell; pass --modality")
    if not modality.measuring:
        raise NotApplicable("no input carries an absolute magnitude (LiDAR, radar, depth, occupancy)")
    for name, sensor in modality.measuring.items():
        hiding = paths.hiding_norms(name, int(limits.max_weight_layers))
        if hiding:
            yield Violation(
                at=hiding[0].location(norms.artifact),
                also=[norm.location(norms.artifact) for norm in hiding[1:]],
                message=f"Every path from the {sensor} input {name!r} is normalized per sample: its scale is lost.",
                observed={"input": name, "sensor": sensor, "norm": hiding[0].kind},
                expected={"paths_that_keep_the_scale": "at least 1"},
            )


@check("AV307")
def cameras_share_batch_statistics(
    cameras: FoldedCameras, norms: NormLayers, limits: Thresholds
) -> Iterator[Violation]:
    """A camera axis is folded into the batch in front of batch norms."""
    folds = [fold for fold in cameras.folds if fold.cameras is None or fold.cameras >= limits.min_cameras]
    if not folds:
        raise NotApplicable("no input has a camera axis that is folded into the batch")
    for fold in folds:
        shared = fold.places(norms.artifact)
        if shared:
            yield Violation(
                at=fold.location(norms.artifact),
                also=shared,
                message=f"{fold.cameras or 'Several'} cameras are folded into the batch in front of "
                f"{count(len(shared), 'batch norm')}: they share one set of statistics.",
                observed={"input": fold.input, "cameras": fold.cameras, "batch_norms": len(shared)},
                expected={"statistics": "per camera, or shown to agree between cameras"},
            )


@answer(3)
def which_depend_on_the_batch(norms: NormLayers, layers: Layers) -> AnswerText:
    """Counts the norms by where their statistics come from."""
    folded = sum(layer.folded_norm is True for layer in layers.all)
    folded_words = f"{count(folded, 'batch norm')} folded into the layer before"
    if not norms.all:
        return AnswerText(f"{folded_words}; no other norm is left." if folded else "The model has no norm.")
    batch = [norm for norm in norms.all if norm.statistics == BATCH]
    if norms.drawing.shows == NAMES:
        return AnswerText(
            f"{len(norms.tracked)} of {count(len(norms.all), 'norm')}, told by name and shape, "
            f"{verb(len(norms.tracked), 'keep')} running statistics; a state dict does not show their mode."
        )
    kinds = Counter(norm.kind for norm in norms.all)
    summary = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    lead = (
        f"{len(batch)} of {count(len(norms.all), 'norm')} {verb(len(batch), 'compute')} batch statistics at inference"
        if batch
        else f"None of {count(len(norms.all), 'norm')} depends on the batch at inference"
    )
    tail = f"; {folded_words}" if folded else ""
    return AnswerText(f"{lead} ({summary}){tail}.", [_row(norm) for norm in norms.all])


def _row(norm: Norm) -> dict[str, str | float | None]:
    return {
        "layer": norm.module or norm.node.label,
        "kind": norm.kind,
        "statistics": norm.statistics,
        "eps": shown_floats(norm.eps),
        "form": norm.form,
    }
