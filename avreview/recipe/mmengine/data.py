"""What a configuration says of its data: classes, splits, sweeps, frames, labels, and how images are normalized."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeGuard

from avreview.recipe.mmengine.amounts import number, numbers, option
from avreview.recipe.mmengine.datasets import Dataset
from avreview.recipe.mmengine.model import model_of
from avreview.recipe.model import Does, InputNormalization, Pipeline, Place, Setting, Split, Step, Unread, Upon
from avreview.recipe.python.values import Table, Unknown, partly, tables

_MOST = 2000
_LOADED = {"BEVLoadMultiViewImageFromFiles": "rgb"}
_TIME_COLUMN = 4  # of nuScenes points: x, y, z, intensity, then the beam, which the lag replaces


def classes(config: Table, found: Sequence[Dataset], unread: list[Unread]) -> tuple[list[str] | None, Place | None]:
    """The class names, of the training data where they are stated there."""
    train = [dataset.table for dataset in found if dataset.role == "train"]
    for table, key in (
        *((option(table, "metainfo"), key) for table in train for key in ("classes", "CLASSES")),
        *((table, key) for table in train for key in ("classes", "class_names")),
        *((config, key) for key in ("class_names", "classes", "CLASSES")),
        *((config.get("metainfo"), key) for key in ("classes", "CLASSES")),
    ):
        value = table.get(key) if isinstance(table, Table) else None
        if isinstance(table, Table) and isinstance(value, Unknown):
            unread.append(value.unread("the class names"))
            return None, None
        if isinstance(table, Table) and _are_names(value):
            return [*value][:_MOST], table.place(key)
    return None, None


def _are_names(value: Any) -> TypeGuard[Sequence[str]]:
    if not isinstance(value, list | tuple) or not value or partly(value) is not None:
        return False
    return all(isinstance(name, str) for name in value)


def splits(found: Sequence[Dataset], unread: list[Unread]) -> list[Split]:
    """The lists of samples that each role names."""
    made: dict[tuple[str, str], Split] = {}
    for dataset in found:
        for key in ("ann_file", "info_path"):
            value = dataset.table.get(key)
            if isinstance(value, Unknown):
                unread.append(value.unread(f"{key} of the {dataset.role} dataset"))
            for file in value if isinstance(value, list | tuple) else (value,):
                if isinstance(file, str) and file:
                    made.setdefault((dataset.role, file), Split(dataset.role, file, dataset.table.place(key)))
    return list(made.values())


def sweeps(found: Sequence[Dataset], pipelines: Sequence[Pipeline]) -> dict[str, Setting]:
    """How many sweeps make a scene, the key frame among them; and those of the objects that are pasted into it."""
    made: dict[str, Setting] = {}
    for pipeline, step in _steps(pipelines):
        amount = step.amounts.get("sweeps")
        if amount is not None and Upon.POINTS in step.upon:
            role = "paste" if Does.PASTE in step.does else pipeline.role
            made.setdefault(role, Setting(int(amount.high), step.at))
    for dataset in found:
        count = number(dataset.table.get("nsweeps"))
        if count is not None:
            made.setdefault(dataset.role, Setting(int(count), dataset.table.place("nsweeps")))
    return made


def time_channel(found: Sequence[Dataset], pipelines: Sequence[Pipeline]) -> dict[str, Setting]:
    """Whether points of several sweeps carry their lag: the column of the loader that holds it is used."""
    made: dict[str, Setting] = {}
    for pipeline, step in _steps(pipelines):
        if step.name in ("LoadPointsFromMultiSweeps", "CustomLoadPointsFromMultiSweeps"):
            used = step.options.get("use_dim", (0, 1, 2, 4))
            columns = list(range(used)) if isinstance(used, int) else numbers(used)
            if columns is not None:
                column = step.options.get("time_dim", _TIME_COLUMN)
                made.setdefault(pipeline.role, Setting(column in columns, step.at))
    for dataset in found:  # det3d adds the column whenever there are several sweeps
        count = number(dataset.table.get("nsweeps"))
        if count is not None and count > 1:
            made.setdefault(dataset.role, Setting(True, dataset.table.place("nsweeps")))
    return made


def frames(config: Table, found: Sequence[Dataset], pipelines: Sequence[Pipeline]) -> dict[str, Setting]:
    """How many frames of images make a sample, the present one among them."""
    made: dict[str, Setting] = {}
    for dataset in found:
        if dataset.table.get("img_info_prototype") == "bevdet_sequential":
            made.setdefault(dataset.role, Setting(2, dataset.table.place("img_info_prototype")))
        for key in ("queue_length", "frames", "multi_adj_frame_id_cfg", "num_ref_frames"):
            count = _frames(key, dataset.table.get(key))
            if count is not None:
                made.setdefault(dataset.role, Setting(count, dataset.table.place(key)))
    for pipeline, step in _steps(pipelines):
        if step.name == "LoadMultiViewImageFromMultiSweepsFiles":
            earlier = number(step.options.get("sweeps_num"))
            if earlier is not None:
                made.setdefault(pipeline.role, Setting(int(earlier) + 1, step.at))
    return made


def _frames(key: str, value: Any) -> int | None:
    if key in ("queue_length", "num_ref_frames"):
        stated = number(value)
        return None if stated is None or stated < 0 else int(stated) + (key == "num_ref_frames")
    if not isinstance(value, list | tuple) or not all(isinstance(part, int) for part in value):
        return None
    if key == "frames":
        return len(value)
    return 1 + len(range(*value)) if 1 <= len(value) <= 3 and 0 not in value[2:] else None


def labels(config: Table, pipelines: Sequence[Pipeline], velocity: Setting | None) -> dict[str, Setting]:
    """Which labels training loads."""
    made: dict[str, Setting] = {}
    switches = {
        "with_bbox_3d": (Upon.BOXES_3D, True), "with_bbox": (Upon.BOXES_2D, False), "with_mask": (Upon.MASKS, False),
        "with_seg": (Upon.MASKS, False), "with_mask_3d": (Upon.MASKS, False), "with_seg_3d": (Upon.MASKS, False),
        "with_keypoints": (Upon.KEYPOINTS, False), "with_ins_inds_3d": (Upon.TRACKS, False),
    }  # fmt: skip
    for pipeline, step in _steps(pipelines):
        if pipeline.role != "train":
            continue
        for key, upon in (("gt_bboxes_3d", Upon.BOXES_3D), ("gt_bboxes", Upon.BOXES_2D), ("gt_masks", Upon.MASKS)):
            if key in step.collects:
                made.setdefault(upon.value, Setting(True, step.at))
        if Does.LOAD not in step.does:
            continue
        if step.name in ("LoadAnnotations", "LoadAnnotations3D", "LoadAnnotations3D_E2E", "LoadTrackAnnotations"):
            flat = step.name in ("LoadAnnotations", "LoadTrackAnnotations")
            for key, (what, default) in switches.items():
                default = key == "with_bbox" if flat else default
                if step.options.get(key, default) is True and not (flat and key.endswith("_3d")):
                    made.setdefault(what.value, Setting(True, step.at))
        elif step.name in ("LoadAnnotationsBEVDepth", "LoadPointCloudAnnotations"):
            made.setdefault(Upon.BOXES_3D.value, Setting(True, step.at))
        elif Upon.MAPS in step.upon:
            made.setdefault(Upon.MAPS.value, Setting(True, step.at))
    if velocity is not None and velocity.value is True and Upon.BOXES_3D.value in made:
        made[Upon.VELOCITIES.value] = velocity
    return made


def tracking(found: Sequence[Dataset], pipelines: Sequence[Pipeline]) -> Setting | None:
    """Whether tracks are predicted: identities are loaded as labels, or the evaluation is one of tracks."""
    for _, step in _steps(pipelines):
        if step.options.get("with_ins_inds_3d") is True:
            return Setting(True, step.at)
    for dataset in found:
        if isinstance(dataset.table.get("tracking"), bool):
            return Setting(dataset.table["tracking"], dataset.table.place("tracking"))
    return None


def cameras(config: Table) -> Setting | None:
    """How many images a sample has, where their number is stated."""
    parts = (config.get("data_config"), config.get("model"))
    for _, table in (pair for part in parts for pair in tables(part)):
        for key in ("Ncams", "num_cams", "num_views"):
            count = table.get(key)
            if isinstance(count, int) and not isinstance(count, bool) and count > 1:
                return Setting(count, table.place(key))
    return None


def normalizations(config: Table, pipelines: Sequence[Pipeline]) -> list[InputNormalization]:
    """What is subtracted and divided by: in the network's preprocessor, or by a transform."""
    made: dict[tuple[Any, ...], InputNormalization] = {}
    for one in (*_preprocessors(config, pipelines), *_by_transforms(pipelines)):
        made.setdefault((one.mean, one.std, one.order, one.size), one)
    return list(made.values())


def _preprocessors(config: Table, pipelines: Sequence[Pipeline]) -> Iterator[InputNormalization]:
    model = model_of(config)
    for table in (model.get("data_preprocessor") if model is not None else None, config.get("data_preprocessor")):
        if isinstance(table, Table):
            mean, std = _channels(table.get("mean")), _channels(table.get("std"))
            if mean is not None or std is not None:
                swapped = any(option(table, key, False) is True for key in ("bgr_to_rgb", "rgb_to_bgr", "to_rgb"))
                order = _order(pipelines, swapped) if len(mean or std or ()) == 3 else None
                yield InputNormalization(mean, std, 1.0, order, None, table.at, inside_network=True)
                return


def _by_transforms(pipelines: Sequence[Pipeline]) -> Iterator[InputNormalization]:
    for pipeline in pipelines:
        for step in pipeline.steps:
            if step.name in ("Normalize", "NormalizeMultiviewImage"):
                mean, std = _channels(step.options.get("mean")), _channels(step.options.get("std"))
                swapped = step.options.get("to_rgb", True)
                order = _order([pipeline], swapped) if isinstance(swapped, bool) else None
                if mean is not None and std is not None:
                    size = _size(pipeline.steps)
                    yield InputNormalization(mean, std, 1.0, order, size, step.at, inside_network=False)


def _order(pipelines: Sequence[Pipeline], swapped: bool) -> str | None:
    """The order of channels behind a swap: loaders give them as OpenCV does, or say otherwise."""
    loading = (s for _, s in _steps(pipelines) if Does.LOAD in s.does and Upon.IMAGE in s.upon)
    orders = {_LOADED.get(step.name, str(step.options.get("channel_order", "bgr"))) for step in loading}
    if len(orders) > 1 or not orders <= {"bgr", "rgb"}:
        return None
    loaded = orders.pop() if orders else "bgr"
    return loaded if not swapped else "rgb" if loaded == "bgr" else "bgr"


def _channels(value: Any) -> tuple[float, ...] | None:
    found = numbers(value) if isinstance(value, list | tuple) else None
    return tuple(found) if found else None


def _size(steps: Iterable[Step]) -> tuple[int, int] | None:
    """The size that images are cropped to, where padding leaves it as it is."""
    size: tuple[int, int] | None = None
    for step in steps:
        for way in ("data_aug_conf", "data_config"):
            settings = step.options.get(way)
            stated = settings.get("final_dim", settings.get("input_size")) if isinstance(settings, dict) else None
            found = numbers(stated) if isinstance(stated, list | tuple) else None
            if found is not None and len(found) == 2:
                size = int(found[0]), int(found[1])
        divisor = step.options.get("size_divisor")
        if Does.PAD in step.does and size is not None and isinstance(divisor, int) and divisor > 0:
            size = None if any(side % divisor for side in size) else size
    return size


def _steps(pipelines: Sequence[Pipeline]) -> Iterator[tuple[Pipeline, Step]]:
    return ((pipeline, step) for pipeline in pipelines for step in pipeline.steps)
