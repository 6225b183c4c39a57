"""The YAML of OpenPCDet."""

from avreview.recipe.openpcdet.reader import read as read
from avreview.recipe.openpcdet.reader import recognises as recognises
