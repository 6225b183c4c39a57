"""Pipelines and optimizers that are written out in Python files, read with `ast` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from yaml_recipes import step, written

from avreview.errors import ArtifactError
from avreview.recipe.dialects import Candidate, open_recipe
from avreview.recipe.files import RecipeFiles
from avreview.recipe.model import Amount, Does, Recipe, Upon
from avreview.recipe.torchvision import read, recognises

V1 = "import torchvision.transforms as T\n"
V2 = "from torchvision.transforms import v2 as T\n"
ALBUMENTATIONS = "import albumentations as A\nfrom albumentations.pytorch import ToTensorV2\n"
KORNIA = "import kornia.augmentation as K\n"
ALL = {Upon.IMAGE, Upon.BOXES_2D, Upon.MASKS, Upon.KEYPOINTS}


def hints(folder: Path, text: str, name: str = "settings.py") -> Recipe:
    path = str(written(folder, {name: text}))
    candidate = Candidate(path, Path(path).read_bytes())
    assert recognises(candidate)
    return read(candidate, RecipeFiles())


def roles(recipe: Recipe) -> list[tuple[str, list[str]]]:
    return [(one.role, [step.name for step in one.steps]) for one in recipe.pipelines]


def test_v2_moves_labels_and_lines_are_those_of_each_transform(tmp_path: Path) -> None:
    recipe = hints(
        tmp_path,
        V2 + "train_tf = T.Compose([\n    T.RandomHorizontalFlip(0.3),\n    T.RandomRotation(degrees=10),\n])\n",
    )
    flip, turn = recipe.training[0].steps
    assert (flip.at.line, turn.at.line) == (3, 4)
    assert flip.amounts["flip_horizontal"] == Amount(0.3, 0.3, "share")
    assert turn.amounts["rotation"] == Amount(-10, 10, "degree")
    assert flip.upon == turn.upon == ALL
    assert open_recipe(str(tmp_path / "settings.py")).pipelines == recipe.pipelines


def test_v1_leaves_the_boxes_of_a_detector_behind(tmp_path: Path) -> None:
    text = V1 + "train_tf = T.Compose([T.RandomHorizontalFlip(), T.ToTensor()])\n"
    boxes = "def get(self, i):\n    return self.tf(image), target['boxes']\n"
    recipe = hints(tmp_path, text + boxes)
    assert recipe.labels["boxes-2d"].at.line == 4
    assert step(recipe, "RandomHorizontalFlip").upon == {Upon.IMAGE}
    assert not hints(tmp_path, text).labels  # a classifier, as far as the file tells


def test_a_resize_of_v1_alone_says_nothing_of_boxes(tmp_path: Path) -> None:
    """Boxes that are relative to the image stay right."""
    text = V1 + "train_tf = T.Compose([T.Resize((64, 64)), T.ToTensor()])\nx = target['boxes']\n"
    assert not hints(tmp_path, text).labels


@pytest.mark.parametrize(
    "text",
    [
        "import torchvision\ntrain = torchvision.transforms.Compose([torchvision.transforms.ToTensor()])\n",
        "from torchvision import transforms\ntrain = transforms.Compose([transforms.ToTensor()])\n",
        "from torchvision.transforms import Compose, ToTensor as TT\ntrain = Compose([TT()])\n",
        "import torchvision as tv\ntrain = tv.transforms.v2.Compose(transforms=(tv.transforms.v2.ToTensor(),))\n",
    ],
)
def test_ways_to_import(tmp_path: Path, text: str) -> None:
    assert roles(hints(tmp_path, text)) == [("train", ["ToTensor"])]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("val_tf = T.Compose([T.ToTensor()])\n", ["val"]),
        ("def get_test_transform():\n    return T.Compose([T.ToTensor()])\n", ["test"]),
        ("class TrainSet:\n    def __init__(self):\n        self.tf = T.Compose([T.ToTensor()])\n", ["train"]),
        ("tf = {'train': T.Compose([T.ToTensor()]), 'val': T.Compose([T.ToTensor()])}\n", ["train", "val"]),
        ("tf['test'] = T.Compose([T.ToTensor()])\n", ["test"]),
        ("make(train_transform=T.Compose([T.ToTensor()]))\n", ["train"]),
        ("self.evalTransform: object = T.Compose([T.ToTensor()])\n", ["val"]),
        ("def f(train):\n    if train:\n        return T.Compose([T.ToTensor()])\n", ["train"]),
        ("def f(m):\n    if m == 'test':\n        return T.Compose([T.ToTensor()])\n", ["test"]),
        (
            "def f(train):\n    if not train:\n        pass\n    else:\n        tf = T.Compose([T.ToTensor()])\n",
            ["train"],
        ),
        ("tf = T.Compose([T.ToTensor()]) if is_train else T.Compose([T.PILToTensor()])\n", ["train"]),
    ],
)
def test_names_that_tell_the_split(tmp_path: Path, text: str, found: list[str]) -> None:
    assert [one.role for one in hints(tmp_path, V1 + text).pipelines] == found


@pytest.mark.parametrize(
    "text",
    [
        "tf = T.Compose([T.ToTensor()])\n",
        "train_val_tf = T.Compose([T.ToTensor()])\n",
        "def train_tf(train):\n    if train:\n        pass\n    else:\n        return T.Compose([T.ToTensor()])\n",
        "trainer = T.Compose([T.ToTensor()])\n",
    ],
)
def test_what_no_name_tells_is_unread(tmp_path: Path, text: str) -> None:
    recipe = hints(tmp_path, V1 + text)
    assert not recipe.pipelines
    (note,) = recipe.unread
    assert note.why == "is a pipeline whose names do not say whether it trains or tests"


def test_functions_of_pytest_name_no_split(tmp_path: Path) -> None:
    text = V1 + "def test_flip():\n    return T.Compose([T.RandomHorizontalFlip()])\n"
    assert not hints(tmp_path, text, "test_flip.py").pipelines


def test_names_and_constants_are_followed(tmp_path: Path) -> None:
    text = (
        "SIZE = 32\nMEAN = [0.5, 0.4, 0.3]\nnorm = T.Normalize(MEAN, (0.1, 0.2, 0.3))\n"
        "base = [T.RandomCrop(SIZE * 2, padding=4), T.ToTensor()]\ntrain_tf = T.Compose([*base, norm])\n"
    )
    recipe = hints(tmp_path, V1 + text)
    assert roles(recipe) == [("train", ["RandomCrop", "ToTensor", "Normalize"])]
    (found,) = recipe.normalization
    assert (found.mean, found.std, found.size) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3), (64, 64))
    assert found.scale == pytest.approx(1 / 255)
    assert not recipe.unread


@pytest.mark.parametrize("change", ["base.append(T.Grayscale())", "base += [T.Grayscale()]", "base[0] = 1", "base = 2"])
def test_a_list_that_changes_is_not_followed(tmp_path: Path, change: str) -> None:
    recipe = hints(tmp_path, V1 + f"base = [T.ToTensor()]\n{change}\ntrain_tf = T.Compose(base)\n")
    assert not recipe.pipelines
    assert [one.why for one in recipe.unread] == ["has a part that code puts together"]


def test_parts_that_code_makes_are_unread_and_the_rest_is_read(tmp_path: Path) -> None:
    recipe = hints(tmp_path, V1 + "train = T.Compose([T.ToTensor(), Own(), T.Lambda(lambda x: x), *more()])\n")
    assert roles(recipe) == [("train", ["ToTensor", "Lambda"])]
    assert len(recipe.unread) == 3


def test_wrappers_of_torchvision(tmp_path: Path) -> None:
    text = """\
train = T.Compose([
    T.RandomApply([T.ColorJitter(0.2), T.Grayscale()], p=0.2),
    T.RandomChoice([T.RandomHorizontalFlip(p=0.5), T.RandomVerticalFlip(p=1.0)]),
])
"""
    jitter, gray, left, up = hints(tmp_path, V2 + text).training[0].steps
    assert jitter.amounts["probability"] == gray.amounts["probability"] == Amount(0.2, 0.2, "share")
    assert jitter.inside == ("RandomApply",)
    assert jitter.choice is None
    assert left.choice == up.choice is not None
    assert left.amounts["probability"] == Amount(0.25, 0.25, "share")
    assert up.amounts["probability"] == Amount(0.5, 0.5, "share")


@pytest.mark.parametrize(
    ("call", "low", "high"),
    [
        ("T.RandomApply([T.Grayscale()], 0.3)", 0.3, 0.3),
        ("T.RandomApply([T.Grayscale()], p=cfg.p)", 0.0, 1.0),
        ("T.RandomApply([T.RandomGrayscale(p=cfg.p)], p=0.4)", 0.0, 0.4),
        ("T.RandomGrayscale()", 0.1, 0.1),
    ],
)
def test_a_probability_that_code_sets_is_not_the_default(tmp_path: Path, call: str, low: float, high: float) -> None:
    (found,) = hints(tmp_path, V2 + f"train = T.Compose([{call}])\n").training[0].steps
    assert found.amounts["probability"] == Amount(low, high, "share")
    assert found.is_active


def test_an_affine_with_its_ranges(tmp_path: Path) -> None:
    text = "train = T.Compose([T.RandomAffine(0, translate=(0.1, 0.2), scale=(0.9, 1.1), shear=5)])\n"
    moved = step(hints(tmp_path, V2 + text), "RandomAffine")
    assert moved.amounts["translation"] == Amount(-0.2, 0.2, "share")
    assert moved.amounts["scale"] == Amount(0.9, 1.1, "ratio")
    assert moved.amounts["shear"] == Amount(-5, 5, "degree")
    assert moved.does == {Does.TRANSLATE, Does.SCALE, Does.SHEAR}


def test_albumentations_in_python(tmp_path: Path) -> None:
    text = """\
def get_train_transform():
    return A.Compose([
        A.Resize(256, 320),
        A.OneOf([A.Blur(p=1), A.HorizontalFlip(p=3 / 3)], p=0.5),
        A.Normalize(),
        ToTensorV2(),
    ], bbox_params=A.BboxParams(format="coco"))
"""
    recipe = hints(tmp_path, ALBUMENTATIONS + text)
    assert roles(recipe) == [("train", ["Resize", "Blur", "HorizontalFlip", "Normalize", "ToTensorV2"])]
    assert step(recipe, "HorizontalFlip").amounts["flip_horizontal"] == Amount(0.25, 0.25, "share")
    assert step(recipe, "HorizontalFlip").upon == ALL - {Upon.KEYPOINTS}
    assert set(recipe.labels) == {"boxes-2d"}
    (found,) = recipe.normalization
    assert (found.mean, found.size) == ((0.485, 0.456, 0.406), (256, 320))


def test_a_mean_that_code_makes_is_not_the_default(tmp_path: Path) -> None:
    (found,) = hints(tmp_path, ALBUMENTATIONS + "train = A.Compose([A.Normalize(mean=cfg.mean)])\n").normalization
    assert (found.mean, found.std) == (None, (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("keys", "upon"),
    [
        ("", {Upon.IMAGE}),
        (", data_keys=['input', 'bbox_xyxy']", {Upon.IMAGE, Upon.BOXES_2D}),
        (", data_keys=[DataKey.INPUT, DataKey.MASK]", {Upon.IMAGE, Upon.MASKS}),
        (", data_keys=keys", ALL),
    ],
)
def test_kornia_moves_its_data_keys(tmp_path: Path, keys: str, upon: set[Upon]) -> None:
    text = KORNIA + f"train = K.AugmentationSequential(K.RandomHorizontalFlip(p=1.0), K.RandomRotation(20.0){keys})\n"
    flip, turn = hints(tmp_path, text).training[0].steps
    assert flip.upon == turn.upon == upon
    assert (flip.is_random, turn.is_random) == (False, True)


@pytest.mark.parametrize(
    ("call", "decay", "decays"),
    [
        ("torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)", 0.05, True),
        ("torch.optim.AdamW(model.parameters(), lr=1e-3)", 0.01, True),
        ("torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)", 0.0, True),
        ("torch.optim.Adam(params=model.parameters(), lr=1e-3, weight_decay=cfg.wd)", None, True),
        ("torch.optim.Adam(groups, lr=1e-3, weight_decay=0.1)", None, None),
        ("torch.optim.Adam(model.parameters(), lr=1e-3, **more)", None, True),
    ],
)
def test_optimizers(tmp_path: Path, call: str, decay: float | None, decays: bool | None) -> None:
    text = "import torch\n" + V1 + f"train = T.Compose([T.ToTensor()])\noptimizer = {call}\n"
    found = hints(tmp_path, text).optimizer
    assert found is not None
    assert found.name == call.split("(")[0].rpartition(".")[2]
    assert found.rate is not None
    assert (found.rate.value, found.rate.at.line) == (1e-3, 4)
    assert (None if found.decay is None else found.decay.value) == decay
    assert set(found.decays.values()) == {decays}


def test_several_optimizers_are_none(tmp_path: Path) -> None:
    text = "from torch import optim\n" + V1 + "train = T.Compose([T.ToTensor()])\n"
    recipe = hints(tmp_path, text + "a = optim.SGD(m.parameters(), lr=1)\nb = optim.Adam(m.parameters())\n")
    assert recipe.optimizer is None
    assert [one.what for one in recipe.unread] == ["the optimizer"]


def test_schedule_and_synchronized_norms(tmp_path: Path) -> None:
    text = (
        "import torch\n" + V1 + "train = T.Compose([T.ToTensor()])\n"
        "s = torch.optim.lr_scheduler.CosineAnnealingLR(o, 10)\n"
        "m = torch.nn.SyncBatchNorm.convert_sync_batchnorm(m)\n"
    )
    recipe = hints(tmp_path, text)
    assert recipe.schedule is not None
    assert recipe.schedule.value == "cosine"
    assert recipe.sync_norm is not None
    assert (recipe.sync_norm.value, recipe.sync_norm.at.line) == (True, 5)


def test_a_file_that_composes_nothing_is_no_recipe(tmp_path: Path) -> None:
    path = written(tmp_path, {"x.py": "import torchvision.transforms as T\nT.ToTensor()\n"})
    with pytest.raises(ArtifactError, match="no recipe that is known"):
        open_recipe(str(path))


def test_a_file_that_is_no_python_is_one_clear_line(tmp_path: Path) -> None:
    path = written(tmp_path, {"x.py": V1 + "train = T.Compose([\n"})
    with pytest.raises(ArtifactError, match=r"x\.py:2: is no Python"):
        open_recipe(str(path))


def doubling(name: str, first: str) -> str:
    return f"{name}0 = [{first}]\n" + "".join(f"{name}{n + 1} = [{name}{n}, {name}{n}]\n" for n in range(39))


@pytest.mark.parametrize(
    "text",
    [
        doubling("a", "T.ToTensor()") + "train = T.Compose(a39)\n",
        doubling("a", "1") + "train = T.Compose([T.Resize(a39)])\n",
        "x = y\ny = x\ntrain = T.Compose(x)\n",
        "x = [*x]\ntrain = T.Compose(x)\n",
        "train = T.Compose([" + "T.RandomApply([" * 40 + "T.ToTensor()" + "])" * 40 + "])\n",
        "train = T.Compose([T.Resize(9 ** 9 ** 9 ** 9)])\n",
        "n = 1e15 * 1e15\ntrain = T.Compose([T.RandomRotation(1e15 * n), T.Pad(-'x'), T.Resize([None])])\n",
        "train = T.Compose()\nval = T.Compose(None)\ntest = T.Compose(*x, **y)\n",
        "train = T.Compose([T.Resize(1 / 0), T.RandomHorizontalFlip(True), T.Normalize('x', [])])\n",
    ],
)
def test_hostile_files_end_quickly(tmp_path: Path, text: str) -> None:
    assert hints(tmp_path, V1 + text).dialect == "torchvision"


def test_nothing_of_the_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "import os\n" + V1 + "os.mkdir('run')\ntrain = T.Compose([T.Resize(os.mkdir('run'))])\n"
    recipe: Any = hints(tmp_path, text)
    assert roles(recipe) == [("train", ["Resize"])]
    assert not (tmp_path / "run").exists()
