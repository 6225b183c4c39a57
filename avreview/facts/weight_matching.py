"""Finding for every weight of an export the tensors of a weight set that it was made of.

By name first, then by the module that the exporter recorded, then by shape and values; and through what exporters
do to weights on the way: batch norms folded in, axes exchanged, joint projections, gates in another order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.facts.export_weights import ExportWeight, ExportWeights
from avreview.facts.folding import FoldableNorm, foldable_norms
from avreview.facts.layers import RECURRENT
from avreview.facts.source_tensors import Source, Sources
from avreview.facts.tensor_compare import Comparison
from avreview.facts.tensor_pairs import SAMPLE, mutually_nearest, pair_names
from avreview.facts.weight_trials import Trial, Trials

if TYPE_CHECKING:
    import numpy as np

    from avreview.artifact import Tensor

    Array = np.ndarray[Any, Any]

_MOST_EXCHANGES = 4  # changes of prefix that are tried on module paths
_MOST_CANDIDATES = 64  # tensors of one shape that are looked into
_ALIKE = 0.999  # cosine of a unit's weights in the export and in the set, whatever factor a norm put on it

EXACT, ROUNDING, DIFFERS, ABSENT = "exact", "equal within rounding", "differs", "absent"


class Match(NamedTuple):
    """What an exported weight was made of, as far as one weight set tells.

    `names` are the set's tensors, () where none was found. `by` says what paired them (`name`, `prefix`, `module`,
    `values`), `how` what was done to them (`transposed`, `batch norm folded in`, …), `norm` which norm was folded in.
    """

    weight: ExportWeight
    names: tuple[str, ...] = ()
    by: str = ""
    how: str = ""
    comparison: Comparison | None = None
    status: str = ABSENT
    norm: FoldableNorm | None = None
    eps: float | None = None
    scale: float = 1.0

    @property
    def agrees(self) -> bool:
        return self.status in (EXACT, ROUNDING)


class Settings(NamedTuple):
    """`tolerance` is the difference up to which a pair agrees; `eps` what a norm's module states, or None.

    `min_cosine` is asked of a pair that only its values tell, when they differ.
    """

    tolerance: float
    eps: Callable[[str], float | None]
    min_cosine: float


def match_weights(weights: ExportWeights, tensors: Mapping[str, Tensor], settings: Settings) -> list[Match]:
    """A match for each of the export's weights, in its order."""
    return _Matcher(weights, tensors, settings).run()


class _Matcher:
    def __init__(self, weights: ExportWeights, tensors: Mapping[str, Tensor], settings: Settings) -> None:
        self._weights = weights
        self._settings = settings
        self._sources = Sources(tensors)
        self._places = {name: place for place, name in enumerate(tensors)}
        self._norms = list(foldable_norms(self._sources.tensors))
        self._found: dict[int, Match] = {}
        self._of_layer: dict[int, Match] = {}  # the match of a layer's weight, by its node
        self._own_names, self._exchanges = self._pair_by_name()
        self._standing = {module for norm in weights.norms if norm.module for module in self._modules(norm.module)}

    def run(self) -> list[Match]:
        """By name first. What then differs or is missing is looked for by its values.

        Two branches of one architecture share all endings of their names, and a prefix may pair them crosswise: so
        values that agree outweigh a name that is not quite the same.
        """
        order = sorted(range(len(self._weights.all)), key=lambda place: self._weights.all[place].role == "bias")
        for step in (self._by_name, self._by_values, self._beside):
            if step == self._beside:
                self._by_direction()
            for place in order:
                known = self._found.get(place)
                if known is None or (not known.agrees and known.by != "name"):
                    match = step(self._weights.all[place])
                    if match is not None and (known is None or match.agrees):
                        self._keep(place, match)
        return [self._found.get(place, Match(weight)) for place, weight in enumerate(self._weights.all)]

    def _keep(self, place: int, match: Match) -> None:
        self._found[place] = match
        layer = match.weight.layer
        if layer is not None and match.weight.role == "weight":
            self._of_layer[layer.node.index] = match

    # By name and module

    def _pair_by_name(self) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """The set's name for each name that an exported weight may go by, and the prefixes exchanged for it."""
        left: dict[str, Tensor] = {}
        for weight in self._weights.all:
            for name in _labels(weight):
                left.setdefault(name, replace(weight.weight.tensor, shape=weight.shape, dtype="float32"))
        blank = next(iter(left.values()), None)
        if blank is None:
            return {}, []
        right = {name: replace(blank, shape=source.shape) for name, source in self._sources.by_name.items()}
        pairing = pair_names(left, right)
        names = {name: pair.other for name, pair in pairing.pairs.items()} | dict(pairing.reshaped)
        votes = Counter(pair.prefixes for pair in pairing.pairs.values())
        return names, list(dict.fromkeys([*(each for each, _ in votes.most_common(_MOST_EXCHANGES)), ("", "")]))

    def _modules(self, module: str) -> Iterator[str]:
        """The paths that an export's module may have in the set."""
        for old, new in self._exchanges:
            if f"{module}.".startswith(old):
                yield (new + f"{module}."[len(old) :]).rstrip(".")

    def _candidates(self, weight: ExportWeight) -> Iterator[tuple[Source, str]]:
        for label in _labels(weight):
            if (name := self._own_names.get(label)) is not None:
                yield self._sources.by_name[name], "name" if name == label else "prefix"
        if weight.module is not None:
            for module in self._modules(weight.module):
                for source in self._sources.by_module.get(module, ()):
                    yield source, "module"

    def _by_name(self, weight: ExportWeight) -> Match | None:
        if weight.layer is not None and weight.layer.kind in RECURRENT:
            return self._recurrent(weight)
        if weight.role == "bias" and (match := self._shifted(weight)) is not None:
            return match
        trials = Trials(weight, self._settings.tolerance)
        best: tuple[Source, str, Trial] | None = None
        for source, by in _once(self._candidates(weight)):
            if not trials.fits(source) or (by == "module" and not _same_leaf(weight, source)):
                continue
            trial = self._trial(trials, source)
            if best is None or trials.better(best[2], trial) is trial:
                best = source, by, trial
            if trials.agrees(trial):
                break
        return None if best is None else self._match(weight, *best)

    def _trial(self, trials: Trials, source: Source) -> Trial:
        trial = trials.plain(source)
        if trials.agrees(trial) or trials.weight.role != "weight":
            return trial
        return trials.better(trial, trials.scaled(source, self._near(trials.weight, source), self._settings.eps))

    def _near(self, weight: ExportWeight, source: Source) -> Sequence[FoldableNorm]:
        """The norms that may have been folded behind a tensor: those that follow it first."""
        layer = weight.layer
        if layer is None or layer.norm is not None:
            return ()
        place = self._places.get(source.names[0], 0)
        free = [norm for norm in self._norms if norm.module not in self._standing]
        return sorted(free, key=lambda norm: (norm.place < place, abs(norm.place - place)))

    def _match(self, weight: ExportWeight, source: Source, by: str, trial: Trial) -> Match:
        names = tuple(dict.fromkeys((*source.names, *_norm_names(trial.norm))))
        return Match(
            weight, names, by, trial.how, trial.comparison, _status(trial.comparison, self._settings.tolerance),
            trial.norm, trial.eps, trial.scale,
        )  # fmt: skip

    # Biases that a folded norm or a scale changed

    def _shifted(self, weight: ExportWeight) -> Match | None:
        """The bias of a layer whose weight a norm or a number was folded into."""
        own = None if weight.layer is None else self._of_layer.get(weight.layer.node.index)
        if own is None or (own.norm is None and own.scale == 1.0):
            return None
        module = own.names[0].rpartition(".")[0].removesuffix(".parametrizations.weight")
        source = self._sources.by_name.get(f"{module}.bias" if module else "bias")
        values = None if source is None else source.read().reshape(-1)
        size = weight.shape[0]
        if values is not None and values.size != size:
            return None
        trials = Trials(weight, self._settings.tolerance)
        if own.norm is not None and own.norm.channels == size:
            made = source or Source(_norm_names(own.norm), module, "bias", (size,), weight.weight.tensor.dtype)
            trial = trials.fold_bias(made, values, own.norm, own.eps or 0.0, own.how)
            return self._match(weight, made, own.by, trial)
        if source is None or values is None:
            return None
        return self._match(weight, source, own.by, trials.against(values * own.scale, source, own.how))

    # Recurrent layers

    def _recurrent(self, weight: ExportWeight) -> Match | None:
        assert weight.layer is not None
        known = self._of_layer.get(weight.layer.node.index)
        best: tuple[Source, str, Trial] | None = None
        trials = Trials(weight, self._settings.tolerance)
        place = {"W": 0, "R": 1, "B": 2}[weight.leaf]
        modules = set(self._modules(weight.module)) if weight.module else set()
        for layer in self._sources.recurrent(weight.layer.kind, weight.shape[0]):
            source = layer[place]
            if source is None or source.shape != weight.shape:
                continue
            trial = trials.against(source.read(), source)
            near = source.module in modules or (known is not None and known.names[0] in layer[0].names)
            near = near or trial.comparison.cosine >= self._settings.min_cosine
            if trials.agrees(trial):
                return self._match(weight, source, "module" if near else "values", trial)
            if near and (best is None or trials.better(best[2], trial) is trial):
                best = source, "module", trial
        return None if best is None else self._match(weight, *best)

    # By values

    def _by_values(self, weight: ExportWeight) -> Match | None:
        """A match that agrees, among the set's tensors of the same shape that nothing was made of yet."""
        if weight.role == "factor" and weight.weight.tensor.size < 8:
            return None
        taken = {name for match in self._found.values() if match.agrees for name in match.names}
        trials = Trials(weight, self._settings.tolerance)
        free = [s for s in self._sources.all if taken.isdisjoint(s.names) and trials.fits(s)][:_MOST_CANDIDATES]
        if not free or not _tells(trials.values):
            return None
        for source in free:
            if _looks_alike(trials, source):
                trial = self._trial(trials, source)
                if trials.agrees(trial):
                    return self._match(weight, source, "values", trial)
        return None

    # By direction: renamed, and another step of training

    def _by_direction(self) -> None:
        """Pairs matrices that were left over with the set's that point the same way, shape by shape."""
        taken = {name for match in self._found.values() for name in match.names}
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, weight in enumerate(self._weights.all):
            if place not in self._found and _has_direction(weight):
                groups.setdefault(weight.shape, []).append(place)
        for shape, places in groups.items():
            free = [s for s in self._sources.all if s.shape == shape and taken.isdisjoint(s.names) and s.tensor]
            if free and max(len(free), len(places)) <= _MOST_CANDIDATES:
                own = [self._weights.all[place].read().reshape(-1)[:SAMPLE] for place in places]
                others = [source.read().reshape(-1)[:SAMPLE] for source in free]
                for row, nearest in mutually_nearest(own, others, self._settings.min_cosine):
                    weight = self._weights.all[places[row]]
                    trial = self._trial(Trials(weight, self._settings.tolerance), free[nearest])
                    self._keep(places[row], self._match(weight, free[nearest], "values", trial))

    def _beside(self, weight: ExportWeight) -> Match | None:
        """The bias beside a weight that was found by its values."""
        own = None if weight.layer is None else self._of_layer.get(weight.layer.node.index)
        if own is None or weight.role != "bias" or weight.layer is None or weight.layer.kind in RECURRENT:
            return None
        if (shifted := self._shifted(weight)) is not None:
            return shifted
        source = self._sources.by_name.get(f"{own.names[0].rpartition('.')[0]}.bias")
        trials = Trials(weight, self._settings.tolerance)
        if source is None or not trials.fits(source):
            return None
        return self._match(weight, source, own.by, trials.plain(source))


def _has_direction(weight: ExportWeight) -> bool:
    return weight.role == "weight" and len(weight.shape) > 1 and weight.weight.tensor.size >= 64


def _labels(weight: ExportWeight) -> list[str]:
    """What an exported weight may be called in a state_dict: its own name, and its module's with the leaf."""
    named = [weight.name] if "." in weight.name and "::" not in weight.name else []
    if weight.module is not None and weight.leaf not in ("W", "R", "B"):
        named.append(f"{weight.module}.{weight.leaf}")
    return named or [weight.name]


def _same_leaf(weight: ExportWeight, source: Source) -> bool:
    """Whether a module's tensor can be what the graph takes: a bias is a bias, statistics are statistics."""
    if weight.role in ("mean", "variance"):
        return source.leaf == weight.leaf
    return ("bias" in source.leaf) == (weight.leaf == "bias") and not source.leaf.startswith("running_")


def _once(candidates: Iterator[tuple[Source, str]]) -> Iterator[tuple[Source, str]]:
    seen = set()
    for source, by in candidates:
        if source.name not in seen:
            seen.add(source.name)
            yield source, by


def _norm_names(norm: FoldableNorm | None) -> tuple[str, ...]:
    if norm is None:
        return ()
    return tuple(f"{norm.module}.{leaf}" if norm.module else leaf for leaf in norm.tensors)


def _status(comparison: Comparison, tolerance: float) -> str:
    if not comparison.changed:
        return EXACT
    return ROUNDING if comparison.agrees(tolerance) else DIFFERS


def _tells(values: Array) -> bool:
    """Whether values can tell one tensor from another: a constant cannot."""
    return bool(values.size > 1 and (values != values.reshape(-1)[0]).any())


def _looks_alike(trials: Trials, source: Source) -> bool:
    """Whether the first unit points the same way in both, or nothing small speaks against it."""
    import numpy as np

    weight, values = trials.weight, trials.values
    transposed_conv = weight.layer is not None and weight.layer.kind == "ConvTranspose"
    if values.ndim < 2 or trials.quantized or transposed_conv or source.tensor is None:
        return True
    own = values.reshape(len(values), -1)[0].astype(np.float64)
    others = []
    if weight.shape == source.shape:
        others.append(source.tensor.part(0, own.size))
    if len(source.shape) == 2 and source.shape == weight.shape[::-1]:
        others.append(source.tensor.heads(source.shape[0], 1).reshape(-1))
    lengths = [float(np.linalg.norm(own) * np.linalg.norm(other.astype(np.float64))) for other in others]
    return not others or any(
        length == 0 or abs(float(own @ other.astype(np.float64))) >= _ALIKE * length
        for other, length in zip(others, lengths, strict=True)
    )
