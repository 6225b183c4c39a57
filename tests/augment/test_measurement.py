"""An augmentation is measured once, and only the whole's failure keeps a review from being done."""

from __future__ import annotations

import pytest

from avreview.augment.model import Augmented, AugmentRequest, Measured, Measurement
from avreview.engine.resolve import NotAvailable


def measurement(monkeypatch: pytest.MonkeyPatch, whole: Measured | NotAvailable, *members: Measured) -> Measurement:
    asked: list[AugmentRequest] = []

    def measure(request: AugmentRequest) -> Augmented:
        asked.append(request)
        assert len(asked) == 1
        if isinstance(whole, NotAvailable):
            raise whole
        return Augmented(request.target, "driving", "plain", 1, 0, whole, members)

    monkeypatch.setattr("avreview.augment.measuring.measure", measure)
    return Measurement(AugmentRequest("module:factory"))


def test_what_ran_as_a_whole_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    made = measurement(monkeypatch, Measured("whole", None), Measured("second", 1, failure="raised KeyError: 'first'"))
    assert made.trouble is None
    assert made.result() is made.result()


def test_a_whole_that_failed_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measurement(monkeypatch, Measured("whole", None, failure="raised ValueError")).trouble == "raised ValueError"


def test_so_is_what_could_not_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    made = measurement(monkeypatch, NotAvailable("there is no module"))
    assert made.trouble == "there is no module"
    assert isinstance(made.result(), NotAvailable)
