"""Which of a checkpoint's weight sets an export was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.checkpoint import Checkpoint
from avreview.engine.cards import catalogue
from avreview.engine.resolve import NotAvailable, fact
from avreview.facts.export_weights import ExportWeights
from avreview.facts.subject import SourceCheckpoint
from avreview.facts.weight_matching import DIFFERS, Match, Settings, match_weights


class SetMatch(NamedTuple):
    """An export laid beside one weight set: a match for each of its weights, and the set's tensors left over."""

    name: str
    matches: Sequence[Match]
    unused: Sequence[str]

    @property
    def paired(self) -> list[Match]:
        return [match for match in self.matches if match.names]

    @property
    def agreeing(self) -> list[Match]:
        return [match for match in self.matches if match.agrees]

    @property
    def differing(self) -> list[Match]:
        return [match for match in self.matches if match.status == DIFFERS]

    @property
    def absent(self) -> list[Match]:
        """Learned weights of the export that were paired with nothing."""
        return [match for match in self.matches if not match.names and match.weight.is_learned]

    def share(self, matches: Sequence[Match]) -> float:
        """The share that some matches have in the export's learned elements."""
        every = sum(match.weight.weight.tensor.size for match in (*self.paired, *self.absent))
        return sum(match.weight.weight.tensor.size for match in matches) / every if every else 0.0

    @property
    def agrees(self) -> bool:
        return bool(self.paired) and not self.differing


class ExportMatch(NamedTuple):
    """An export beside every weight set of the checkpoint that it is said to come from."""

    artifact: str
    checkpoint: Checkpoint
    path: str  # of the checkpoint
    sets: Mapping[str, SetMatch]

    @property
    def best(self) -> SetMatch:
        """The set that most of the export's elements agree with; of equal ones the primary."""
        primary = self.checkpoint.primary
        return max(self.sets.values(), key=lambda each: (each.share(each.agreeing), each.agrees, each.name == primary))


@fact
def export_match(artifact: Artifact, weights: ExportWeights, source: SourceCheckpoint) -> ExportMatch:
    """Matches the export with each set. The tolerance is AV403's and the cosine AV202's, whoever asks."""
    checkpoint = source.checkpoint
    tolerance = catalogue()["AV403"].limits.max_difference
    settings = Settings(tolerance, stated_eps(checkpoint), catalogue()["AV202"].limits.min_cosine)
    found = {}
    for name, weight_set in checkpoint.sets.items():
        matches = match_weights(weights, weight_set.tensors, settings)
        used = {name for match in matches for name in match.names}
        unused = [key for key, tensor in weight_set.tensors.items() if key not in used and tensor.is_floating]
        found[name] = SetMatch(name, matches, unused)
    if not any(each.paired for each in found.values()):
        raise NotAvailable("needs the checkpoint that the export was made from; none of their tensors could be paired")
    return ExportMatch(artifact.provenance.path, checkpoint, source.artifact.provenance.path, found)


def stated_eps(checkpoint: Checkpoint) -> Callable[[str], float | None]:
    """What the module tree says of a norm's eps, by the module's path; None where it says nothing."""
    modules = checkpoint.modules or {}

    def eps(path: str) -> float | None:
        module = modules.get(path)
        value = module.attributes.get("eps") if module is not None else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None

    return eps
