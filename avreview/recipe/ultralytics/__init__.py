"""ultralytics' and YOLOv5's settings."""

from avreview.recipe.ultralytics.reader import read as read
from avreview.recipe.ultralytics.reader import recognises as recognises
