"""The OpenMMLab family (mmdetection, mmdetection3d and what is built on them): configurations to `Recipe`."""

from avreview.recipe.mmengine.reader import read as read
from avreview.recipe.mmengine.reader import recognises as recognises
