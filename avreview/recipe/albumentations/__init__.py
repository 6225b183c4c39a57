"""What albumentations and AlbumentationsX save."""

from avreview.recipe.albumentations.reader import read as read
from avreview.recipe.albumentations.reader import recognises as recognises
