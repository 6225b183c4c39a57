"""avreview's own form."""

from avreview.recipe.plain.reader import read as read
from avreview.recipe.plain.reader import recognises as recognises
