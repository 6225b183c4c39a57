"""Why a probe came to nothing, in one line for the person."""

from __future__ import annotations

import re
from collections.abc import Callable

from avreview.load.wording import one_line, shortened

_LONGEST = 240
_MOST = 4096  # characters of what the runtime says: names in it are the file's
_GENERAL = "ONNX Runtime refused the model ({})"

# What is of no use to a reader: status codes, where in the runtime's own source it happened, and which condition was
# false there.
_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"|(?:Exception during initialization: )?/[^\s:]*/onnxruntime/\S+:\d+ .*?\)(?: const)? (?=[A-Z]|[\w.]+ |\w+\()"
    r"|\b\w+\.(?:h|cc):\d+ [\w:]+ "
    r"|Load model from .*? failed:"
    r"|This is an invalid model\. ",
    re.DOTALL,
)
_CONDITION = re.compile(r"^[^.]{0,120}? was false\. ")
_NODE = re.compile(
    r"Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: (.*)", re.DOTALL
)
_NO_MEMORY = re.compile(r"bad_alloc|bad allocation|Failed to allocate memory|std::bad_array_new_length")


def _no_kernel(match: re.Match[str]) -> str:
    node = f", at the node {match[3]!r}" if match[3] else ""
    return (
        f"ONNX Runtime has no kernel for the operator {match[1]} of version {match[2]} on the CPU, with the types that "
        f"it is used with{node}; run the model where there is one, or export it with other types or another opset"
    )


def _unknown(match: re.Match[str]) -> str:
    operator = next(group for group in match.groups() if group)
    return f"ONNX Runtime has no kernel for the operator {operator}, which it does not know; run the model where it is"


# What the runtime says, and what that means for the person.
_MEANINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"Could not find an implementation for ([\w.:]+)\((\d+)\) node(?: with name '(.*?)')?"), _no_kernel),
    (re.compile(r"Fatal error: ([\w.:]+)\(-?\d+\) is not a registered|No Op registered for (\S+)"), _unknown),
    (
        re.compile(r"No opset import for domain '(.*?)'"),
        lambda match: (
            f"the model uses operators of the domain {match[1]!r} and imports no opset of it; export it again"
        ),
    ),
    (
        re.compile(r"Type '(?:tensor\()?([^()']*)\)?' of input parameter \((.*?)\) of operator \((.*?)\)"),
        lambda match: (
            f"ONNX Runtime takes no {match[1]} for the operator {match[3]}, which reads {match[2]!r}; "
            "export the model in another type"
        ),
    ),
    (
        re.compile(r"Type parameter \(\w+\) of Optype \((\w+)\) bound to different types \((.*?\)) in node"),
        lambda match: (
            f"the model is invalid: the operator {match[1]} reads {match[2]}, which have to be of one type; "
            "export it again"
        ),
    ),
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        lambda match: (
            f"the file is of IR version {match[1]}, and the ONNX Runtime installed here reads up to "
            f"{match[2]}; install a newer one"
        ),
    ),
    (
        re.compile(r"Opset (\d+) is under development"),
        lambda match: (
            f"the file is of opset {match[1]}, newer than the ONNX Runtime installed here; install a newer one"
        ),
    ),
    (
        re.compile(r"Cannot parse data from external tensors.*tensor: (\S+)", re.DOTALL),
        lambda match: (
            f"ONNX Runtime takes no shape from external data, where the model keeps {match[1]!r}; save small "
            "tensors inside the model (size_threshold of onnx.save)"
        ),
    ),
    (
        re.compile(r"Invalid rank for input: (.*?) Got: (\d+) Expected: (\d+)", re.DOTALL),
        lambda match: f"the input {match[1]!r} takes {match[3]} axes, and was given {match[2]}",
    ),
    (
        re.compile(
            r"Got invalid dimensions for input: (.*?) for the following indices\s+index: (\d+) Got: (\d+) "
            r"Expected: (\d+)",
            re.DOTALL,
        ),
        lambda match: (
            f"the input {match[1]!r} takes an extent of {match[4]} along axis {match[2]}, and was given {match[3]}"
        ),
    ),
    (
        re.compile(r"No corresponding Numpy type for Tensor Type\. (\w+)"),
        lambda match: (
            f"an output is of the type {match[1]}, which ONNX Runtime does not hand out; export it as float32"
        ),
    ),
    (
        re.compile(r"External data path .*?initializer: (.*?)\. Error", re.DOTALL),
        lambda match: f"ONNX Runtime does not find the external data of {match[1]!r}; put the file beside the model",
    ),
)


class Refused(Exception):  # noqa: N818 - a verdict's reason, not an error
    """The probe cannot be made on this model; the text says why and what would help."""


def reason(error: Exception) -> str | None:
    """What an exception of the runtime means; None for one that is not the runtime's.

    Raises MemoryError for one that says that memory ran out.
    """
    if not type(error).__module__.startswith("onnxruntime") and not isinstance(error, (RuntimeError, ValueError)):
        return None
    said = shortened(str(error), _MOST)
    if _NO_MEMORY.search(said):
        raise MemoryError(one_line(said, _LONGEST))
    for pattern, meaning in _MEANINGS:
        match = pattern.search(said)
        if match is not None:
            return one_line(meaning(match), 2 * _LONGEST)
    return _GENERAL.format(_bare(said))


def _bare(said: str) -> str:
    """The runtime's own words without its noise; of a failed node its operator, its name and what failed."""
    node = _NODE.search(said)
    words = _NOISE.sub("", node[3] if node is not None else said).strip()
    words = _CONDITION.sub("", words)
    if node is not None:
        name = f" {node[2]!r}" if node[2] else ""
        words = f"{node[1]}{name} failed: {words}"
    return one_line(words, _LONGEST)
