from __future__ import annotations

from pathlib import Path

import pytest
from models import ModelBuilder
from recipe_reviews import FILE, assessed, at, lines, recipe, reviewed, sentence

from avreview.engine.review import Severity, Verdict
from avreview.recipe.model import Recipe, RecipeDropout

DECODER = "pts_bbox_head.transformer.decoder"


def with_dropouts(*dropouts: RecipeDropout) -> Recipe:
    return recipe(dropouts=dropouts)


def drop(rate: float, module: str, line: int, name: str = "dropout") -> RecipeDropout:
    return RecipeDropout(rate, module, at(line), name)


# AV703


def test_av703_dropout_in_a_box_head() -> None:
    given = with_dropouts(drop(0.1, DECODER, 60), drop(0.2, DECODER, 61, "ffn_drop"), drop(0.3, "cls_tower", 70))
    found = assessed(given, "AV703")
    finding = found.found(Severity.WARNING, f"{DECODER}.dropout", f"{DECODER}.ffn_drop")
    assert finding.location.artifact == FILE
    assert lines(found) == [60, 61]
    assert finding.observed == {"dropouts": 2, "rates": [0.1, 0.2]}


def test_av703_dropout_in_a_temporal_head() -> None:
    found = assessed(with_dropouts(drop(0.1, "temporal_fusion", 60)), "AV703")
    assert found.only.message == "The recipe trains the temporal head 'temporal_fusion' with dropout."


@pytest.mark.parametrize("dropout", [drop(0.0, DECODER, 60), drop(0.1, "img_backbone", 60), drop(0.1, "cls_head", 60)])
def test_av703_is_silent_elsewhere(dropout: RecipeDropout) -> None:
    assert assessed(with_dropouts(dropout), "AV703").passed


def test_av703_does_not_apply_to_stochastic_depth() -> None:
    given = with_dropouts(drop(0.1, DECODER, 60, "drop_path_rate"))
    assert assessed(given, "AV703").verdict is Verdict.NOT_APPLICABLE
    assert assessed(recipe(), "AV703").verdict is Verdict.NOT_APPLICABLE


def test_av703_an_export_that_holds_no_dropout_leaves_it_to_the_recipe(tmp_path: Path) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("head", 4).output("boxes")
    assert assessed(recipe(), "AV703", model, path=tmp_path).verdict is Verdict.NOT_APPLICABLE
    assert lines(assessed(with_dropouts(drop(0.1, DECODER, 60)), "AV703", model, path=tmp_path)) == [60]


# AV705


def test_av705_a_rate_of_1_and_one_of_a_half() -> None:
    given = with_dropouts(drop(1.0, "neck", 60), drop(0.5, "cls_head", 61), drop(0.1, "cls_head", 62))
    everything, half = sorted(assessed(given, "AV705").findings, key=lambda finding: finding.location.line or 0)
    assert (everything.severity, everything.location.line) == (Severity.ERROR, 60)
    assert (half.severity, half.location.line, half.location.module) == (Severity.NOTE, 61, "cls_head.dropout")


def test_av705_is_silent_on_usual_rates_and_on_switches() -> None:
    assert assessed(with_dropouts(drop(0.1, DECODER, 60), drop(0.0, "neck", 61)), "AV705").passed


# The answer


def test_the_answer_says_where_and_how_much() -> None:
    given = with_dropouts(drop(0.1, DECODER, 60), drop(0.1, "neck", 61), drop(0.0, "cls_head", 62))
    result = reviewed(given)
    assert sentence(result, 7) == f"The recipe states 2 dropouts ({DECODER}, neck) with a rate of 0.1."
    rows = [dict(row) for row in result.checklist[7].table]
    assert rows[0] == {"layer": DECODER, "form": "recipe, line 60: dropout", "rate": 0.1, "at_inference": None}
    assert len(rows) == 2
