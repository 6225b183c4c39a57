"""The YAML of bevfusion."""

from avreview.recipe.bevfusion.reader import read as read
from avreview.recipe.bevfusion.reader import recognises as recognises
