"""Pipelines of real libraries, built in place and read from files: what is given to them, and what they give back.

Skipped where a library is not installed: `pip install --group augment` has albumentations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avreview.augment.child.adapters import adapt
from avreview.augment.child.adapters.albumentations import KEYPOINTS, decoded, encoded, from_file
from avreview.augment.child.image_kind import measure_image
from avreview.augment.child.task import Task
from avreview.augment.model import Measured
from avreview.probes.child.refusal import Refused

LIMITS = {"iou_2d": 0.9, "mask": 0.9, "keypoint": 1.5, "repeats": 0.0}


def measured(value: Any, seeds: int = 4) -> Measured:
    found = adapt(value)
    task = Task(
        found.whole, seeds=seeds, image_size=(256, 384), without=found.without, steps=max(1, len(found.members))
    )
    return Measured.from_json({"name": "whole", "place": None, **measure_image(task)})


def off(result: Measured) -> dict[str, str]:
    found = {}
    for name, limit in LIMITS.items():
        least = name in ("iou_2d", "mask")
        worst = result.worst(name, least=least)
        if worst is not None and (worst.value < limit if least else worst.value > limit):
            found[name] = worst.words
    return found


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    return pytest.importorskip("albumentations", exc_type=ImportError)


def params(
    library: Any, boxes: str | None = "pascal_voc", points: str | None = "xy", labels: bool = True
) -> dict[str, Any]:
    """bbox_params and keypoint_params, as the installed version calls their format."""
    import inspect

    key = "coord_format" if "coord_format" in inspect.signature(library.BboxParams.__init__).parameters else "format"
    fields = ["classes"] if labels else None
    return {
        "bbox_params": library.BboxParams(**{key: boxes}, label_fields=fields, min_visibility=0.1),
        "keypoint_params": library.KeypointParams(**{key: points}),
    }


@pytest.mark.parametrize("form", ["pascal_voc", "albumentations", "coco", "yolo", "cxcywh"])
def test_box_formats_are_undone(form: str) -> None:
    boxes = np.array([[10.0, 20, 110, 70], [0, 0, 200, 100]])

    assert np.allclose(decoded(encoded(boxes, form, (100, 200)), form, (100, 200)), boxes)
    assert (form == "pascal_voc") == np.array_equal(encoded(boxes, form, (100, 200)), boxes)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize(
    ("boxes", "points"), [("pascal_voc", "xy"), ("albumentations", "yx"), ("coco", "xya"), ("yolo", "xyas")]
)
def test_albumentations_in_every_format(library: Any, boxes: str, points: str, labels: bool) -> None:
    members = [library.HorizontalFlip(p=0.5), library.RandomCrop(height=200, width=260), library.Resize(240, 240)]
    pipeline = library.Compose(members, **params(library, boxes, points, labels))
    result = measured(pipeline)

    assert off(result) == {}
    assert not result.unjudged
    assert set(result.measures) == {"repeats", "visible", "iou_2d", "mask", "keypoint"}
    assert points in KEYPOINTS


def test_albumentations_members_are_measured_alone(library: Any) -> None:
    turn = library.Rotate(limit=30, p=1)
    found = adapt(library.Compose([library.VerticalFlip(p=1), turn], **params(library)))

    assert found.kind == "image"
    assert [name for name, _ in found.members] == ["VerticalFlip", "Rotate"]
    for _, member in found.members:
        result = measure_image(Task(member, seeds=2, image_size=(256, 384)))
        assert off(Measured.from_json({"name": "", "place": 0, **result})) == {}


def test_albumentations_without_bbox_params_is_given_no_boxes(library: Any) -> None:
    found = adapt(library.Compose([library.HorizontalFlip(p=1)]))

    assert found.without == {"boxes2d", "boxes2d_ids", "boxes2d_names", "keypoints"}
    assert any("no bbox_params" in note for note in found.notes)
    assert "mask" in measured(library.Compose([library.HorizontalFlip(p=1)])).measures


def test_a_single_albumentations_transform_is_given_everything(library: Any) -> None:
    result = measured(library.HorizontalFlip(p=1))

    assert off(result) == {}
    assert {"iou_2d", "mask", "keypoint"} <= set(result.measures)


def test_a_broken_albumentations_transform_is_caught(library: Any) -> None:
    class Flip(library.HorizontalFlip):  # type: ignore[misc]
        def apply_to_bboxes(self, bboxes: Any, *others: Any, **more: Any) -> Any:
            return bboxes

    assert off(measured(library.Compose([Flip(p=1)], **params(library)), seeds=2)) == {
        "iou_2d": "boxes were not flipped"
    }


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_an_albumentations_file(library: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"augment.{suffix}"
    pipeline = library.Compose([library.HorizontalFlip(p=1), library.Rotate(p=1)], **params(library))
    library.save(pipeline, path, data_format=suffix)
    found = from_file(str(path), None)

    assert [name for name, _ in found.members] == ["HorizontalFlip", "Rotate"]
    assert found.without == set()


@pytest.mark.parametrize(("here", "there"), [("format", "coord_format"), ("coord_format", "format")])
def test_a_file_of_the_other_name_for_formats(library: Any, tmp_path: Path, here: str, there: str) -> None:
    data = library.to_dict(library.Compose([library.HorizontalFlip(p=1)], **params(library)))
    box_params = data["transform"]["bbox_params"]
    if here not in box_params:
        pytest.skip(f"this version calls it {there} itself")
    box_params[there] = box_params.pop(here)
    path = tmp_path / "augment.json"
    path.write_text(json.dumps(data))

    assert from_file(str(path), None).without == set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "holds no `transform`"),
        ("{", "neither JSON nor YAML"),
        ("a: !!python/object/apply:os.system [x]", "neither JSON nor YAML"),
        ("transform: 3", "holds no `transform`"),
    ],
)
def test_a_file_that_is_no_pipeline(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "augment.yaml"
    path.write_text(text)

    with pytest.raises(Refused, match=words):
        from_file(str(path), None)
    with pytest.raises(Refused, match="cannot be read"):
        from_file(str(tmp_path / "none.yaml"), None)


def test_a_file_of_an_unknown_transform(library: Any, tmp_path: Path) -> None:
    path = tmp_path / "augment.json"
    path.write_text(json.dumps({"__version__": "9", "transform": {"__class_fullname__": "os.system", "p": 1}}))

    with pytest.raises(Refused, match="cannot build"):
        from_file(str(path), None)


def test_albumentations_takes_no_driving_scene(library: Any) -> None:
    with pytest.raises(Refused, match="driving"):
        adapt(library.HorizontalFlip(p=1), kind="driving")


@pytest.fixture
def vision() -> Any:
    pytest.importorskip("torch")
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError) as reason:  # RuntimeError: built for another torch
        pytest.skip(f"torchvision cannot be imported: {reason}")
    return v2


VISION: dict[str, Callable[[Any], Any]] = {
    "flip": lambda v2: v2.RandomHorizontalFlip(1),
    "rotation": lambda v2: v2.RandomRotation(40),
    "detection": lambda v2: v2.Compose([
        v2.RandomPhotometricDistort(), v2.RandomZoomOut(side_range=(1, 2)), v2.RandomIoUCrop(),
        v2.RandomHorizontalFlip(), v2.SanitizeBoundingBoxes(),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", VISION)
def test_torchvision_on_tensors(vision: Any, name: str) -> None:
    result = measured(VISION[name](vision))

    assert off(result) == {}
    assert not result.unjudged
    assert {"iou_2d", "mask"} <= set(result.measures)


def test_torchvision_of_the_first_version_leaves_labels(vision: Any) -> None:
    from torchvision import transforms

    found = adapt(transforms.Compose([transforms.RandomHorizontalFlip(1), transforms.ToTensor()]))

    assert any("v1" in note for note in found.notes)
    assert off(measured(transforms.RandomHorizontalFlip(1), seeds=1))["iou_2d"] == "boxes were not flipped"


def test_kornia() -> None:
    augmentation = pytest.importorskip("kornia.augmentation", exc_type=ImportError)
    pipeline = augmentation.AugmentationSequential(
        augmentation.RandomHorizontalFlip(p=1), augmentation.RandomAffine(20.0, p=1), data_keys=["input", "bbox_xyxy"]
    )
    found = adapt(pipeline)

    assert found.without == {"masks", "keypoints"}
    assert [name for name, _ in found.members] == ["RandomHorizontalFlip", "RandomAffine"]
    assert off(measured(pipeline)) == {}
    assert off(measured(augmentation.RandomHorizontalFlip(p=1))) == {}
