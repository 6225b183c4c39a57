"""Why a probe came to nothing, in one line for the person."""

from __future__ import annotations

import re

from avreview.load.wording import one_line

_LONGEST = 240
_NO_KERNEL = re.compile(r"(?:Could not find an implementation for|Fatal error: )\s*'?([\w.:]+)")
_NOISE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/[^\s:]*/onnxruntime/\S+(?: [\w:<>~ ]+\([^)]*\))? ?")


class Refused(Exception):  # noqa: N818 - a verdict's reason, not an error
    """The probe cannot be made on this model; the text says why and what would help."""


def reason(error: Exception) -> str | None:
    """What an exception of the runtime means; None for one that is not the runtime's."""
    name = type(error).__name__
    if not type(error).__module__.startswith("onnxruntime") and not isinstance(error, (RuntimeError, ValueError)):
        return None
    text = one_line(_NOISE.sub("", str(error)), _LONGEST)
    if "bad_alloc" in text or "Failed to allocate memory" in text:
        raise MemoryError(text)
    missing = _NO_KERNEL.search(str(error))
    if name in ("NotImplemented", "InvalidGraph", "Fail") and missing:
        return f"ONNX Runtime has no kernel for the operator {missing[1]}; run the model where it is known"
    return f"ONNX Runtime refused the model ({text})"
