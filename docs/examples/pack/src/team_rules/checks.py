"""Question 4: are train/eval modes tested after export?"""

from __future__ import annotations

from collections.abc import Iterator

from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check
from avreview.engine.review import Location
from team_rules.facts import StandardOpset


@check("TEAM401")
def opset_beyond_the_vehicle(opset: StandardOpset, limits: Thresholds) -> Iterator[Violation]:
    """An export that the vehicle's runtime cannot load."""
    if opset.version > limits.max_opset:
        yield Violation(
            at=Location(opset.artifact),
            message=f"The export uses opset {opset.version}, and the vehicle's runtime ends at {limits.max_opset}.",
            observed={"opset": opset.version},
            expected={"opset": f"at most {limits.max_opset}"},
        )
