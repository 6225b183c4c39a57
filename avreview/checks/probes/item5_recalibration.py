"""Question 5 from a run: do the stored statistics fit the data that was given?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avreview.checks.words import count, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check, evidence
from avreview.facts.norms import NormLayers
from avreview.probes.norms import NormShift, Recalibration

_CHANNELS = 16  # the worst of a norm that are kept
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@check("AV505")
def norm_stats_stale(norms: NormLayers, found: Recalibration, limits: Thresholds) -> Iterator[Violation]:
    """Norms whose stored statistics are not those of the given data."""
    stale = [norm for norm in found.norms if norm.moved_share > limits.max_moved_share]
    if not stale:
        return
    first = stale[0]
    others = f"; {len(stale)} of {count(len(found.norms), 'norm')} differ, and an early one moves later ones"
    yield Violation(
        at=_location(norms, first),
        also=[_location(norms, norm) for norm in stale[1:]],
        message=f"{int(first.moved.sum())} of {count(len(first.moved), 'channel')} have other statistics on "
        f"{found.samples} given samples than are stored{others if len(stale) > 1 else ''}.",
        observed={
            "moved_share": _shown(first.moved_share),
            "mean_shift": _range(first.mean_shift),
            "variance_ratio": _range(first.variance_ratio),
            "samples": found.samples,
            "norms": len(stale),
            "of": len(found.norms),
        },
        expected={"moved_share": f"at most {limits.max_moved_share:g}"},
    )


def _location(norms: NormLayers, shift: NormShift) -> Any:
    norm = shift.stored.norm
    return norm.location(norms.artifact, norm.mean.name if norm.mean else None)


@answer(5)
def do_statistics_fit(found: Recalibration) -> AnswerText:
    """One row a norm, in data-flow order."""
    moved = sum(int(norm.moved.any()) for norm in found.norms)
    norms = count(len(found.norms), "norm")
    words = [
        f"On {found.samples} given samples, {moved} of {norms} {verb(moved, 'have', 'has')} channels whose statistics "
        "are not the stored ones"
        if moved
        else f"On {found.samples} given samples, the stored statistics of {norms} hold"
    ]
    if found.folded:
        words.append(f"{count(found.folded, 'folded norm')} cannot be compared")
    if found.hidden:
        words.append(f"{count(len(found.hidden), 'norm')} inside subgraphs or functions could not be observed")
    return AnswerText("; ".join(words) + ".", [_row(norm) for norm in found.norms])


def _row(norm: NormShift) -> dict[str, Any]:
    return {
        "layer": norm.layer,
        "channels": len(norm.moved),
        "mean_shift": _range(norm.mean_shift),
        "variance_ratio": _range(norm.variance_ratio),
        "moved_share": _shown(norm.moved_share),
    }


@evidence("norms")
def recalibrated(found: Recalibration) -> dict[str, Any]:
    """Stored against recomputed statistics: the spread over each norm's channels, and its worst channels."""
    return {"samples": found.samples, "folded": found.folded, "norms": [_figures(norm) for norm in found.norms]}


def _figures(norm: NormShift) -> Mapping[str, Any]:
    import numpy as np

    distance = np.nan_to_num(np.maximum(abs(norm.mean_shift), abs(np.log(norm.variance_ratio))), nan=np.inf)
    worst = sorted(np.argsort(-distance, kind="stable")[:_CHANNELS].tolist())
    return {
        **_row(norm),
        "quantiles": list(_QUANTILES),
        "mean_shift_quantiles": _quantiles(norm.mean_shift),
        "variance_ratio_quantiles": _quantiles(norm.variance_ratio),
        "worst_channels": [
            {
                "channel": channel,
                "mean_shift": _shown(norm.mean_shift[channel]),
                "variance_ratio": _shown(norm.variance_ratio[channel]),
                "stored_mean": _shown(norm.stored.mean[channel]),
                "stored_variance": _shown(norm.stored.variance[channel]),
            }
            for channel in worst
        ],
    }


def _quantiles(values: Any) -> list[float | None]:
    import numpy as np

    finite = values[np.isfinite(values)]
    return [_shown(value) for value in np.quantile(finite, _QUANTILES)] if finite.size else []


def _range(values: Any) -> str:
    """The least and the largest finite number, as text."""
    import numpy as np

    finite = values[np.isfinite(values)]
    return f"{finite.min():.3g} to {finite.max():.3g}" if finite.size else "not finite"


def _shown(value: float) -> float | None:
    """Three significant digits; None for what is not finite."""
    import math

    return float(f"{value:.3g}") if math.isfinite(value) else None
