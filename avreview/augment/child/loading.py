"""From the target to the augmentation: importing the person's module and calling their factory.

Everything that goes wrong there becomes one line, as `Refused`.
"""

from __future__ import annotations

import importlib
import inspect
import operator
import os
import re
from collections.abc import Mapping
from typing import Any

from avreview.augment.child.adapters import Adapted, adapt
from avreview.augment.child.returned import kind_of
from avreview.augment.child.usercode import said_by
from avreview.load.wording import one_line, quoted
from avreview.probes.child.refusal import Refused
from avreview.stages import stage

TARGET = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)")  # pkg.module:factory
LOADING, BUILDING = "importing the augmentation", "building the augmentation"
_GIVE = "a factory returns the augmentation: something that takes a scene (a dict) and returns one"


def load(target: str, adapter: str | None, kind: str | None) -> Adapted:
    """The augmentation of `pkg.module:factory`, or of an albumentations file. Raises Refused."""
    if target.endswith(".py"):
        own = os.path.splitext(os.path.basename(target))[0]
        said = f"{quoted(target)} is Python; name the factory in it, from its folder:"
        raise Refused(f"{said} {one_line(own, 80)}:factory")
    if os.path.exists(target):
        return _from_file(target, kind)
    matched = TARGET.fullmatch(target)
    if matched is None:
        raise Refused(f"{quoted(target)} is no file and not of the form pkg.module:factory")
    stage(LOADING)
    module, path = matched.groups()
    value = _attribute(_imported(module), path, target)
    declared = getattr(value, "avreview_scene", None)
    stage(BUILDING)
    built = _built(value, target)
    try:
        return adapt(built, adapter, kind, said=declared)
    except (Refused, MemoryError):
        raise
    except Exception as error:
        raise Refused(f"what {target} returned could not be taken: {said_by(error)}") from None


def _from_file(path: str, kind: str | None) -> Adapted:
    """What is in a file is told by the library that wrote it."""
    stage(BUILDING)
    adapter = importlib.import_module("avreview.augment.child.adapters.albumentations")
    try:
        found: Adapted = adapter.from_file(path, kind)
    except (Refused, MemoryError):
        raise
    except Exception as error:
        raise Refused(f"{quoted(path)} is no albumentations pipeline: {said_by(error)}") from None
    return found


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise Refused(
                f"there is no Python module {error.name}, neither in the working folder nor installed"
            ) from None
        raise Refused(f"importing {name} raised {said_by(error)}; install what it needs") from None
    except MemoryError:
        raise
    except BaseException as error:
        _own(error)
        raise Refused(f"importing {name} raised {said_by(error)}") from None


def _attribute(module: Any, path: str, target: str) -> Any:
    try:
        return operator.attrgetter(path)(module)
    except AttributeError:
        raise Refused(f"the module {module.__name__} has no {quoted(path)}") from None
    except Exception as error:
        raise Refused(f"reading {target} raised {said_by(error)}") from None


def _built(value: Any, target: str) -> Any:
    """What the factory returns; the value itself where it is no factory but the augmentation."""
    if isinstance(value, Mapping | list | tuple) or not _is_factory(value):
        if not callable(value) and not isinstance(value, Mapping | list | tuple):
            raise Refused(f"{target} is {kind_of(value)}; {_GIVE}")
        return value
    try:
        built = value()
    except MemoryError:
        raise
    except BaseException as error:
        _own(error)
        raise Refused(f"the factory {target} raised {said_by(error)}") from None
    if built is None:
        raise Refused(f"the factory {target} returned nothing; {_GIVE}")
    if not callable(built) and not isinstance(built, Mapping | list | tuple):
        raise Refused(f"the factory {target} returned {kind_of(built)}; {_GIVE}")
    return built


def _is_factory(value: Any) -> bool:
    """Whether it is a class, or a function that needs no argument."""
    if inspect.isclass(value):
        return True
    if not (inspect.isfunction(value) or inspect.isbuiltin(value) or inspect.ismethod(value)):
        return False
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return True
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _own(error: BaseException) -> None:
    """Raises again what is not the person's code's doing."""
    if isinstance(error, KeyboardInterrupt):
        raise error
