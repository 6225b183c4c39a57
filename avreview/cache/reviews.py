"""Which kept review answers a plan, and which reviews may be kept."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avreview import __version__
from avreview.cache.codec import WrongShape, freeze, thaw
from avreview.cache.files import Manifest, Noted, manifest_of
from avreview.cache.store import LARGEST, Store
from avreview.config.settings import NO_RECIPE
from avreview.engine.distributions import distributions
from avreview.recipe.beside import recipe_beside
from avreview.report.structure import simple

if TYPE_CHECKING:
    from avreview.config.settings import Planned, Settings
    from avreview.engine.cards import Catalogue
    from avreview.engine.policy import Policy
    from avreview.engine.review import Review
    from avreview.probes.request import ProbeRequest

_COMPANIONS = ("checkpoint", "pretrained", "recipe")
_UNDONE = "onnx.checker "  # begins the reason where the checker ran out of time or memory: it may not, another day


class KeptReviews:
    """The reviews of earlier runs that a store holds. `trouble` says why nothing could be kept, if so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ground: dict[str, Any] = {}
        self.trouble = ""

    def begin(self, settings: Settings, rules: Catalogue, policy: Policy, memory: int) -> None:
        """Tells what decides beside the plans: the code, what is installed, the rules and how they are judged."""
        expires = {"today": policy.today} if policy.waivers else {}
        self._ground = {
            "avreview": __version__,
            "code": _code(rules),
            "python": sys.version,
            "platform": sys.platform,
            "installed": list(distributions()),
            "rules": rules.digest,
            "packs": rules.packs(),
            "severities": settings.complete()["severities"],
            "thresholds": settings.thresholds,
            "policy": {**policy._asdict(), "today": "", **expires},
            "memory": memory,
        }

    def find(self, plan: Planned, probes: ProbeRequest | None) -> Review | None:
        """The kept review of the same plan, if its files are still the same."""
        name = self._name(plan, probes)
        body = self._store.get(name)
        if body is None:
            return None
        try:
            entry = json.loads(body)
            if entry["name"] != name:
                return None
            files = [Noted(*file) for file in entry["files"]]
            manifest = Manifest(files, dict(entry["folders"]), list(entry["absent"]))
            review = thaw(entry["review"])
            return review if manifest.covers(review.subject) and manifest.holds() else None
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError, WrongShape):
            return None

    def keep(self, plan: Planned, probes: ProbeRequest | None, review: Review, unread: Sequence[str] = ()) -> None:
        """Keeps a review, if its files and its runs are such that it would come out the same again.

        `unread` are files that it would have read, and could not: the review holds as long as they are missing.
        """
        again = _is_complete(plan, review) and _is_decided(review)
        manifest = manifest_of(review.subject, unread) if again and _is_repeatable(probes, review) else None
        if manifest is None:
            return
        name = self._name(plan, probes)
        entry = {**manifest._asdict(), "name": name, "review": freeze(review)}
        body = json.dumps(entry, allow_nan=False, separators=(",", ":")).encode("ascii")
        if len(body) > LARGEST:
            return
        try:
            self._store.put(name, body)
        except OSError as error:
            self.trouble = f"the cache {self._store.folder} cannot be written ({error.strerror})"

    def _name(self, plan: Planned, probes: ProbeRequest | None) -> str:
        asked = None if probes is None else {**probes._asdict(), "progress": None}
        stated = {"plan": plan._asdict(), "probes": asked, "beside": _beside(plan)}
        key = json.dumps(simple({**self._ground, **stated}), sort_keys=True)
        return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _beside(plan: Planned) -> list[str | None]:
    """The recipes that a review without a named one would find."""
    models = [path for path in (plan.model, plan.checkpoint) if path]
    return [recipe_beside(path) for path in models] if plan.recipe is None else []


def _is_complete(plan: Planned, review: Review) -> bool:
    """Whether every companion that was named was read."""
    named = {role: getattr(plan, role) for role in _COMPANIONS}
    return all(path in (None, NO_RECIPE) or role in review.subject for role, path in named.items())


def _is_decided(review: Review) -> bool:
    """Whether nothing was left open that a machine with less to do would have decided."""
    return not any((outcome.reason or "").startswith(_UNDONE) for outcome in review.rules)


def _is_repeatable(probes: ProbeRequest | None, review: Review) -> bool:
    """Whether runs depend on nothing but digested files: none of the person's own code, and none that was cut short."""
    if probes is None:
        return True
    files = {"inputs": probes.inputs, "reference": probes.reference}
    if any(path is not None and role not in review.subject for role, path in files.items()):
        return False
    runs = review.evidence.get("probes", ())
    return not any(isinstance(run, Mapping) and run.get("reason") for run in runs)


def _code(rules: Catalogue) -> str:
    """sha256 over avreview itself: two commits may have the same version."""
    digest = hashlib.sha256()
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (package, str(rules.folder)):
        for path in _files(folder):
            with open(path, "rb", buffering=0) as stream:
                content = stream.read()
            digest.update(f"{os.path.relpath(path, folder)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _files(folder: str) -> Iterator[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            if entry.name != "__pycache__":
                yield from _files(entry.path)
        elif entry.is_file() and not entry.name.endswith((".pyc", ".pyo")):
            yield entry.path
