"""The dialect of mmengine and mmcv: Python configurations of mmdetection3d, BEVDet, BEVFormer, PETR, CenterPoint, …"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from avreview.recipe.model import Recipe

if TYPE_CHECKING:
    from avreview.recipe.dialects import Candidate
    from avreview.recipe.files import RecipeFiles

_SETTINGS = (
    "data|data_preprocessor|default_hooks|log_config|lr_config|model|optim_wrapper|optimizer|optimizer_config|runner"
    "|(?:train|val|test)_(?:cfg|dataloader|preprocessor)"
)
_OURS = re.compile(
    rf"^(?:_base_\s*=|with\s+read_base\(\s*\)\s*:|(?:{_SETTINGS})\s*=\s*(?:dict\(|\{{(?!\}})|_base_\.)"
    r"|(?:train|val|test|eval)_pipeline\s*=\s*[\[(])",
    re.MULTILINE,
)


def recognises(candidate: Candidate) -> bool:
    """Whether settings stand at the left edge as such configurations write them."""
    return _OURS.search(candidate.text) is not None


def read(candidate: Candidate, files: RecipeFiles) -> Recipe:
    """The recipe, without running any of it. Raises RecipeError."""
    from avreview.recipe.files import RecipeError
    from avreview.recipe.mmengine.recipe import recipe_of
    from avreview.recipe.python.config import read_config

    config = read_config(candidate.path, candidate.text, files)
    try:
        return recipe_of(candidate.path, config, files.digests)
    except RecursionError:
        raise RecipeError(candidate.path, None, "is nested too deep to be read", "write it flatter") from None
