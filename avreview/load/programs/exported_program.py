"""A program that `torch.export.save` wrote (`.pt2`): its weights, its modules, and its operators as a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from avreview.artifact import Artifact, Graph, Provenance, Tensor
from avreview.checkpoint import Checkpoint, WeightSet
from avreview.load.aten.translate import Translator
from avreview.load.context import OpenContext
from avreview.load.digest import Digest
from avreview.load.programs.exported_modules import module_tree
from avreview.load.programs.exported_schema import SchemaError, mapping, sequence, text, union
from avreview.load.programs.exported_weights import ExportedFiles, Payload
from avreview.load.programs.one_set import check_only_set
from avreview.load.source import Source
from avreview.load.wording import quoted
from avreview.load.zip_archive import ZipArchive

_MODELS, _WEIGHTS, _CONSTANTS, _INPUTS = "models/", "data/weights/", "data/constants/", "data/sample_inputs/"
_COMPILED = "data/aotinductor/"
_OLD_PROGRAM, _OLD_INPUTS = "serialized_exported_program.json", "serialized_example_inputs.pt"
_NOTHING = Payload({}, {})


class _Parts(NamedTuple):
    """The parts of an archive, whatever its layout."""

    program: Mapping[str, Any]
    weights: Payload
    constants: Payload
    where: str  # the weights


class _Signature(NamedTuple):
    """What the program's inputs and outputs are."""

    weights: Mapping[str, str]  # placeholder → name
    parameters: frozenset[str]
    buffers: frozenset[str]
    inputs: list[str]
    mutated: list[str]  # buffers
    results: list[bool]  # of each output: whether the caller gets it


def open_exported_program(source: Source, archive: ZipArchive, context: OpenContext) -> Artifact:
    """The artifact of a `.pt2` archive. Raises ArtifactError for one that is damaged or of an unknown layout."""
    check_only_set(source.path, "an exported program", context)
    files = ExportedFiles(source, archive, context)
    try:
        return _artifact(files)
    except SchemaError as error:
        raise files.wrong(str(error)) from None
    except RecursionError:
        raise files.wrong("nests too deep") from None
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        # JSON of a stranger may hold anything anywhere; what no schema names is said without its place.
        raise files.wrong("holds a program that is not as torch writes it") from None


def _artifact(files: ExportedFiles) -> Artifact:
    parts = _old_parts(files) if files.has(_OLD_PROGRAM) else _parts(files)
    module = mapping(parts.program.get("graph_module"), "the graph module")
    signature = _signature(module)
    tensors = parts.weights.tensors
    requires_grad = {key: parts.weights.requires_grad[key] for key in tensors if key in signature.parameters}
    modules = module_tree(module, requires_grad, [key for key in tensors if key not in requires_grad])
    graph = _graph(module, signature, {**parts.constants.tensors, **tensors})
    checkpoint = Checkpoint(
        sets={"model": WeightSet("model", parts.where, tensors)}, primary="model", layout="pt2", modules=modules,
        code=tuple(files.code), oddities=tuple(files.oddities),
    )  # fmt: skip
    digests = {files.source.path: Digest(files.source)}
    return Artifact(_provenance(files, parts), tensors, graph, checkpoint, files.limitations, digests)


def _parts(files: ExportedFiles) -> _Parts:
    """The parts of an archive of torch 2.8 and later."""
    name = _program_name(files)
    program = files.json(f"{_MODELS}{name}.json")
    payloads: list[Payload] = []
    for folder, kind in ((_WEIGHTS, "weights"), (_CONSTANTS, "constants")):
        listed, pickled = f"{folder}{name}_{kind}_config.json", f"{folder}{name}.pt"
        if files.has(listed):
            payloads.append(files.listed(folder, listed))
        else:
            payloads.append(files.state_dict(pickled) if files.has(pickled) else _NOTHING)
    for inner in files.inside(_INPUTS):
        files.look_through(_INPUTS + inner)
    if any(files.inside(_COMPILED)):
        files.note("the archive also holds code that was compiled for a machine, which was not looked into")
    return _Parts(program, payloads[0], payloads[1], _WEIGHTS.rstrip("/"))


def _old_parts(files: ExportedFiles) -> _Parts:
    """The parts of an archive of torch 2.7 and before. Some of them call their pickles `.json`."""

    def payload(name: str) -> Payload:
        found = next((full for end in (".pt", ".json") if files.has(full := name + end)), None)
        return files.state_dict(found) if found else _NOTHING

    weights, constants = payload("serialized_state_dict"), payload("serialized_constants")
    if files.has(_OLD_INPUTS):
        files.look_through(_OLD_INPUTS)
    return _Parts(files.json(_OLD_PROGRAM), weights, constants, "serialized_state_dict")


def _program_name(files: ExportedFiles) -> str:
    """The program that is reviewed: `model`, or the first one."""
    names = [name[: -len(".json")] for name in files.inside(_MODELS) if name.endswith(".json")]
    if not names:
        raise files.wrong("holds no program (only compiled code?)")
    chosen = "model" if "model" in names else names[0]
    if len(names) > 1:
        others = ", ".join(quoted(name) for name in names if name != chosen)
        files.note(f"the archive holds further programs, which were not reviewed: {others}")
    return chosen


def _graph(module: Mapping[str, Any], signature: _Signature, held: Mapping[str, Tensor]) -> Graph:
    weights = {place: held[name] for place, name in signature.weights.items() if name in held}
    translator = Translator(weights, signature.buffers)
    return translator.graph(
        mapping(module.get("graph"), "the graph"), signature.inputs, signature.mutated, signature.results
    )


_NAMES = ("parameter_name", "buffer_name", "tensor_constant_name")


def _signature(module: Mapping[str, Any]) -> _Signature:
    raw = mapping(module.get("signature"), "the signature")
    weights: dict[str, str] = {}
    by_kind: dict[str, list[str]] = {"parameter": [], "buffer": [], "tensor_constant": []}
    inputs: list[str] = []
    for entry in sequence(raw.get("input_specs"), "the inputs"):
        kind, spec = union(entry, "an input")
        spec = mapping(spec, "an input")
        given = mapping(spec.get("arg", {}), "an input")
        if kind in by_kind:
            name = text(next((spec[field] for field in _NAMES if field in spec), None), "a weight's name")
            weights[text(given.get("name"), "an input's name")] = name
            by_kind[kind].append(name)
        elif kind == "user_input":
            inputs += _tensor_name(given)
    outputs = [union(entry, "an output") for entry in sequence(raw.get("output_specs"), "the outputs")]
    mutated = [
        text(mapping(spec, "an output").get("buffer_name"), "a buffer's name")
        for kind, spec in outputs
        if kind == "buffer_mutation"
    ]
    results = [kind in ("user_output", "loss_output") for kind, _ in outputs]
    return _Signature(weights, frozenset(by_kind["parameter"]), frozenset(by_kind["buffer"]), inputs, mutated, results)


def _tensor_name(given: Mapping[str, Any]) -> Iterator[str]:
    inner = given.get("as_tensor")
    if inner is not None:
        yield text(mapping(inner, "an input").get("name"), "an input's name")


def _provenance(files: ExportedFiles, parts: _Parts) -> Provenance:
    version, schema = parts.program.get("torch_version"), parts.program.get("schema_version")
    numbers = [schema.get("major"), schema.get("minor")] if isinstance(schema, dict) else []
    opsets = parts.program.get("opset_version")
    details = {
        "schema": ".".join(map(str, numbers)) if all(isinstance(number, int) for number in numbers) else None,
        "opsets": {name: value for name, value in opsets.items() if isinstance(value, int)}
        if isinstance(opsets, dict)
        else {},
        "tensors": len(parts.weights.tensors),
        "constants": len(parts.constants.tensors),
        "members": len(files.archive.members),
    }
    return Provenance(
        path=files.source.path,
        format="pt2",
        bytes=files.source.size,
        producer=f"pytorch {version}" if isinstance(version, str) else None,
        details=details,
    )
