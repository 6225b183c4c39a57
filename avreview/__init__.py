"""avreview: the model-review linter for autonomous-vehicle perception.

From Python: `avreview.review(["model.onnx"])` gives a `Report`, and `avreview.write` writes it in any format. The names
below are the public ones; each is imported when it is first used, so that `import avreview` costs nothing.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # what type checkers take for true: `typing` takes longer to import than all of this

if TYPE_CHECKING:
    from avreview.api import diff, review
    from avreview.augment.model import AugmentRequest
    from avreview.engine.review import (
        Answer,
        Finding,
        Location,
        Report,
        Review,
        RuleOutcome,
        Severity,
        Verdict,
        Waiver,
    )
    from avreview.errors import ArtifactError, AvreviewError, UsageError
    from avreview.probes.request import ProbeRequest
    from avreview.report import write
    from avreview.report.structure import to_dict

__all__ = [
    "Answer",
    "ArtifactError",
    "AugmentRequest",
    "AvreviewError",
    "Finding",
    "Location",
    "ProbeRequest",
    "Report",
    "Review",
    "RuleOutcome",
    "Severity",
    "UsageError",
    "Verdict",
    "Waiver",
    "__version__",
    "diff",
    "review",
    "to_dict",
    "write",
]

_PLACES = {
    "avreview.api": ("diff", "review"),
    "avreview.augment.model": ("AugmentRequest",),
    "avreview.engine.review": (
        "Answer", "Finding", "Location", "Report", "Review", "RuleOutcome", "Severity", "Verdict", "Waiver",
    ),
    "avreview.errors": ("ArtifactError", "AvreviewError", "UsageError"),
    "avreview.probes.request": ("ProbeRequest",),
    "avreview.report": ("write",),
    "avreview.report.structure": ("to_dict",),
}  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name):
        """A public name, imported when it is first asked for."""
        place = next((module for module, names in _PLACES.items() if name in names), None)
        if place is None:
            raise AttributeError(f"module 'avreview' has no attribute {name!r}")
        import importlib

        found = getattr(importlib.import_module(place), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
