"""A reference that is a live torch module: TorchScript, an exported program, or what the person's own code builds.

Everything that user code does wrong (raises, exits, returns something odd) becomes one line, as `Refused`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from avreview.load.wording import one_line, quoted
from avreview.probes.child.leaves import leaves, named, to_tensor
from avreview.probes.child.refusal import Refused
from avreview.stages import stage

Array = np.ndarray[Any, Any]

LOADING = "loading the reference"
RUNNING = "running the reference"
FACTORY = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)")  # pkg.module:factory
_LONGEST = 200  # characters of what an exception says
_NO_TORCH = "needs PyTorch for this reference; pip install 'avreview[torch]'"
_NOT_ONE = "a factory returns a torch.nn.Module, or (module, example_inputs)"


class Live:
    """A torch module that can be called with a graph's inputs.

    `example` are the inputs that a factory gave with it: a tuple of the positional ones, a dict of keywords, or None.
    """

    def __init__(self, module: Any, example: Any = None) -> None:
        self.module = module
        self.example = example

    def call(self, feed: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array] | list[Array]:
        """The module's outputs for the inputs `feed`, given in the order of `names`.

        They go by keyword where all names are parameters of forward, else by position; nested inputs take the form
        of `example`. The outputs have names where the module names all of them. Raises Refused.
        """
        import torch

        positional, keywords = self.arguments(feed, names)
        stage(RUNNING)
        with guarded("the reference"), torch.no_grad():
            returned = self.module(*positional, **keywords)
        with guarded("the reference's output"):
            found = list(leaves(returned))
        if not found:
            raise Refused(f"the reference returned no tensor, but {_kind(returned)}")
        return named(found)

    def arguments(self, feed: Mapping[str, Array], names: Sequence[str]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The inputs as tensors, by position and by keyword. Raises Refused where forward cannot take as many."""
        return self._arguments({name: to_tensor(feed[name], self._float()) for name in names})

    def _arguments(self, tensors: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """How forward takes the inputs: by position, and by keyword."""
        parameters, open_ended = self._parameters()
        if set(tensors) <= set(parameters):
            in_order = parameters[: len(tensors)] == list(tensors)  # an exported program insists on its own way
            return (list(tensors.values()), {}) if in_order else ((), dict(tensors))
        nested = self._like_example(list(tensors.values()))
        if nested is not None:
            return nested
        if parameters and not open_ended and len(tensors) > len(parameters):
            raise Refused(
                f"the reference takes {len(parameters)} inputs ({_some(parameters)}), the export {len(tensors)} "
                f"({_some(tensors)}); give a factory whose forward takes these"
            )
        return list(tensors.values()), {}

    def _like_example(self, tensors: Sequence[Any]) -> tuple[Sequence[Any], Mapping[str, Any]] | None:
        """The tensors in the nested form of the example, as far as it is nested and holds as many."""
        from torch.utils import _pytree

        if self.example is None:
            return None
        held, form = _pytree.tree_flatten(self.example)
        if len(held) != len(tensors):
            return None
        filled = _pytree.tree_unflatten(list(tensors), form)
        if isinstance(filled, dict):
            return (), filled
        return (filled if isinstance(filled, tuple | list) else (filled,)), {}

    def _parameters(self) -> tuple[list[str], bool]:
        """The names of forward's parameters, and whether it takes any number of them."""
        import inspect

        with contextlib.suppress(Exception):
            schema = getattr(getattr(self.module, "forward", None), "schema", None)
            if schema is not None:  # TorchScript
                return [argument.name for argument in schema.arguments][1:], False
        with contextlib.suppress(TypeError, ValueError):
            parameters = inspect.signature(self.module.forward).parameters.values()
            single = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            return single, any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
        return [], True

    def _float(self) -> Any:
        """The floating-point type of the module's parameters, or None."""
        with contextlib.suppress(Exception):
            return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), None)
        return None


def open_live(reference: str) -> Live:
    """The live module that `--reference` names: a TorchScript file, a .pt2 file or `pkg.module:factory`, in eval mode.

    Raises Refused, with what to give instead, where there is none.
    """
    if not os.path.exists(reference):
        return _from_factory(reference)
    kind = _file_kind(reference)
    stage(LOADING)
    torch = _torch()
    if kind == "torchscript":
        with guarded("loading the TorchScript reference", "torch"):
            module = torch.jit.load(reference, map_location="cpu")
    else:
        from avreview.probes.child.programs import load_program

        with guarded("loading the exported program", "torch"):
            module = load_program(reference)
    with contextlib.suppress(NotImplementedError):  # an exported program has one mode, that of its export
        module.eval()
    return Live(module)


def _file_kind(path: str) -> str:
    """`torchscript` or `pt2`. Raises Refused, with what to do, for every other file."""
    from avreview.errors import ArtifactError
    from avreview.load import open_artifact

    try:
        artifact = open_artifact(path)
    except ArtifactError as error:
        raise Refused(f"the reference {quoted(os.path.basename(path))} {error.wrong}; {error.remedy}") from None
    kind = artifact.provenance.format
    if kind in ("torchscript", "pt2"):
        return kind
    instead = "give TorchScript, a .pt2 file, or pkg.module:factory that builds the model"
    if kind == "onnx":
        raise Refused(f"needs a PyTorch model as the reference, and this one is an ONNX export; {instead}")
    checkpoint = artifact.checkpoint
    if checkpoint is not None and checkpoint.modules:
        raise Refused(f"a pickled module runs code of its own when it is loaded, and is not taken; {instead}")
    raise Refused(f"the reference holds weights without the code that uses them; {instead} and loads them")


def _from_factory(reference: str) -> Live:
    found = FACTORY.fullmatch(reference)
    if found is None:
        raise Refused(f"the reference {quoted(reference)} is no file and not of the form pkg.module:factory")
    stage(LOADING)
    torch = _torch()
    module_name, path = found.groups()
    factory = _attribute(_imported(module_name), path, reference)
    if not isinstance(factory, torch.nn.Module):
        if not callable(factory):
            raise Refused(f"the reference {reference} is {_kind(factory)}; {_NOT_ONE}")
        with guarded(f"the factory {reference}"):
            factory = factory()
    module, example = factory, None
    if isinstance(factory, tuple | list) and len(factory) == 2 and isinstance(factory[0], torch.nn.Module):
        module, example = factory
        example = (example,) if isinstance(example, torch.Tensor | np.ndarray) else example
    if not isinstance(module, torch.nn.Module):
        raise Refused(f"the factory {reference} returned {_kind(factory)}; {_NOT_ONE}")
    with guarded(f"putting the module of {reference} into eval mode"):
        module = module.cpu().eval()
    return Live(module, example)


def _imported(name: str) -> Any:
    try:
        with guarded(f"importing {name}", passing=(ModuleNotFoundError,)):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise Refused(
                f"there is no Python module {error.name}, neither in the working folder nor installed"
            ) from None
        raise Refused(f"importing {name} raised {_said(error)}") from None


def _attribute(module: Any, path: str, reference: str) -> Any:
    value = module
    for part in path.split("."):
        with guarded(f"reading {reference}", passing=(AttributeError,)):
            try:
                value = getattr(value, part)
            except AttributeError:
                raise Refused(f"the module {module.__name__} has nothing called {path}") from None
    return value


def _torch() -> Any:
    try:
        with guarded("importing torch", passing=(ImportError,)):
            import torch
    except ImportError:
        raise Refused(_NO_TORCH) from None
    return torch


@contextlib.contextmanager
def guarded(what: str, by: str = "", passing: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Turns whatever is raised inside, sys.exit too, into Refused, except for `passing` and lack of memory."""
    passing = (MemoryError, Refused, *passing)
    try:
        yield
    except passing:
        raise
    except SystemExit as error:
        raise Refused(
            f"{what} called sys.exit({'' if error.code is None else one_line(repr(error.code), 20)})"
        ) from None
    except BaseException as error:
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise MemoryError(one_line(str(error), _LONGEST)) from None
        raise Refused(f"{what} {'failed: ' + by if by else 'raised'} {_said(error)}") from None


def _said(error: BaseException) -> str:
    text = one_line(_first_line(str(error)), _LONGEST)
    return f"{type(error).__name__}{': ' if text else ''}{text}"


def _first_line(text: str) -> str:
    """The line that says what went wrong: of TorchScript's, which tells the code first, the last one."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if lines and lines[0].startswith("The following operation failed in the TorchScript interpreter"):
        return lines[-1]
    return " ".join(lines[:3])


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {one_line(name, 60)}"


def _some(names: Sequence[str] | Mapping[str, Any]) -> str:
    first = list(names)[:4]
    return ", ".join(map(quoted, first)) + (", …" if len(names) > len(first) else "")
