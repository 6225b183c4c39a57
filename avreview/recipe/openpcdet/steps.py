"""The pipelines of an OpenPCDet recipe, from its DATA_CONFIG."""

from __future__ import annotations

from collections.abc import Iterator

from avreview.load.wording import quoted
from avreview.recipe.model import Amount, Does, Pipeline, Step, Upon
from avreview.recipe.openpcdet.transforms import AUGMENTATIONS, FORKS, PROCESSORS, Limits, Transform
from avreview.recipe.placed import Notes, Placed

MODES = ("train", "test")
_MOST_STEPS = 500


class Switched:
    """Which augmentations are off from an epoch on, and which come on then (the hook DisableAugmentationHook)."""

    def __init__(self, root: Placed, data: Placed, notes: Notes) -> None:
        self.off = set(notes.texts(data.get("DATA_AUGMENTOR", "DISABLE_AUG_LIST")) or ())
        hook = root.get("HOOK", "DisableAugmentationHook")
        last = notes.whole(hook.get("NUM_LAST_EPOCHS")) if hook is not None else None
        epochs = notes.whole(root.get("OPTIMIZATION", "NUM_EPOCHS"))
        self.epoch = None if last is None or epochs is None else float(max(epochs - last, 0))
        self.later_off = set(notes.texts(hook.get("DISABLE_AUG_LIST")) or ()) if hook is not None else self.off

    def amounts(self, name: str) -> dict[str, Amount] | None:
        """The amounts that say from when to when it is on; None where it is never."""
        is_off, is_later_off = name in self.off, name in self.later_off
        if is_off and (is_later_off or self.epoch is None):
            return None
        if self.epoch is None or is_off == is_later_off:
            return {}
        return {"start_epoch" if is_off else "stop_epoch": Amount(self.epoch, self.epoch, "epoch")}


class StepReader:
    """Reads the steps of both pipelines."""

    def __init__(self, root: Placed, data: Placed, notes: Notes) -> None:
        self._root = root
        self._data = data
        self._notes = notes
        augmentor = data.get("DATA_AUGMENTOR")  # perhaps a list, without DISABLE_AUG_LIST
        is_mapping = augmentor is not None and augmentor.is_mapping
        self._augmentations = self._named(data.get("DATA_AUGMENTOR", "AUG_CONFIG_LIST") if is_mapping else augmentor)
        self._processors = self._named(data.get("DATA_PROCESSOR"))
        self._keeps_image_matrix = any(name == "image_calibrate" for name, _ in self._processors)

    def pipelines(self) -> list[Pipeline]:
        """The training and the test pipeline; none where the recipe states neither."""
        if not self._augmentations and not self._processors:
            return []
        steps = {"train": [*self._camera("train"), *self._augmented()], "test": [*self._camera("test")]}
        first = self._data.get("DATA_AUGMENTOR") or self._data.get("DATA_PROCESSOR") or self._data
        return [
            Pipeline(mode, [*steps[mode], *(self._processed(*entry, mode) for entry in self._processors)], first.at)
            for mode in MODES
        ]

    def _named(self, node: Placed | None) -> list[tuple[str, Placed]]:
        """The entries of a list of transforms by their names. Raises RecipeError for what is no such list."""
        if node is None:
            return []
        if not node.is_list:
            raise node.error("is no list of transforms", "write one, each with its NAME")
        if len(node.value) > _MOST_STEPS:
            raise node.error(f"has more than {_MOST_STEPS} transforms", "shorten it")
        found = []
        for entry in node.value:
            name = entry.get("NAME")
            if name is None or not isinstance(name.value, str):
                raise entry.error("is a transform without a NAME", "name it")
            found.append((name.value, entry))
        return found

    def _augmented(self) -> Iterator[Step]:
        switched = Switched(self._root, self._data, self._notes)
        for name, node in self._augmentations:
            epochs = switched.amounts(name)
            if epochs is None:
                continue
            known = AUGMENTATIONS.get(name) or FORKS.get(name)
            if known is None:
                yield self._unknown(name, node)
                continue
            amounts = {**self._limits(known, node), **self._flips(known, node), **epochs}
            if name == "gt_sampling" and self._samples_nothing(node):
                amounts["probability"] = Amount(0.0, 0.0, "share")
            upon = self._upon(name, known, node)
            yield Step(name, node.at, known.does, upon, known.is_random, amounts=amounts, options=_options(node))

    def _unknown(self, name: str, node: Placed) -> Step:
        self._notes.add(name, f"no transform of OpenPCDet is called {quoted(name)}", node.at)
        return Step(name, node.at, is_known=False, options=_options(node))

    def _upon(self, name: str, known: Transform, node: Placed) -> frozenset[Upon]:
        """What an augmentation changes consistently, with these options and beside these others."""
        upon = known.upon
        if name == "gt_sampling" and node.get("IMG_AUG_TYPE") is not None:
            upon |= {Upon.IMAGE, Upon.BOXES_2D}
        if name == "random_world_flip" and not {"x", "y"} <= set(self._notes.texts(node.get("ALONG_AXIS_LIST")) or ()):
            upon -= {Upon.CALIBRATION}
        if name == "imgaug" and not self._keeps_image_matrix:
            upon -= {Upon.CALIBRATION}
        if name == "random_world_scaling" and self._notes.flag(self._data.get("USE_PREDBOX")):
            upon -= {Upon.VELOCITIES}  # global_scaling_with_roi_boxes scales centre and size alone
        return upon

    def _limits(self, known: Transform, node: Placed) -> dict[str, Amount]:
        chance = self._notes.number(node.get("PROBABILITY")) if known.flips is None else None
        found = {} if chance is None else {"probability": Amount(chance, chance, "share")}
        for limits in known.limits:
            bounds = self._bounds(node.get(limits.option), limits)
            if bounds is not None:
                found[limits.amount] = Amount(*bounds, limits.unit)
        return found

    def _bounds(self, node: Placed | None, limits: Limits) -> tuple[float, float] | None:
        if node is None:
            return None
        if limits.form == "deviation":
            one = None if node.is_list else self._notes.number(node)
            deviations = self._notes.numbers(node) if node.is_list else None if one is None else (one,)
            return (-max(map(abs, deviations)), max(map(abs, deviations))) if deviations else None
        if not node.is_list:
            number = self._notes.number(node)
            return None if number is None else (-number, number)
        pair = self._notes.numbers(node, 2)
        return None if pair is None else (pair[0], pair[1])

    def _flips(self, known: Transform, node: Placed) -> dict[str, Amount]:
        flips = known.flips
        if flips is None or node.get(flips.option) is None:
            return {}
        chance = self._notes.number(node.get("PROBABILITY"))
        if "" in flips.axes:
            listed = [""] if self._notes.flag(node.get(flips.option)) else []
        else:
            listed = self._notes.texts(node.get(flips.option)) or []
        shares = {name: (0.5 if chance is None else chance) * (axis in listed) for axis, name in flips.axes.items()}
        return {name: Amount(share, share, "share") for name, share in shares.items()}

    def _samples_nothing(self, node: Placed) -> bool:
        groups = self._notes.texts(node.get("SAMPLE_GROUPS"))
        return groups is not None and all(group.rpartition(":")[2].strip() == "0" for group in groups)

    def _camera(self, mode: str) -> Iterator[Step]:
        """The resizing and cropping that the nuScenes dataset does before everything else (crop_image)."""
        camera = self._data.get("CAMERA_CONFIG")
        image = camera.get("IMAGE") if camera is not None else None
        if camera is None or image is None or self._notes.flag(camera.get("USE_CAMERA")) is False:
            return
        scale = self._notes.numbers(image.get(f"RESIZE_LIM_{mode.upper()}"), 2)
        upon = frozenset({Upon.IMAGE, Upon.CALIBRATION} if self._keeps_image_matrix else {Upon.IMAGE})
        amounts = {} if scale is None else {"scale": Amount(scale[0], scale[1], "ratio")}
        does = frozenset({Does.RESIZE, Does.CROP})
        yield Step("crop_image", image.at, does, upon, mode == "train", amounts=amounts, options=_options(image))

    def _processed(self, name: str, node: Placed, mode: str) -> Step:
        known = PROCESSORS.get(name)
        if known is None:
            return self._unknown(name, node)
        does, upon, amounts = known.does, known.upon, {}
        if name == "mask_points_and_boxes_outside_range":
            keeps_boxes = mode == "test" or not self._notes.flag(node.get("REMOVE_OUTSIDE_BOXES"))
            upon = frozenset({Upon.POINTS}) if keeps_boxes else upon
            amounts = self._range()
        elif name == "transform_points_to_voxels" and self._notes.flag(node.get("DOUBLE_FLIP")):
            does |= {Does.TEST_TIME}
        elif self._is_off(name, node, mode):
            amounts = {"probability": Amount(0.0, 0.0, "share")}
        is_random = known.is_random and not amounts.get("probability")
        return Step(name, node.at, does, upon, is_random, amounts=amounts, options=_options(node))

    def _is_off(self, name: str, node: Placed, mode: str) -> bool:
        """Whether points are neither shuffled nor sampled in one of the modes."""
        if name == "shuffle_points":
            return self._notes.flag(node.get("SHUFFLE_ENABLED", mode)) is False
        return name == "sample_points" and self._notes.number(node.get("NUM_POINTS", mode)) == -1

    def _range(self) -> dict[str, Amount]:
        bounds = self._notes.numbers(self._data.get("POINT_CLOUD_RANGE"), 6)
        return {} if bounds is None else {"range": Amount(min(bounds[:2]), max(bounds[3:5]), "m")}


def _options(node: Placed) -> dict[str, object]:
    return {key: entry.plain() for key, entry in node.entries().items() if key != "NAME"}
