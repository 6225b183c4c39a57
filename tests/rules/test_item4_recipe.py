from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint
from models import ModelBuilder
from onnx import TensorProto
from recipe_reviews import FILE, assessed, at, lines, recipe, reviewed, said, sentence

from avreview.engine.review import Severity, Verdict
from avreview.load import open_artifact
from avreview.recipe.model import InputNormalization, Recipe

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
UNIT_MEAN, UNIT_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MMDET = InputNormalization(MEAN, STD, None, "rgb", None, at(12))
FACE = InputNormalization(UNIT_MEAN, UNIT_STD, 1 / 255, "rgb", None, at(12))


def feeding(*normalization: InputNormalization, **fields: Any) -> Recipe:
    return recipe(normalization=normalization, **fields)


def export(
    mean: Any = None,
    std: Any = None,
    *,
    scale: float | None = None,
    dtype: int = TensorProto.FLOAT,
    name: str = "image",
) -> ModelBuilder:
    """A network that first multiplies by a scale, subtracts a mean and divides by a deviation, where given."""
    model = ModelBuilder().input(name, ["batch", 3, 8, 8], dtype)
    if dtype != TensorProto.FLOAT:
        model.op("Cast", to=TensorProto.FLOAT)
    for op, values in (("Mul", scale), ("Sub", mean), ("Div", std)):
        if values is not None:
            array = np.asarray(values, np.float32).reshape((-1, 1, 1) if np.ndim(values) else ())
            model.op(op, model.tensor(f"preprocess.{op}", array))
    return model.conv("backbone.conv", 8).relu().conv("head", 4).output("scores")


# AV408


def test_av408_other_constants_than_in_training(tmp_path: Path) -> None:
    found = assessed(feeding(MMDET), "AV408", export((103.53, 116.28, 123.675), (57.0, 57.0, 57.0)), path=tmp_path)
    finding = found.found(Severity.WARNING, None, "input.normalization")
    assert finding.location.tensor == "image"
    assert (finding.also[0].artifact, finding.also[0].line) == (FILE, 12)
    assert finding.expected["mean"] == "[123.675, 116.28, 103.53]"
    assert finding.message == "The export normalizes 'image' otherwise than the recipe does."


def test_av408_channels_in_the_reverse_order(tmp_path: Path) -> None:
    found = assessed(feeding(MMDET), "AV408", export(MEAN[::-1], STD[::-1]), path=tmp_path)
    assert "reverse order of channels (RGB)" in found.found(Severity.WARNING, None, "input.normalization").message


def test_av408_a_mean_that_the_export_forgot(tmp_path: Path) -> None:
    found = assessed(feeding(FACE), "AV408", export(scale=1 / 255), path=tmp_path)
    assert found.only.severity is Severity.WARNING


def test_av408_constants_for_another_range(tmp_path: Path) -> None:
    """A note for a float input, which may be given 0 to 1; a warning for one that is given pixels."""
    model = export(UNIT_MEAN, UNIT_STD)
    finding = assessed(feeding(MMDET), "AV408", model, path=tmp_path).only
    assert finding.severity is Severity.NOTE
    assert "for values 1/255 times as large" in finding.message
    model = export(UNIT_MEAN, UNIT_STD, dtype=TensorProto.UINT8)
    assert assessed(feeding(MMDET), "AV408", model, path=tmp_path).only.severity is Severity.WARNING
    assert assessed(feeding(FACE), "AV408", model, path=tmp_path).only.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("stated", "model"),
    [
        (MMDET, export(MEAN, STD)),
        (MMDET, export((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))),
        (FACE, export(MEAN, STD)),
        (FACE, export(UNIT_MEAN, UNIT_STD, scale=1 / 255)),
        (FACE, export(UNIT_MEAN, UNIT_STD)),  # the caller goes on dividing by 255
        (FACE, export(MEAN, STD, dtype=TensorProto.UINT8)),
        (InputNormalization(None, None, 1 / 255, "rgb", None, at(12)), export(scale=1 / 255)),
        (InputNormalization((0.0,), (255.0,), None, None, None, at(12)), export(scale=1 / 255)),
    ],
)
def test_av408_is_silent_on_the_recipes_constants(
    tmp_path: Path, stated: InputNormalization, model: ModelBuilder
) -> None:
    assert assessed(feeding(stated), "AV408", model, path=tmp_path).passed


def test_av408_any_of_several_statements_will_do(tmp_path: Path) -> None:
    other = InputNormalization((127.5,), (127.5,), None, "bgr", None, at(80))
    assert assessed(feeding(other, MMDET), "AV408", export(MEAN, STD), path=tmp_path).passed


def test_av408_an_export_that_leaves_it_to_the_caller_is_told_what_that_has_to_be(tmp_path: Path) -> None:
    outcome = assessed(feeding(MMDET), "AV408", export(), path=tmp_path)
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "(line 12) it has to be (x - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]" in (outcome.reason or "")


def test_av408_a_normalization_inside_of_the_network_that_the_export_lacks(tmp_path: Path) -> None:
    inside = feeding(MMDET._replace(inside_network=True))
    found = assessed(inside, "AV408", export(), path=tmp_path)
    assert found.found(Severity.NOTE, "input.normalization", None).location.line == 12
    assert assessed(inside, "AV408", export(MEAN, STD), path=tmp_path).passed


def test_av408_a_batch_norm_behind_the_input_is_a_layer(tmp_path: Path) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).batch_norm("stem.bn").conv("head", 4).output("y")
    outcome = assessed(feeding(MMDET), "AV408", model, path=tmp_path)
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "one mean and one deviation for each channel" in (outcome.reason or "")


def test_av408_without_images_or_constants(tmp_path: Path) -> None:
    points = export(name="points")
    assert assessed(feeding(MMDET), "AV408", points, path=tmp_path).verdict is Verdict.NOT_APPLICABLE
    assert assessed(feeding(), "AV408", export(), path=tmp_path).verdict is Verdict.NOT_ASSESSED
    broken = MMDET._replace(std=(0.0, 1.0, 1.0))
    assert assessed(feeding(broken), "AV408", export(), path=tmp_path).verdict is Verdict.NOT_ASSESSED


def test_av408_against_the_export_that_it_replaces(tmp_path: Path) -> None:
    from conftest import Assessed

    def against(base: ModelBuilder, model: ModelBuilder) -> Assessed:
        base.save(tmp_path / "base.onnx")
        return assessed(recipe(), "AV408", model, pretrained=open_artifact(tmp_path / "base.onnx"), path=tmp_path)

    found = against(export(MEAN, STD), export(UNIT_MEAN, UNIT_STD))
    assert found.only.severity is Severity.WARNING
    assert found.only.location.tensor == found.only.also[0].tensor == "image"
    assert against(export(MEAN, STD), export()).only.observed == {"steps": []}
    assert against(export(MEAN, STD), export((123.7, 116.3, 103.5), STD)).passed
    assert against(export(), export()).verdict is Verdict.NOT_APPLICABLE


# AV404


def test_av404_the_recipe_tells_that_an_average_is_missing(tmp_path: Path) -> None:
    model = export()
    model.save(tmp_path / "model.onnx")
    held = open_artifact(tmp_path / "model.onnx")
    arrays = {name: tensor.copy() for name, tensor in held.tensors.items() if "backbone" in name or "head" in name}
    one_set = checkpoint(arrays)
    told = assessed(recipe(ema=said(0.999, 90)), "AV404", held, checkpoint=one_set)
    assert told.verdict is Verdict.NOT_ASSESSED
    assert "the recipe keeps an average (line 90)" in (told.reason or "")
    assert assessed(recipe(ema=said(False, 90)), "AV404", held, checkpoint=one_set).verdict is Verdict.NOT_APPLICABLE


# AV306


def test_av306_the_recipe_says_which_sensor_is_behind_a_nameless_input(tmp_path: Path) -> None:
    def model(name: str) -> ModelBuilder:
        made = ModelBuilder().input(name, ["batch", 4, 32]).layer_norm("stem.norm")
        return made.linear("head", 8).output("scores")

    lidar = recipe(sensors={"lidar": said(True, 3)})
    assert assessed(lidar, "AV306", model("input.1"), path=tmp_path).only.observed["sensor"] == "lidar"
    camera = recipe(sensors={"camera": said(True, 3)})
    assert assessed(camera, "AV306", model("input.1"), path=tmp_path).verdict is Verdict.NOT_APPLICABLE
    both = recipe(sensors={"camera": said(True, 3), "lidar": said(True, 3)})
    assert assessed(both, "AV306", model("input.1"), path=tmp_path).verdict is Verdict.NOT_ASSESSED
    assert assessed(recipe(), "AV306", model("input.1"), path=tmp_path).verdict is Verdict.NOT_ASSESSED


def test_the_answer_says_what_training_fed_the_network_with(tmp_path: Path) -> None:
    result = reviewed(feeding(FACE), export(), path=tmp_path)
    assert sentence(result, 4).endswith(
        "The recipe's images are multiplied by 0.00392157, normalized by (x - [0.485, 0.456, 0.406]) / "
        "[0.229, 0.224, 0.225], in RGB order (line 12)."
    )
    assert lines(assessed(feeding(FACE), "AV408", export(), path=tmp_path)) == []
