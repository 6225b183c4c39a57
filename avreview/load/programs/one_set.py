"""Formats that hold one set of weights."""

from __future__ import annotations

from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.wording import quoted


def check_only_set(path: str, what: str, context: OpenContext) -> None:
    """Raises ArtifactError when another set than the only one, `model`, is asked for."""
    if context.weights not in (None, "model"):
        wrong = f"is {what} and has no weight set {quoted(context.weights or '')}"
        raise ArtifactError(path, wrong, "leave --weights out")
