"""From what a person's factory returns to a function on scenes: one module an interface, told by the object itself.

An adapter is a module with `fits(value) -> bool`, which looks at classes and imports nothing heavy, and
`adapted(value, kind) -> Adapted`, where `kind` is what was asked for, or None. Both raise `Refused`, with the words
for the person, for what cannot be taken.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from avreview.augment.model import KINDS
from avreview.load.wording import quoted
from avreview.probes.child.refusal import Refused

Apply = Callable[[Any, int], Any]  # a scene (of a sequence: the list of them) and a seed → the augmented scene

# In the order in which they are asked; the last takes every callable.
ADAPTERS = ("albumentations", "torchvision", "kornia", "mmdet3d", "openpcdet", "plain")


class Adapted(NamedTuple):
    """An augmentation as a function on scenes of one kind.

    `whole` and each of `members` takes a scene of its own to change as it likes, and seeds every generator it knows.
    `image_size` is the (height, width) that the augmentation is written for, None where any will do. `without` names
    keys of the scene that it is not given, because the pipeline it belongs to has nothing of the kind.
    """

    name: str
    kind: str
    whole: Apply
    members: Sequence[tuple[str, Apply]] = ()
    image_size: tuple[int, int] | None = None
    without: frozenset[str] = frozenset()
    notes: Sequence[str] = ()


def adapt(value: Any, name: str | None = None, kind: str | None = None, said: Any = None) -> Adapted:
    """The augmentation that a factory returned, by the adapter of that name or the first that it fits.

    What the value, or its factory (`said`), says of itself in an attribute `avreview_scene` (a kind, or a mapping with
    `kind`, `image_size`, `without`) counts where the person asked for nothing else. Raises Refused.
    """
    said = _said(said if said is not None else getattr(value, "avreview_scene", None))
    kind = kind or said.get("kind")
    if kind is not None and kind not in KINDS:
        raise Refused(f"no scene is of the kind {quoted(str(kind))}; there are {', '.join(KINDS)}")
    if name is not None and name not in ADAPTERS:
        raise Refused(f"no adapter is called {quoted(name)}; there are {', '.join(ADAPTERS)}")
    found = _module(name or _fitting(value)).adapted(value, kind)
    return _with_words(found, said)


def _fitting(value: Any) -> str:
    return next(name for name in ADAPTERS if name == ADAPTERS[-1] or _module(name).fits(value))


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def _said(said: Any) -> Mapping[str, Any]:
    if isinstance(said, str):
        return {"kind": said}
    return said if isinstance(said, Mapping) else {}


def _with_words(found: Adapted, said: Mapping[str, Any]) -> Adapted:
    """With the image size and the keys left out that the value names. Raises Refused for what is not of that form."""
    size, without = said.get("image_size"), said.get("without")
    if size is not None:
        try:
            height, width = (int(number) for number in size)
        except (TypeError, ValueError):
            height = width = 0
        if not (64 <= height <= 4096 and 64 <= width <= 4096):
            raise Refused("the image_size of avreview_scene is not (height, width) of 64 to 4096 pixels each")
        found = found._replace(image_size=(height, width))
    if without is not None:
        names = [without] if isinstance(without, str) else list(without)
        found = found._replace(without=frozenset(map(str, names)))
    return found
