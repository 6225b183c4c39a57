"""`--cache`: the reviews that earlier runs kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avreview.cli.output import complain
from avreview.errors import AvreviewError

if TYPE_CHECKING:
    from avreview.cache.reviews import KeptReviews


def open_cache() -> KeptReviews | None:
    """The user's cache. Where it cannot be used, a line says why, and the review goes without."""
    from avreview.cache.reviews import KeptReviews
    from avreview.cache.store import Store, default_folder

    try:
        return KeptReviews(Store(default_folder()))
    except AvreviewError as error:
        complain(f"{error}; reviewing without it")
        return None
