"""A TorchScript archive (`torch.jit.save`): the tree of its modules with their tensors, and what each one does.

`data.pkl` holds the module objects, `code/` their classes as text, `constants.pkl` the tensors that the code itself
names: all weights of a frozen module, whose tree is lost. Format: torch/csrc/jit/serialization/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from avreview.artifact import Artifact, Provenance, Tensor
from avreview.checkpoint import Checkpoint, Module, NamedCode, WeightSet
from avreview.errors import ArtifactError
from avreview.load.aten.attributes import attributes_of, keeps_attributes
from avreview.load.context import OpenContext
from avreview.load.digest import Digest
from avreview.load.pickles.inert import Global, Instance
from avreview.load.pickles.machine import PickleError, PickleLimits, unpickle
from avreview.load.programs.one_set import check_only_set
from avreview.load.programs.torchscript_code import ClassCode, Library, read_code, readable_name
from avreview.load.programs.torchscript_forward import Budget, TooLong, forward
from avreview.load.pytorch.globals import Globals, Parameter
from avreview.load.pytorch.storages import Storages
from avreview.load.pytorch.tensors import Tensors
from avreview.load.pytorch.zip_file import Members
from avreview.load.source import Source
from avreview.load.wording import quoted
from avreview.load.zip_archive import ZipArchive

_REMEDY = "save the module again"
_MOST_MODULES = 100_000  # modules in the tree; a module that is shared counts at each of its places
_MOST_PATH = 2_000  # characters of a module's path
_STEPS = 2_000_000  # of all forwards together
_CODE, _SUFFIX = "code/", ".py"
_FILES = re.compile(rb"(?:\btorch|\bops\.aten)\.(save|load|from_file)\(")  # operators that open a path
_PLAIN = (bool, int, float, str, type(None))


class _Held(NamedTuple):
    """What a pickle of the archive holds."""

    value: Any
    code: list[NamedCode]


def open_torchscript(source: Source, archive: ZipArchive, context: OpenContext) -> Artifact:
    """The artifact of a TorchScript archive. Raises ArtifactError for one that is damaged."""
    check_only_set(source.path, "a TorchScript archive", context)
    return _Reader(source, archive, context).artifact()


class _Reader:
    def __init__(self, source: Source, archive: ZipArchive, context: OpenContext) -> None:
        self._source = source
        self._archive = archive
        self._context = context
        self._tensors = Tensors(source, swapped=self._word("byteorder") == "big")
        self._limitations: list[str] = []
        self._code: list[NamedCode] = []
        self._oddities = list(archive.oddities)

    def artifact(self) -> Artifact:
        root = self._pickle("data.pkl", "data/")
        if not isinstance(root, Instance) or not isinstance(root.of, Global):
            raise self._wrong("as a TorchScript archive it holds no module")
        library = self._library()
        tree = _Tree(library, root)
        tensors = dict(tree.tensors)
        where = "data.pkl"
        constants = self._constants()
        if constants and not tensors:
            tensors, where = constants, "constants.pkl"
            self._limitations.append(
                "The module was frozen: its weights are constants without names, and which modules they belonged to "
                "is lost."
            )
        self._limitations += tree.limitations
        weights = WeightSet("model", where, tensors, training=_flag(root))
        return Artifact(
            self._provenance(tree, tensors),
            tensors,
            None,
            Checkpoint(
                sets={"model": weights}, primary="model", layout="torchscript", modules=tree.modules,
                code=self._code, oddities=self._oddities,
            ),
            [*self._limitations, *self._tensors.limitations],
            {self._source.path: Digest(self._source)},
        )  # fmt: skip

    def _pickle(self, name: str, folder: str) -> Any:
        """A pickle of the archive, whose storages lie in `folder`."""
        member = self._archive.record(name)
        if member is None:
            raise self._wrong(f"has no member {quoted(name)}")
        members = Members(self._source, self._archive, folder)
        storages = Storages(members.locate)
        known = Globals(self._tensors, member.name)
        try:
            found = unpickle(
                self._archive.read(member.name, self._context.memory // 4),
                file=member.name,
                persistent=storages.persistent,
                builders={**_builders(), **known.builders, **_tensor_builder(known)},
                limits=PickleLimits(memory=self._context.memory),
            )
        except PickleError as error:
            raise self._wrong(f"{error} (in {quoted(name)})") from None
        self._code += [named for named in (*found.code, *known.code) if not named.name.startswith("__torch__.")]
        self._oddities += members.oddities
        return found.value

    def _constants(self) -> dict[str, Tensor]:
        """The tensors that the code names, as it names them."""
        if self._archive.record("constants.pkl") is None:
            return {}
        value = self._pickle("constants.pkl", "constants/")
        found: dict[str, Tensor] = {}
        for place, entry in enumerate(value if isinstance(value, tuple | list) else ()):
            tensor = entry.tensor if isinstance(entry, Parameter) else entry
            if isinstance(tensor, Tensor):
                name = f"CONSTANTS.c{place}"
                found[name] = replace(tensor, name=name)
        return found

    def _library(self) -> Library:
        top = self._archive.top + _CODE
        files = {
            name[len(top) : -len(_SUFFIX)].replace("/", "."): self._archive.read(name)
            for name in self._archive.members
            if name.startswith(top) and name.endswith(_SUFFIX)
        }
        library = read_code(files)
        touching = {word.decode() for raw in files.values() for word in _FILES.findall(raw)}
        self._oddities += [f"code that reads or writes files: torch.{word}" for word in sorted(touching)]
        if library.unread:
            names = ", ".join(quoted(name) for name in library.unread[:3])
            self._limitations.append(
                f"{len(library.unread)} files of the module's code could not be parsed ({names}): the settings and "
                "the order of the modules in them are not known."
            )
        return library

    def _word(self, name: str) -> str | None:
        if self._archive.record(name) is None:
            return None
        return self._archive.read(self._archive.top + name, 1 << 10).decode("latin-1").strip()

    def _provenance(self, tree: _Tree, tensors: Mapping[str, Tensor]) -> Provenance:
        return Provenance(
            path=self._source.path,
            format="torchscript",
            bytes=self._source.size,
            producer="pytorch (TorchScript)",
            details={
                "version": self._word("version"),
                "byteorder": self._word("byteorder"),
                "tensors": len(tensors),
                "modules": len(tree.modules),
                "traced": self._archive.record("traced_inputs.pkl") is not None,
            },
        )

    def _wrong(self, what: str) -> ArtifactError:
        return ArtifactError(self._source.path, what, _REMEDY)


def _builders() -> dict[tuple[str, str], Any]:
    """What TorchScript's own pickler names besides torch's tensors (torch/jit/_pickle.py)."""
    from avreview.load.pickles.builders import BUILDERS

    lists = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
    own = {("torch.jit._pickle", name): _same for name in lists}
    return {**BUILDERS, **own, ("torch.jit._pickle", "restore_type_tag"): _tagged}


def _same(value: Any) -> Any:
    return value


def _tagged(value: Any, _type: Any) -> Any:
    return value


def _tensor_builder(known: Globals) -> dict[tuple[str, str], Any]:
    """A tensor with its `requires_grad`, which TorchScript keeps beside each tensor."""
    name = ("torch._utils", "_rebuild_tensor_v2")
    plain = known.builders[name]

    def build(*args: Any) -> Any:
        tensor = plain(*args)
        return Parameter(tensor, len(args) > 4 and args[4] is True) if isinstance(tensor, Tensor) else tensor

    return {name: build}


def _flag(instance: Instance) -> bool | None:
    value = instance.field("training")
    return value if isinstance(value, bool) else None


class _Tree:
    """The modules of an archive by path, parents before children, and the tensors of its state_dict."""

    def __init__(self, library: Library, root: Instance) -> None:
        self._library = library
        self._budget = Budget(_STEPS)
        self._too_long: list[str] = []
        self._forwards: dict[int, Any] = {}
        self.modules: dict[str, Module] = {}
        self.tensors: dict[str, Tensor] = {}
        self.limitations: list[str] = []
        self._walk(root)
        if self._too_long:
            names = ", ".join(quoted(path or "the root") for path in self._too_long[:3])
            self.limitations.append(f"What {len(self._too_long)} modules do is too long to be followed: {names}.")

    def _walk(self, root: Instance) -> None:
        waiting: list[tuple[str, Instance, tuple[int, ...]]] = [("", root, ())]
        while waiting:
            path, instance, above = waiting.pop()
            if len(self.modules) >= _MOST_MODULES or len(path) > _MOST_PATH:
                self.limitations.append(f"Only the first {len(self.modules):,} modules of the tree were read.")
                return
            children = self._add(path, instance)
            inside = (*above, id(instance))
            waiting += [
                (f"{path}.{name}" if path else name, child, inside)
                for name, child in reversed(children)
                if id(child) not in inside
            ]

    def _add(self, path: str, instance: Instance) -> list[tuple[str, Instance]]:
        """Enters a module and its tensors; its children."""
        code = self._library.classes.get(instance.class_name)
        state = instance.state if isinstance(instance.state, dict) else {}
        children = [(name, value) for name, value in state.items() if self._is_child(name, value)]
        held = {name: value for name, value in state.items() if isinstance(value, Parameter) and isinstance(name, str)}
        parameters, buffers = _roles(code, held)
        for name in (*parameters, *buffers):
            key = f"{path}.{name}" if path else name
            self.tensors[key] = replace(held[name].tensor, name=key)
        attributes = dict(code.constants) if code is not None else {}
        attributes.update({name: _flat(value) for name, value in state.items() if _is_flat(name, value)})
        package, kind = readable_name(instance.class_name)
        found = self._forward(path, code, instance)
        if keeps_attributes(f"{package}."):  # a traced module has its settings in its operators alone
            for call in found.calls if found else ():
                for attribute, value in attributes_of(call.target, call.arguments):
                    attributes.setdefault(attribute, value)
        self.modules[path] = Module(
            path, kind, package, attributes, tuple(name for name, _ in children), tuple(parameters), tuple(buffers),
            frozenset(name for name in parameters if not held[name].requires_grad),
            found.inputs if found else (), found.calls if found else (),
        )  # fmt: skip
        return children

    def _is_child(self, name: Any, value: Any) -> bool:
        if not isinstance(name, str) or not isinstance(value, Instance):
            return False
        code = self._library.classes.get(value.class_name)
        return code.is_module if code is not None else value.field("training") is not None

    def _forward(self, path: str, code: ClassCode | None, instance: Instance) -> Any:
        """The module's forward, walked once for a module that several places share."""
        if code is None:
            return None
        known = self._forwards.get(id(instance), self)
        if known is self:
            known = None
            try:
                known = forward(self._library, code, instance, self._budget)
            except (TooLong, RecursionError):
                self._too_long.append(path)
            self._forwards[id(instance)] = known
        return known


def _roles(code: ClassCode | None, held: Mapping[str, Parameter]) -> tuple[list[str], list[str]]:
    """The names of the parameters and of the buffers among the tensors of a module.

    A class that does not list its buffers, as before torch 1.5, has a buffer in each tensor that is no parameter.
    """
    parameters = [name for name in held if code is None or code.parameters is None or name in code.parameters]
    listed = code.buffers if code is not None else None
    return parameters, [name for name in held if name not in parameters and (listed is None or name in listed)]


def _is_flat(name: Any, value: Any) -> bool:
    if not isinstance(name, str):
        return False
    return isinstance(value, _PLAIN) or (
        isinstance(value, list | tuple)
        and not isinstance(value, Parameter)
        and all(isinstance(entry, _PLAIN) for entry in value)
    )


def _flat(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
