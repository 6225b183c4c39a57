"""Exporting networks as a user would, and reviewing what the exporters wrote by the rules of training mode."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

from avreview.api import review
from avreview.engine.review import Finding, Severity, Verdict

RULES = ("AV301", "AV401", "AV413", "AV701", "AV704")
"""The rules that speak of what was left in training mode."""


@dataclass(frozen=True)
class Exported:
    """An export, and what the five rules say of it."""

    path: Path
    findings: list[Finding]
    verdicts: dict[str, Verdict]

    @property
    def opset(self) -> int:
        """The opset of the file: the exporters do not always keep to the one they were asked for."""
        imports = onnx.load(self.path).opset_import
        return next(int(entry.version) for entry in imports if entry.domain == "")

    @property
    def rules(self) -> list[str]:
        """The rules that found something, in order, once for each finding."""
        return sorted(finding.rule for finding in self.findings)

    @property
    def is_silent(self) -> bool:
        """True when nothing is found although every rule looked, or had nothing to look at."""
        settled = {Verdict.PASS, Verdict.NOT_APPLICABLE}
        return not self.findings and set(self.verdicts) == set(RULES) and set(self.verdicts.values()) <= settled

    def modules(self, rule: str) -> list[str | None]:
        """The modules that the rule's one finding names, its first place first."""
        (finding,) = (finding for finding in self.findings if finding.rule == rule)
        assert finding.severity is (Severity.WARNING if rule == "AV413" else Severity.ERROR)
        return [place.module for place in (finding.location, *finding.also)]


def torchscript(
    folder: Path, network: Any, shape: tuple[int, ...], opset: int, mode: str = "EVAL", **options: Any
) -> Exported:
    """Exports by tracing and reviews; `mode` names a torch.onnx.TrainingMode; EVAL is the default."""
    training = getattr(torch.onnx.TrainingMode, mode)
    return _exported(
        folder, network, shape, opset, dynamo=False, training=training, do_constant_folding=mode == "EVAL", **options
    )


def dynamo(folder: Path, network: Any, shape: tuple[int, ...], opset: int) -> Exported:
    """Exports by torch.export, in whatever mode each module is in, and reviews."""
    return _exported(folder, network, shape, opset, dynamo=True, external_data=False, verbose=False)


def _exported(folder: Path, network: Any, shape: tuple[int, ...], opset: int, **options: Any) -> Exported:
    torch.set_num_threads(1)
    path = folder / "model.onnx"
    with _quiet():
        torch.onnx.export(network, (torch.randn(*shape),), str(path), opset_version=opset, **options)
    report = review([path], select=RULES)
    assert not report.unreadable
    (result,) = report.reviews
    return Exported(path, list(result.findings), {entry.rule: entry.verdict for entry in result.rules})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' progress and deprecation notes."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
