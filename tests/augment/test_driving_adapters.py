"""OpenPCDet's, det3d's and mmdetection3d's conventions, by small stand-ins for their classes."""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

import numpy as np
import pytest
from driving_augmentations import SIZE, off

from avreview.augment.child.adapters import Adapted, adapt, mmdet3d, openpcdet
from avreview.augment.child.driving_kind import measure_driving
from avreview.augment.child.task import Task
from avreview.augment.model import Measured
from avreview.probes.child.refusal import Refused

torch = pytest.importorskip("torch")


def measured(found: Adapted, member: int | None = None) -> Measured:
    apply = found.whole if member is None else found.members[member][1]
    task = Task(apply, seeds=2, image_size=SIZE, without=found.without, pictures=False)
    return Measured.from_json({"name": "it", "place": None, **measure_driving(task)})


def turn(points: Any, angle: float) -> Any:
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def rotation(gt_boxes: Any, points: Any, rot_range: Any) -> Any:
    angle = np.random.uniform(*rot_range)
    points[:, :2] = turn(points[:, :2], angle)
    gt_boxes[:, :2] = turn(gt_boxes[:, :2], angle)
    gt_boxes[:, 6] += angle
    gt_boxes[:, 7:9] = turn(gt_boxes[:, 7:9], angle)
    return gt_boxes, points


def scaling(gt_boxes: Any, roi_boxes: Any, points: Any, scale_range: Any) -> Any:
    """As one in OpenPCDet does, which forgets the velocity."""
    factor = np.random.uniform(*scale_range)
    points[:, :3] *= factor
    gt_boxes[:, :6] *= factor
    return gt_boxes, roi_boxes, points


def test_openpcdets_functions_are_measured() -> None:
    right = adapt(functools.partial(rotation, rot_range=[0.2, 0.7]))
    assert right.name == "openpcdet"
    assert off(measured(right)) == {}
    wrong = off(measured(adapt(functools.partial(scaling, scale_range=[1.06, 1.1]))))
    assert list(wrong) == ["velocity"]
    assert wrong["velocity"][1] == "velocity was not scaled"


class Augmentor:
    """A DataAugmentor."""

    def __init__(self) -> None:
        self.data_augmentor_queue = [functools.partial(self.world_rotation, config=[0.2, 0.5])] * 2

    def world_rotation(self, data_dict: Any, config: Any) -> Any:
        boxes, points = rotation(data_dict["gt_boxes"], data_dict["points"], config)
        return {**data_dict, "gt_boxes": boxes, "points": points}

    def forward(self, data_dict: Any) -> Any:
        for step in self.data_augmentor_queue:
            data_dict = step(data_dict=data_dict)
        return data_dict


def test_a_data_augmentor_is_measured_whole_and_step_by_step() -> None:
    found = adapt(Augmentor())
    assert found.name == "openpcdet"
    assert [name for name, _ in found.members] == ["world_rotation", "world_rotation"]
    assert off(measured(found)) == {}
    assert off(measured(found, 0)) == {}


def det3d_rotation(gt_boxes: Any, points: Any) -> Any:
    """det3d turns by r, which is clockwise: the angle is added to it, and places turn the other way."""
    angle = np.random.uniform(0.2, 0.7)
    points[:, :2] = turn(points[:, :2], -angle)
    gt_boxes[:, :2] = turn(gt_boxes[:, :2], -angle)
    gt_boxes[:, 6:8] = turn(gt_boxes[:, 6:8], -angle)
    gt_boxes[:, -1] += angle
    return gt_boxes, points


det3d_rotation.avreview_boxes = "det3d"  # type: ignore[attr-defined]


def test_det3ds_boxes_are_turned_into_a_scenes_and_back() -> None:
    assert off(measured(adapt(det3d_rotation))) == {}
    boxes = np.arange(18.0).reshape(2, 9)
    np.testing.assert_allclose(openpcdet.from_det3d(openpcdet.to_det3d(boxes)), boxes)


class Boxes:
    """As much of LiDARInstance3DBoxes as is used: z at the bottom."""

    def __init__(self, tensor: Any, box_dim: int = 7) -> None:
        self.tensor = tensor
        assert tensor.shape[1] == box_dim

    def rotate(self, angle: float) -> None:
        array = self.tensor.numpy()
        array[:, :2], array[:, 7:9] = turn(array[:, :2], angle), turn(array[:, 7:9], angle)
        array[:, 6] += angle

    def flip(self) -> None:
        self.tensor[:, [1, 6, 8]] *= -1

    def scale(self, factor: float) -> None:
        self.tensor[:, :6] *= factor
        self.tensor[:, 7:] *= factor


class Points:
    def __init__(self, tensor: Any, points_dim: int) -> None:
        self.tensor = tensor


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = types.ModuleType("mmdet3d.structures")
    structures.LiDARInstance3DBoxes, structures.LiDARPoints = Boxes, Points  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmdet3d", types.ModuleType("mmdet3d"))
    monkeypatch.setitem(sys.modules, "mmdet3d.structures", structures)


class GlobalRotScaleTrans:
    """Right, and deferred: it writes down what it did."""

    def __call__(self, results: Any) -> Any:
        angle, factor = np.random.uniform(0.2, 0.7), np.random.uniform(0.9, 0.96)
        results["gt_bboxes_3d"].rotate(angle)
        results["gt_bboxes_3d"].scale(factor)
        results["gt_bboxes_3d"].flip()
        points = results["points"].tensor.numpy()
        points[:, :2] = turn(points[:, :2], angle)
        points[:, :3] *= factor
        points[:, 1] *= -1
        cos, sin = np.cos(angle), np.sin(angle)
        results["pcd_rotation"] = torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        results["pcd_scale_factor"] = factor
        results["transformation_3d_flow"] = ["R", "S", "HF"]
        return results


class GlobalRotScaleTransImage:
    """For cameras alone; `wrong` multiplies on the other side."""

    def __init__(self, *, wrong: bool = False) -> None:
        self.wrong = wrong

    def __call__(self, results: Any) -> Any:
        angle = np.random.uniform(0.2, 0.7)
        results["gt_bboxes_3d"].rotate(angle)
        back = np.eye(4)
        back[:2, :2] = turn(np.eye(2), -angle).T
        for camera, matrix in enumerate(results["lidar2cam"]):
            results["lidar2cam"][camera] = back @ matrix if self.wrong else matrix @ back
        return results


class ResizeImages:
    """With PIL's images, as some pipelines load them."""

    def __call__(self, results: Any) -> Any:
        from PIL import Image

        results["img"] = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in results["img"]]
        matrix = np.eye(4)
        matrix[0, 0], matrix[0, 3] = -1, results["ori_shape"][0] - 1
        results["img_aug_matrix"] = [matrix for _ in results["img"]]
        return results


class LoadPointsFromFile:
    def __call__(self, results: Any) -> Any:
        raise OSError("no such file")


for transform in (GlobalRotScaleTrans, GlobalRotScaleTransImage, ResizeImages, LoadPointsFromFile):
    transform.__module__ = "mmdet3d.datasets.transforms"


def test_mmdetection3ds_results_are_read_as_scenes() -> None:
    found = adapt([LoadPointsFromFile(), GlobalRotScaleTrans()])
    assert found.name == "mmdet3d"
    assert found.notes[0] == "not run, for they load or pack: LoadPointsFromFile"
    assert found.notes[1] == "given no images: no step of the pipeline is of them"
    seen = measured(found)
    assert off(seen) == {}
    assert {"in_box", "velocity", "time"} <= set(seen.measures)


def test_a_pipeline_for_cameras_alone_is_given_no_points() -> None:
    right = adapt(GlobalRotScaleTransImage())
    assert "points" in right.without
    seen = measured(right)
    assert off(seen) == {}
    assert "reprojection" in seen.measures
    wrong = off(measured(adapt(GlobalRotScaleTransImage(wrong=True))))
    assert "lidar2cam) were multiplied on the wrong side" in wrong["reprojection"][1]


class PhotoMetricDistortion:
    def __call__(self, results: Any) -> Any:
        results["img"] = [np.clip(image * 0.9 + 4, 0, 255) for image in results["img"]]
        return results


PhotoMetricDistortion.__module__ = "mmdet3d.datasets.transforms"


def test_what_is_left_to_the_network_is_read_from_what_was_written_down() -> None:
    seen = measured(adapt([GlobalRotScaleTrans(), PhotoMetricDistortion()]))
    assert off(seen) == {}
    assert "reprojection" in seen.measures


def test_a_pipeline_that_takes_pils_images_is_given_them() -> None:
    pytest.importorskip("PIL")
    seen = measured(adapt([ResizeImages(), GlobalRotScaleTrans()]))
    assert off(seen) == {}


def test_a_missing_mmdetection3d_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmdet3d.structures", None)
    with pytest.raises(Refused, match="mmdetection3d cannot be imported"):
        mmdet3d.adapted(GlobalRotScaleTrans(), None)


def test_the_old_convention_is_turned_into_a_scenes_and_back() -> None:
    old = mmdet3d.Classes(Boxes, Points, True)
    boxes = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    there = mmdet3d._boxes_object(boxes, old)
    np.testing.assert_allclose(there.tensor[:, 3:5], boxes[:, [4, 3]])
    np.testing.assert_allclose(mmdet3d._boxes_from(there, old), boxes, atol=1e-6)
