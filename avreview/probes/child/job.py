"""Where a child begins: loads the runtime, runs one probe, and turns what goes wrong into a reason."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from avreview import stages
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.refusal import Refused, reason
from avreview.probes.child.runtime import Runtime


def run(probe: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs the probe of that name (a module beside this one). The answer holds `refused` when it came to nothing.

    `inputs` in it is what the report says of them: the plan's, unless the probe has others.

    A MemoryError is left to the sandbox, which tells it from other failures.
    """
    stages.stage("starting")
    inputs = None
    try:
        module = importlib.import_module(f"avreview.probes.child.{probe}")
        runtime = Runtime(job["path"], float(job["seconds"]))
        inputs = Inputs(job["plan"], int(job.get("attempt", 0)))
        answer = module.probe(runtime, inputs, job)
    except MemoryError:
        raise
    except Exception as error:
        refused = str(error) if isinstance(error, Refused) else reason(error)
        if refused is None:
            raise
        return {"refused": refused, "stage": stages.current, "inputs": _described(inputs)}
    return {"inputs": _described(inputs), **answer, "attempt": inputs.attempt}


def _described(inputs: Inputs | None) -> Any:
    return inputs.described() if inputs is not None else None
