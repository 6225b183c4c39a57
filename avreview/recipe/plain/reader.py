"""avreview's own plain form of a recipe: YAML (or JSON) with `schema: avreview/recipe/1`, held against its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avreview.config.document import ConfigError, Document
from avreview.config.document import Place as Keys
from avreview.recipe.files import RecipeError, RecipeFiles
from avreview.recipe.model import (
    GroupRule,
    InputNormalization,
    NormSetting,
    Place,
    Recipe,
    RecipeDropout,
    RecipeOptimizer,
    Setting,
    Split,
)  # fmt: skip
from avreview.recipe.plain.steps import pipelines

if TYPE_CHECKING:
    from avreview.recipe.dialects import Candidate

FAMILY = "avreview/recipe/"
_REMEDY = "see docs/recipes.md, or `avreview schema recipe`"
_ROLES = ("train", "val", "test", "paste")
_SETTINGS = (
    "velocity", "tracking", "epochs", "schedule", "batch_size", "devices", "accumulation", "cameras",
    "sync_norm", "pretrained", "precision",
)  # fmt: skip


def recognises(candidate: Candidate) -> bool:
    data = candidate.data
    return isinstance(data, dict) and str(data.get("schema", "")).startswith(FAMILY)


def read(candidate: Candidate, files: RecipeFiles) -> Recipe:
    """Reads it. Raises RecipeError, with line and column, at the first place that is not as the schema says."""
    from avreview.config.document import parse_document
    from avreview.config.schemas import schema
    from avreview.config.validation import validate

    try:
        document = parse_document(candidate.path, candidate.text)  # strictly: no aliases, no key twice
        validate(document, schema("recipe"))
        return _Reader(candidate.path, document, files).recipe()
    except ConfigError as error:
        line, column = error.mark if error.mark is not None else (None, None)
        wrong, _, hint = error.wrong.partition("; did you mean ")
        remedy = f"did you mean {hint} Also {_REMEDY}" if hint else _REMEDY
        raise RecipeError(candidate.path, line, wrong, remedy, column) from None


class Stated:
    """A mapping of the document and its place: what it states, each with the line where it does."""

    def __init__(self, document: Document, data: Mapping[str, Any], keys: Keys) -> None:
        self.document = document
        self.data = data
        self.keys = keys

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    @property
    def at(self) -> Place:
        return self.place()

    def place(self, *keys: str | int) -> Place:
        """The line of a value in it; of itself where the file does not tell."""
        mark = self.document.marks.get((*self.keys, *keys)) or self.document.marks.get(self.keys)
        return Place(str(self.document.path), mark.line if mark is not None else None)

    def get(self, key: str, default: Any = None) -> Any:
        value = self.data.get(key)
        return default if value is None else value

    def setting(self, key: str) -> Setting | None:
        return Setting(self.data[key], self.place(key)) if key in self else None

    def settings(self, key: str) -> dict[str, Setting]:
        """What a mapping in it states, key by key."""
        inner = self.inner(key)
        found = {name: inner.setting(name) for name in inner.data}
        return {name: setting for name, setting in found.items() if setting is not None}

    def inner(self, key: str) -> Stated:
        return Stated(self.document, self.get(key, {}), (*self.keys, key))

    def entries(self, key: str) -> list[Stated]:
        """The mappings in a list."""
        return [
            Stated(self.document, entry, (*self.keys, key, number)) for number, entry in enumerate(self.get(key, []))
        ]

    def listed(self, key: str) -> dict[str, Setting]:
        """The words in a list: each with its own line."""
        return {word: Setting(True, self.place(key, number)) for number, word in enumerate(self.get(key, []))}

    def wrong(self, wrong: str, *keys: str) -> ConfigError:
        return self.document.error((*self.keys, *keys), wrong)


class _Reader:
    def __init__(self, path: str, document: Document, files: RecipeFiles) -> None:
        self._path = path
        self._files = files
        self._root = Stated(document, document.data, ())

    def recipe(self) -> Recipe:
        root = self._root
        plain: dict[str, Any] = {key: root.setting(key) for key in _SETTINGS}
        return Recipe(
            path=self._path,
            dialect="plain",
            files=self._files.digests,
            pipelines=pipelines(root),
            sensors=root.listed("sensors"),
            labels=root.listed("labels"),
            classes=root.get("classes"),
            classes_at=root.place("classes") if "classes" in root else None,
            sweeps=root.settings("sweeps"),
            time_channel=root.settings("time_channel"),
            frames=root.settings("frames"),
            normalization=[_normalization(entry) for entry in root.entries("normalization")],
            optimizer=_optimizer(root.inner("optimizer")) if "optimizer" in root else None,
            norms=[_norm(entry) for entry in root.entries("norms")],
            ema=_ema(root),
            frozen=[Setting(name, root.place("frozen", number)) for number, name in enumerate(root.get("frozen", []))],
            dropouts=[
                RecipeDropout(float(entry.get("rate")), entry.get("module"), entry.at, entry.get("name", "dropout"))
                for entry in root.entries("dropouts")
            ],
            splits=[Split(entry.get("split"), entry.get("file"), entry.at) for entry in root.entries("splits")],
            steps=root.setting("optimizer_steps"),
            **plain,
        )


def _ema(root: Stated) -> Setting | None:
    """Its decay where one is told, or else whether there is one."""
    if root.get("ema") is False and "ema_decay" in root:
        raise root.wrong("ema_decay: has no meaning beside `ema: false`", "ema_decay")
    return root.setting("ema_decay") or root.setting("ema")


def _normalization(entry: Stated) -> InputNormalization:
    mean, std, size = (entry.get(key) for key in ("mean", "std", "size"))
    if mean and std and len(mean) != len(std):
        raise entry.wrong(f"std: has {len(std)} values and mean {len(mean)}; give one a channel", "std")
    if size and len(size) != 2:
        raise entry.wrong("size: has to be height and width", "size")
    return InputNormalization(
        mean=tuple(map(float, mean)) if mean else None,
        std=tuple(map(float, std)) if std else None,
        scale=entry.get("scale"),
        order=entry.get("order"),
        size=(size[0], size[1]) if size else None,
        at=entry.at,
        inside_network=entry.get("inside_network"),
    )


def _optimizer(entry: Stated) -> RecipeOptimizer:
    return RecipeOptimizer(
        entry.get("name"),
        entry.at,
        rate=entry.setting("rate"),
        decay=entry.setting("decay"),
        momentum=entry.setting("momentum"),
        rules=[_group(group) for group in entry.entries("groups")],
        decays=dict(entry.get("decays", {})),
        decays_outside=entry.get("decays_outside", False),
        options=entry.get("options", {}),
    )


def _group(entry: Stated) -> GroupRule:
    kind = entry.get("kind")
    if kind in ("name", "module") and "pattern" not in entry:
        raise entry.wrong(f"lacks 'pattern', the part of the name that `kind: {kind}` goes by")
    return GroupRule(kind, entry.get("pattern", kind), entry.get("rate_factor"), entry.get("decay_factor"), entry.at)


def _norm(entry: Stated) -> NormSetting:
    frozen = (entry.get("frozen_statistics"), entry.get("frozen_parameters"))
    return NormSetting(entry.get("kind"), entry.get("module"), entry.at, *frozen)
