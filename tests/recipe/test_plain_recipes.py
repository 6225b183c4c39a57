"""avreview's own plain form: says everything a recipe can, and an error names line, column and the right word."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner
from yaml_recipes import mutated, opened, refusal, share

from avreview.cli.main import app
from avreview.config.schemas import schema
from avreview.errors import ArtifactError
from avreview.recipe.dialects import open_recipe
from avreview.recipe.model import Amount, Does, InputNormalization, Place, Recipe, Setting, Step, Upon

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"

FULL = """\
schema: avreview/recipe/1
sensors: [camera, lidar]
labels: [boxes-3d, velocities, tracks]
classes: [car, truck]
velocity: true
tracking: false
sweeps: {train: 10, val: 10, test: 10, paste: 5}
time_channel: {train: true, test: false}
frames: {train: 2, test: 2}
pipelines:
- split: train
  name: lidar
  steps:
  - name: rotate_scene
    does: [rotate, flip]
    upon: [points, boxes-3d]
    random: true
    rotation: {low: -22.5, high: 22.5, unit: degree}
    scale: {low: 0.9, high: 1.1}
    translation: {low: -1, high: 1, unit: m}
    shear: {low: 0, high: 0.1, unit: rad}
    probability: 0.9
    flip_horizontal: 0.1
    flip_vertical: 0.2
    flip_x: 0.3
    flip_y: 0.4
    start_epoch: 1
    stop_epoch: 15
    inside: [OneOf]
    choice: 3
    swaps_classes: false
    only_labels: true
    options: {seed: 7}
  - name: add_sweeps
    does: [sweeps]
    upon: [points]
    sweeps: 10
  - name: crop_range
    does: [range-filter]
    upon: [points]
    range: {low: -54, high: 54}
  - name: hand_on
    does: [collect]
    upon: []
    collects: [points, boxes]
- split: test
  steps: []
normalization:
- scale: 0.00392156862745098
  mean: [0.485, 0.456, 0.406]
  std: [0.229, 0.224, 0.225]
  order: rgb
  size: [256, 704]
  inside_network: true
optimizer:
  name: AdamW
  rate: 2.0e-4
  decay: 0.01
  momentum: 0.9
  decays: {bias: true, norm: false}
  decays_outside: true
  groups:
  - {kind: name, pattern: img_backbone, rate_factor: 0.1}
  - {kind: norm, decay_factor: 0}
  options: {betas: [0.9, 0.999]}
epochs: 24
optimizer_steps: 84000
schedule: cosine
batch_size: 4
devices: 8
accumulation: 2
cameras: 6
sync_norm: true
precision: bf16
ema: true
ema_decay: 0.999
pretrained: resnet50.pth
frozen: [img_backbone.layer1]
norms:
- {kind: SyncBN, module: img_backbone, frozen_statistics: true, frozen_parameters: false}
dropouts:
- {rate: 0.1, module: head.ffn, name: ffn_drop}
- {rate: 0.2, module: head}
splits:
- {split: train, file: splits/train.txt}
"""


def test_a_whole_recipe(tmp_path: Path) -> None:
    recipe = opened(tmp_path, {"recipe.yaml": FULL})

    def at(text: str) -> Place:
        """The line that begins with a text."""
        (line,) = [number for number, line in enumerate(FULL.splitlines(), 1) if line.startswith(text)]
        return Place(recipe.path, line)

    def stated(value: Any, text: str) -> Setting:
        return Setting(value, at(text))

    assert (recipe.dialect, recipe.unread, recipe.classes, recipe.classes_at) == (
        "plain", (), ["car", "truck"], at("classes"),
    )  # fmt: skip
    assert recipe.sensors == dict.fromkeys(("camera", "lidar"), stated(True, "sensors"))
    assert recipe.labels == dict.fromkeys(("boxes-3d", "velocities", "tracks"), stated(True, "labels"))
    assert (recipe.velocity, recipe.tracking) == (stated(True, "velocity"), stated(False, "tracking"))
    assert recipe.sweeps == {
        **dict.fromkeys(("train", "val", "test"), stated(10, "sweeps")),
        "paste": stated(5, "sweeps"),
    }
    assert recipe.time_channel == {"train": stated(True, "time_channel"), "test": stated(False, "time_channel")}
    assert recipe.frames == dict.fromkeys(("train", "test"), stated(2, "frames"))
    assert recipe.normalization == [
        InputNormalization(
            (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1 / 255, "rgb", (256, 704), at("- scale"), True
        )
    ]
    assert (recipe.epochs, recipe.steps, recipe.ema) == (
        stated(24, "epochs"), stated(84000, "optimizer_steps"), stated(0.999, "ema_decay"),
    )  # fmt: skip
    assert recipe.frozen == [stated("img_backbone.layer1", "frozen")]
    assert [tuple(norm) for norm in recipe.norms] == [("SyncBN", "img_backbone", at("- {kind: SyncBN"), True, False)]
    assert [tuple(entry) for entry in recipe.dropouts] == [
        (0.1, "head.ffn", at("- {rate: 0.1"), "ffn_drop"), (0.2, "head", at("- {rate: 0.2"), "dropout"),
    ]  # fmt: skip
    assert [tuple(split) for split in recipe.splits] == [("train", "splits/train.txt", at("- {split: train, file"))]
    plain = {
        "schedule": "cosine", "batch_size": 4, "devices": 8, "accumulation": 2, "cameras": 6, "sync_norm": True,
        "precision": "bf16", "pretrained": "resnet50.pth",
    }  # fmt: skip
    assert {name: getattr(recipe, name).value for name in plain} == plain


def test_the_optimizer_of_a_whole_recipe(tmp_path: Path) -> None:
    found = opened(tmp_path, {"recipe.yaml": FULL}).optimizer
    assert found is not None
    values = [setting.value for setting in (found.rate, found.decay, found.momentum) if setting is not None]
    assert (found.name, values, found.decays_outside) == ("AdamW", [2e-4, 0.01, 0.9], True)
    assert (found.decays, found.options) == ({"bias": True, "norm": False}, {"betas": [0.9, 0.999]})
    assert [tuple(rule[:4]) for rule in found.rules] == [
        ("name", "img_backbone", 0.1, None), ("norm", "norm", None, 0),
    ]  # fmt: skip


def test_the_steps_of_a_whole_recipe(tmp_path: Path) -> None:
    recipe = opened(tmp_path, {"recipe.yaml": FULL})
    (train,), (test,) = recipe.training, recipe.testing
    assert (train.name, train.role, train.at.line, test.name, test.steps) == ("lidar", "train", 11, "", [])
    first, sweeps, ranged, collect = train.steps
    assert first == Step(
        "rotate_scene",
        Place(recipe.path, 14),
        frozenset({Does.ROTATE, Does.FLIP}),
        frozenset({Upon.POINTS, Upon.BOXES_3D}),
        is_random=True,
        amounts={
            "rotation": Amount(-22.5, 22.5, "degree"),
            "scale": Amount(0.9, 1.1, "ratio"),
            "translation": Amount(-1.0, 1.0, "m"),
            "shear": Amount(0.0, 0.1, "rad"),
            "probability": share(0.9),
            "flip_horizontal": share(0.1),
            "flip_vertical": share(0.2),
            "flip_x": share(0.3),
            "flip_y": share(0.4),
            "start_epoch": Amount(1.0, 1.0, "epoch"),
            "stop_epoch": Amount(15.0, 15.0, "epoch"),
        },
        options={"seed": 7},
        inside=("OneOf",),
        choice=3,
        swaps_classes=False,
        only_labels=True,
    )
    assert sweeps.amounts == {"sweeps": Amount(10.0, 10.0, "count")}
    assert ranged.amounts == {"range": Amount(-54.0, 54.0, "m")}
    assert collect.collects == {"points", "boxes"}


def test_nothing_stated_is_nothing_told(tmp_path: Path) -> None:
    """No default of the reader is taken for a word of the recipe."""
    recipe = opened(tmp_path, {"recipe.yaml": "schema: avreview/recipe/1\n"})
    silent = Recipe(recipe.path, "plain", recipe.files)
    for field in dataclasses.fields(Recipe):
        assert getattr(recipe, field.name) in (getattr(silent, field.name), [], {}), field.name


def with_steps(steps: str) -> str:
    return f"schema: avreview/recipe/1\npipelines: [{{split: train, steps: [{steps}]}}]\n"


@pytest.mark.parametrize(
    ("amount", "is_random"),
    [
        ("rotation: {low: -1, high: 1, unit: rad}", True),
        ("rotation: {low: 1, high: 1, unit: rad}", None),
        ("flip_horizontal: 0.5", True),
        ("probability: 1", None),
        ("random: false, flip_horizontal: 0.5", False),
        ("range: {low: -1, high: 1}", None),
    ],
)
def test_a_step_is_random_where_it_says_so_or_its_amounts_do(
    tmp_path: Path, amount: str, is_random: bool | None
) -> None:
    (train,) = opened(tmp_path, {"recipe.yaml": with_steps(f"{{name: a, does: [flip], upon: [], {amount}}}")}).training
    assert train.steps[0].is_random is is_random


def test_every_word_of_a_recipe_has_its_place_in_the_form() -> None:
    """What rules reason in can be said, and nothing else."""
    whole = schema("recipe")
    definitions = whole["$defs"]
    assert set(definitions["does"]["enum"]) == {does.value for does in Does}
    assert set(definitions["carried"]["enum"]) == {upon.value for upon in Upon}
    inside = {"path", "dialect", "files", "unread", "inside", "classes_at"}  # of the reading, and not of the recipe
    fields = {field.name for field in dataclasses.fields(Recipe)} - inside - {"steps"} | {"optimizer_steps"}
    assert fields <= whole["properties"].keys()
    assert whole["properties"].keys() - fields == {"schema", "ema_decay"}


def test_the_schema_is_one_and_holds_for_the_example() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("recipe"))
    jsonschema.validate(yaml.safe_load(FULL), schema("recipe"))
    printed = CliRunner().invoke(app, ["schema", "recipe"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == schema("recipe")


def test_json_is_yaml(tmp_path: Path) -> None:
    recipe = opened(tmp_path, {"recipe.json": json.dumps(yaml.safe_load(FULL))})
    assert recipe.dialect == "plain"
    assert len(recipe.training[0].steps) == 4


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (("velocity: true", "velocty: true"), r"yaml:5:1: 'velocty' is no key here; did you mean velocity\? Also see"),
        (("    rotation:", "    rotatoin:"), r":18:5: 'rotatoin' is no key here; did you mean rotation\?"),
        (("does: [rotate, flip]", "does: [rotate, flipp]"), r":15:20: .*'flipp' is none of .*; did you mean flip\?"),
        (("upon: [points, boxes-3d]", "upon: [points, boxes_3d]"), r":16:20: .*; did you mean boxes-3d\?"),
        (("unit: degree", "unit: degrees"), r":18:40: .*; did you mean degree\?"),
        (("sensors: [camera, lidar]", "sensors: [camera, 3]"), r":2:19: .*3 is none of camera, lidar, radar"),
        (("avreview/recipe/1", "avreview/recipe/2"), r":1:1: schema: has to be 'avreview/recipe/1'"),
        (("velocity: true", "velocity: maybe"), r":5:1: velocity: has to be true or false, not text"),
        (("flip_x: 0.3", "flip_x: 30"), r":25:5: .*30 is too large"),
        (("{low: -1, high: 1, unit: m}", "{low: 1, high: -1, unit: m}"), r":20:19: translation: its low is above"),
        (("{low: -1, high: 1, unit: m}", "{low: 1, high: 1}"), r":20:5: lacks 'unit'"),
        (("std: [0.229, 0.224, 0.225]", "std: [0.229]"), r":51:3: std: has 1 values and mean 3"),
        (("size: [256, 704]", "size: [256, 704, 3]"), r":53:3: size: has to be height and width"),
        (("pattern: img_backbone, ", ""), r":63:5: lacks 'pattern'"),
        (("ema: true", "ema: false"), r":76:1: ema_decay: has no meaning"),
        (("    does: [collect]\n", ""), r":42:5: lacks 'does'"),
        (("epochs: 24", "epochs: 24\nepochs: 25"), r":67:1: the key 'epochs' stands here a second time"),
        (("epochs: 24", "epochs: &a 24\ndevices_: *a"), r":66:9: sets an anchor"),
        (("epochs: 24", "epochs: !!int 24"), r":66:9: has the tag"),
        (("epochs: 24", "epochs: 2.5"), r":66:1: epochs: has to be a whole number, not a number"),
        (("pipelines:\n", "pipelines: []\nx:\n"), r":11:1: 'x' is no key here; there are schema, sensors"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_with_line_column_and_the_right_word(
    tmp_path: Path, edit: tuple[str, str], error: str
) -> None:
    assert edit[0] in FULL
    with pytest.raises(ArtifactError, match=error) as raised:
        opened(tmp_path, {"recipe.yaml": FULL.replace(edit[0], edit[1], 1)})
    assert "\n" not in str(raised.value)
    assert "avreview schema recipe" in str(raised.value) or "mend it" in str(raised.value)


def test_too_many_steps_are_refused(tmp_path: Path) -> None:
    text = with_steps(", ".join(["{name: a, does: [flip], upon: []}"] * 501))
    with pytest.raises(ArtifactError, match=r":2:28: steps: has more than 500 entries"):
        opened(tmp_path, {"recipe.yaml": text})


def test_a_file_in_no_form_is_sent_to_the_page(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is written as no recipe that is known here; see docs/recipes.md"):
        opened(tmp_path, {"recipe.yaml": "velocity: true\n"})


def test_the_example_of_the_page_is_a_recipe(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(schema: avreview/recipe/1\n.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    assert blocks
    for block in blocks:
        recipe = opened(tmp_path, {"recipe.yaml": block})
        assert recipe.pipelines
        jsonschema.validate(yaml.safe_load(block), schema("recipe"))


@pytest.mark.parametrize("seed", range(60))
def test_a_broken_recipe_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(mutated(FULL, seed), encoding="utf-8")
    assert "\n" not in refusal(path)


def test_the_recipe_of_the_documentation_is_the_one_beside_it() -> None:
    docs = Path(__file__).parents[2] / "docs"
    shown = (docs / "recipes.md").read_text("utf-8").partition("```yaml\n")[2].partition("```")[0]
    assert shown == (docs / "examples" / "recipe" / "recipe.yaml").read_text("utf-8")


@pytest.mark.parametrize("name", ["recipe.yaml", "recipe.py", "recipe.json"])
def test_an_empty_file_and_a_folder_say_what_to_pass(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(" \n\n")
    with pytest.raises(ArtifactError, match="is empty; pass the file with the training settings"):
        open_recipe(str(path))
    with pytest.raises(ArtifactError, match="is a folder; name a recipe file"):
        open_recipe(str(tmp_path))
