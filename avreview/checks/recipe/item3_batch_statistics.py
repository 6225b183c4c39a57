"""Question 3 from a recipe: do cameras share batch statistics in training?"""

from __future__ import annotations

from collections.abc import Iterator

from avreview.checks.words import count
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.facts.recipe_norms import RecipeNorms
from avreview.facts.recipe_places import location


@check("AV307", also=True)
def cameras_share_batch_statistics(norms: RecipeNorms, limits: Thresholds) -> Iterator[Violation]:
    """Several cameras in one batch, and batch norms with statistics of their own in what sees the images."""
    recipe = norms.recipe
    if norms.sensors and "camera" not in norms.sensors:
        raise NotApplicable("the recipe's model sees no camera")
    if norms.cameras is None or recipe.cameras is None:
        raise NotAvailable("needs the number of cameras, which the recipe does not tell")
    if norms.cameras < limits.min_cameras:
        raise NotApplicable("no camera axis is folded into the batch: there is one camera")
    of_images = [norm for norm in recipe.norms if norms.is_of_images(norm.module)]
    if not of_images:
        raise NotAvailable("needs the norms of the image backbone, which the recipe does not tell")
    sharing = [norm for norm in (*norms.learning, *norms.synced) if norm in of_images and not norm.frozen_statistics]
    if sharing:
        first, *others = (location(norm.at, norm.module) for norm in sharing)
        yield Violation(
            at=first,
            also=[*others, location(recipe.cameras.at, "train.cameras")],
            message=f"The images of {norms.cameras:g} cameras are folded into the batch, and {sharing[0].kind} in "
            f"{count(len(sharing), 'module')} gives them one set of statistics.",
            observed={"cameras": norms.cameras, "modules": len(sharing)},
            expected={"statistics": "per camera, or shown to agree between cameras"},
        )
