"""Where the files of a review are opened, each once, and handed to the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avreview.artifact import Artifact
from avreview.artifact import Digest as FileDigest
from avreview.config.settings import NO_RECIPE
from avreview.engine.policy import Policy
from avreview.engine.resolve import NotAvailable
from avreview.engine.review import Review
from avreview.engine.run import run
from avreview.errors import ArtifactError
from avreview.facts.modality import StatedModality
from avreview.facts.subject import Companions
from avreview.load import open_artifact
from avreview.probes.request import NOTHING, ProbeRequest

if TYPE_CHECKING:
    from avreview.augment.model import Augmented, Measurement
    from avreview.cache.reviews import KeptReviews
    from avreview.config.settings import Planned
    from avreview.recipe.manifests import Manifests
    from avreview.recipe.model import Recipe

_ALONE = Companions()


def review_artifact(
    model: Artifact | None,
    policy: Policy,
    companions: Companions = _ALONE,
    *,
    modality: str | None = None,
    probes: ProbeRequest | None = None,
    title: str = "",
) -> Review:
    """Reviews an artifact at hand, with what stands beside it. Raises ArtifactError when its file changes meanwhile.

    Without a model, what is beside it is reviewed by itself, under a `title`.
    """
    import numpy as np

    from avreview.engine.cards import catalogue

    named = {"model": model, "checkpoint": companions.checkpoint, "pretrained": companions.pretrained}
    artifacts = {role: artifact for role, artifact in named.items() if artifact is not None}
    with np.errstate(all="ignore"):  # weights that overflow are a finding of some rule, not a warning of numpy's
        return run(
            catalogue(),
            policy,
            _views(model, companions, StatedModality(modality), probes),
            artifacts,
            rooms=_rooms(artifacts, companions, probes),
            title=title,
        )


def _rooms(artifacts: Mapping[str, Artifact], companions: Companions, probes: ProbeRequest | None) -> list[str]:
    """The rooms of checks that have something to go by."""
    holds_checkpoint = any(artifact.checkpoint is not None for artifact in artifacts.values())
    is_open = {
        "checkpoint": holds_checkpoint or companions.pretrained is not None,
        "probes": probes is not None,
        "recipe": companions.recipe is not None or companions.manifests is not None,
        "augmentation": companions.augmented is not None,
    }
    return [room for room, wanted in is_open.items() if wanted]


def _views(
    model: Artifact | None, companions: Companions, stated: StatedModality, probes: ProbeRequest | None
) -> list[dict[type, Any]]:
    """What the rules go by: the model with all that stands beside it, and the checkpoint beside it for itself."""
    shared: dict[type, Any] = {StatedModality: stated, **_recipe_facts(companions), **_augmentation_facts(companions)}
    missing = NotAvailable("needs a model; name an ONNX export or a checkpoint")
    views = [{**shared, Artifact: model or missing, Companions: companions, ProbeRequest: probes or NOTHING}]
    if companions.checkpoint is not None:
        alone = companions._replace(checkpoint=None)
        # What stands beside the model is not run once more in its place.
        views.append({**shared, Artifact: companions.checkpoint, Companions: alone, ProbeRequest: NOTHING})
    return views


def _recipe_facts(companions: Companions) -> dict[type, Any]:
    """The recipe and the manifests; where neither was given, nothing asks for them."""
    if companions.recipe is None and companions.manifests is None:
        return {}
    from avreview.recipe.manifests import ListsBeside, Manifests
    from avreview.recipe.model import Recipe

    no_recipe = NotAvailable("needs the training recipe; pass --recipe")
    no_manifests = NotAvailable(
        "needs the lists of what each split holds; pass --manifest train=FILE --manifest val=FILE"
    )
    return {
        Recipe: companions.recipe or no_recipe,
        Manifests: companions.manifests or no_manifests,
        ListsBeside: companions.lists or (ListsBeside(companions.recipe) if companions.recipe else no_manifests),
    }


def _augmentation_facts(companions: Companions) -> dict[type, Any]:
    if companions.augmented is None:
        return {}
    from avreview.augment.model import Augmented

    return {Augmented: companions.augmented}


class Desk:
    """Opens what reviews ask for, each file once, and keeps what could not be read in `unreadable`."""

    def __init__(self, memory: int, kept: KeptReviews | None = None, augment: Measurement | None = None) -> None:
        self._memory = memory
        self._kept = kept
        self._augment = augment
        self._companions: dict[str, Artifact | None] = {}
        self.unreadable: list[tuple[str, str]] = []
        self._unread: Sequence[str] = ()  # what the recipe of the review at hand names, and could not be read

    def review(self, plan: Planned, policy: Policy, probes: ProbeRequest | None) -> Review | None:
        """One review, or the kept one of an earlier run; None when its model cannot be read."""
        if probes is not None:
            probes = probes._replace(inputs=probes.inputs or plan.inputs, reference=probes.reference or plan.reference)
        found = None if self._kept is None else self._kept.find(plan, probes)
        if found is not None:
            return found
        unreadable = len(self.unreadable)
        found = self._reviewed(plan, policy, probes)
        if self._kept is not None and found is not None and len(self.unreadable) == unreadable:
            self._kept.keep(plan, probes, found, self._unread)
        return found

    def _reviewed(self, plan: Planned, policy: Policy, probes: ProbeRequest | None) -> Review | None:
        companions = Companions(self._companion(plan.checkpoint), self._companion(plan.pretrained))
        model = self._open(plan.model, plan.weights) if plan.model else None
        if model is None and plan.model:
            return None
        beside = {} if probes is None or model is None else self._beside(model, probes)
        companions = self._with_recipe(plan, model, companions)._replace(augmented=self._measured())
        if model is None and companions == _ALONE:  # nothing that was named could be read
            return None
        try:
            found = review_artifact(
                model, policy, companions, modality=plan.modality, probes=probes, title=_title(plan, self._augment)
            )
        except ArtifactError as error:  # what is read only when a rule asks for it
            self.unreadable.append((error.path, str(error)))
            return None
        self._unread = companions.lists.unread if companions.lists is not None else ()
        said = {"weights": plan.weights, "modality": plan.modality}
        stated = {name: value for name, value in said.items() if value is not None}
        subject = {**found.subject, **beside, **_described(companions, self._augment)}
        return found._replace(role=plan.role or "", subject=subject, stated=stated)

    def _with_recipe(self, plan: Planned, model: Artifact | None, companions: Companions) -> Companions:
        """The companions with the recipe that was named, or found in or beside what was given, and the manifests."""
        if plan.manifests:
            companions = companions._replace(manifests=self._manifests(plan))
        if plan.recipe == NO_RECIPE:
            return companions
        if plan.recipe is not None:
            return _told_by(self._recipe(plan.recipe), companions)
        from avreview.recipe.found import found_recipe

        recipe, trouble = found_recipe([artifact for artifact in (model, companions.checkpoint) if artifact])
        if trouble and model is not None:
            model.limitations = [*model.limitations, trouble]
        return _told_by(recipe, companions)

    def _recipe(self, path: str) -> Recipe | None:
        from avreview.recipe.dialects import open_recipe

        try:
            return open_recipe(path)
        except ArtifactError as error:
            self.unreadable.append((error.path, str(error)))
            return None

    def _manifests(self, plan: Planned) -> Manifests | None:
        from avreview.recipe.manifests import open_manifests

        try:
            return open_manifests(plan.manifests)
        except ArtifactError as error:
            self.unreadable.append((error.path, str(error)))
            return None

    def _measured(self) -> Augmented | NotAvailable | None:
        """What running the augmentation showed, the same for all reviews."""
        if self._augment is None:
            return None
        result, target = self._augment.result(), self._augment.request.target
        if self._augment.trouble is not None:
            self.unreadable.append((target, f"{target}: {self._augment.trouble}"))
        return result

    def _beside(self, model: Artifact, probes: ProbeRequest) -> dict[str, Mapping[str, Any]]:
        """What the report says of the files that probes read. Wrong ones are kept with what could not be read."""
        from avreview.probes.given import check_given, open_given
        from avreview.probes.reference import check_reference

        found: dict[str, Mapping[str, Any]] = {}
        try:
            if probes.inputs is not None:
                given = open_given(probes.inputs)
                if model.graph is not None:
                    check_given(given, model.graph)
                found["inputs"] = _files(probes.inputs, given.digests())
            if probes.reference is not None:
                check_reference(probes.reference)
                if os.path.isfile(probes.reference):
                    found["reference"] = _files(probes.reference, self._reference(probes.reference))
        except ArtifactError as error:
            self.unreadable.append((error.path, str(error)))
        return found

    def _reference(self, path: str) -> Mapping[str, FileDigest]:
        """The digests of a reference: of its file, and where it is an ONNX export of its external data."""
        from avreview.load.digest import Digest
        from avreview.load.sniff import is_checkpoint
        from avreview.load.source import open_source

        source = open_source(path)
        if not is_checkpoint(source.read(0, 512)):
            try:
                return open_artifact(path, memory=self._memory).digests
            except ArtifactError:  # not an export, or one that the probe will say cannot be read
                pass
        return {source.path: Digest(source)}

    def _companion(self, path: str | None) -> Artifact | None:
        if path is None:
            return None
        if path not in self._companions:
            self._companions[path] = self._open(path)
        return self._companions[path]

    def _open(self, path: str, weights: str | None = None) -> Artifact | None:
        try:
            return open_artifact(path, weights=weights, memory=self._memory)
        except ArtifactError as error:
            self.unreadable.append((error.path, str(error)))
            return None


def _told_by(recipe: Recipe | None, companions: Companions) -> Companions:
    """The companions with a recipe, and with the lists that it names where no others were given."""
    if recipe is None:
        return companions
    from avreview.recipe.manifests import ListsBeside

    return companions._replace(recipe=recipe, lists=ListsBeside(recipe) if companions.manifests is None else None)


def _title(plan: Planned, augment: Measurement | None) -> str:
    """What the report calls the review; of one without a model it is what it is of."""
    if plan.name or plan.model:
        return plan.name or ""
    manifests = ", ".join(path for _, path in plan.manifests)
    return plan.recipe or (augment.request.target if augment is not None else manifests)


def _described(companions: Companions, augment: Measurement | None) -> dict[str, Mapping[str, Any]]:
    """What the report says of the recipe, the manifests and the augmentation."""
    found: dict[str, Mapping[str, Any]] = {}
    recipe = companions.recipe
    if recipe is not None:
        lists = {one.path: one.sha256 for one in companions.lists.read} if companions.lists is not None else {}
        own = {**recipe.files, **{path: sha256 for path, sha256 in lists.items() if path not in recipe.files}}
        found["recipe"] = {**_digested(own), "format": recipe.dialect, **_whence(recipe)}
    for role, side in companions.manifests.sides.items() if companions.manifests is not None else ():
        for number, manifest in enumerate(side, 1):
            name = f"{role} manifest" + (f" {number}" if len(side) > 1 else "")
            found[name] = {"path": manifest.path, "sha256": manifest.sha256}
    if augment is not None:
        measured = companions.augmented
        files = {} if measured is None or isinstance(measured, NotAvailable) else measured.files
        found["augmentation"] = {**_digested(files), "path": augment.request.target}
    return found


def _whence(recipe: Recipe) -> dict[str, str]:
    return {} if recipe.inside is None else {"inside": recipe.inside, "path": recipe.path}


def _digested(files: Mapping[str, str]) -> dict[str, Any]:
    """What identifies files by their digests: the first, and the others with it."""
    entries = [{"path": path, "sha256": sha256} for path, sha256 in files.items()]
    return {**entries[0], **({"files": entries[1:]} if entries[1:] else {})} if entries else {}


def _files(path: str, digests: Mapping[str, FileDigest]) -> dict[str, Any]:
    """What identifies a file, or the files of a folder."""
    entries = [{"path": name, "sha256": digest.hexdigest(), "bytes": digest.size} for name, digest in digests.items()]
    own: dict[str, Any] = next((entry for entry in entries if entry["path"] == path), {"path": path})
    others = [entry for entry in entries if entry is not own]
    return {**own, "files": others} if others else own


def reviews_of(planned: Sequence[Planned], desk: Desk, policy: Policy, probes: ProbeRequest | None) -> list[Review]:
    """The reviews of all that could be read, in order."""
    return [entry for plan in planned if (entry := desk.review(plan, policy, probes)) is not None]
