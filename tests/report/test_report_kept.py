"""A kept review comes back as JSON and is written as the same bytes in every format."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_sample as sample
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview import api
from avreview.cache.codec import WrongShape, freeze, thaw
from avreview.engine.review import Report, Review, Severity
from avreview.report import FORMATS, write

SAMPLES = Path(__file__).parents[2] / "sample_models"
MODELS = sorted(SAMPLES.glob("*.onnx"))
FAULTY = SAMPLES / "lane_head__dropout_active.onnx"


def in_every_format(review: Review) -> dict[str, str]:
    texts = {}
    for format in FORMATS:
        stream = io.StringIO()
        write(Report("0.1.0", "sha256:0", [review]), format, stream, verbose=True)
        texts[format] = stream.getvalue()
    return texts


def again(review: Review) -> Review:
    return thaw(json.loads(json.dumps(freeze(review), allow_nan=False)))


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_a_review_comes_back_the_same_in_every_format(model: Path) -> None:
    (review,) = api.review([model]).reviews
    assert in_every_format(again(review)) == in_every_format(review)
    assert again(again(review)) == again(review)


def test_a_review_with_runs_comes_back_the_same() -> None:
    (review,) = api.review([FAULTY], probes=["repeat", "signal"]).reviews
    assert review.evidence["signal"]
    assert in_every_format(again(review)) == in_every_format(review)


@pytest.mark.parametrize(
    "review",
    [sample.full_review(), sample.clean_review(), *sample.hostile_report("<b>\x1b[31m ::error:: \ud800").reviews],
)
def test_a_made_up_review_comes_back_the_same(review: Review) -> None:
    assert in_every_format(again(review)) == in_every_format(review)


# The keys of what is measured are words; what a check saw may have any.
numbers = st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=5))
words = st.one_of(st.text(max_size=3), st.just("$"))


def nested(keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        numbers,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=8,
    )


@settings(max_examples=15, deadline=None)
@given(nested(st.one_of(words, st.integers(), st.floats())), nested(words))
def test_any_evidence_comes_back_the_same(value: Any, measured: Any) -> None:
    review = sample.full_review()
    finding = review.findings[0]._replace(observed={"seen": value}, expected={"$": value})
    review = review._replace(findings=[finding], evidence={"measured": measured}, stated={"x": value})
    formats = in_every_format(review)
    assert in_every_format(again(review)) == formats


def test_numbers_of_numpy_come_back_as_they_are_written() -> None:
    observed = {"a": np.float32(0.1), "b": np.int64(3), "c": np.array([1.5, math.nan]), "d": {2, 1}, "e": Severity.NOTE}
    review = sample.full_review()
    review = review._replace(findings=[review.findings[0]._replace(observed=observed)])
    assert in_every_format(again(review)) == in_every_format(review)


def broken(data: Any) -> Iterator[Any]:
    """The frozen review with one thing or another wrong."""
    for path in places(data):
        for wrong in (None, 3, "x", [], {}, [None], {"$": "x"}):
            changed = json.loads(json.dumps(data))
            inner = changed
            for step in path[:-1]:
                inner = inner[step]
            if type(inner[path[-1]]) is not type(wrong):
                inner[path[-1]] = wrong
                yield changed


def places(data: Any, depth: int = 4) -> Iterator[tuple[Any, ...]]:
    entries = data.items() if isinstance(data, dict) else enumerate(data[:1]) if isinstance(data, list) else ()
    for key, value in entries:
        yield (key,)
        if depth:
            yield from ((key, *rest) for rest in places(value, depth - 1))


def _is_refused(data: Any) -> bool:
    """Whether it is; what is not can be written."""
    try:
        review = thaw(data)
    except WrongShape:
        return True
    write(Report("0", "0", [review]), "json", io.StringIO())
    return False


def test_what_is_no_review_is_refused_or_can_be_written() -> None:
    """A value within free-form data may be any; everything else has its type."""
    review = sample.full_review()._replace(checklist=sample.checklist()[3:4])
    refused = [_is_refused(wrong) for wrong in broken(freeze(review))]
    assert sum(refused) > 150
    others: list[Any] = [None, [], {}, "review", {**freeze(review), "more": 1}]
    for wrong in others:
        with pytest.raises(WrongShape):
            thaw(wrong)
