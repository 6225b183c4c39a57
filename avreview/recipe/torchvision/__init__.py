"""Python files that compose torchvision or kornia transforms, by hints."""

from avreview.recipe.torchvision.reader import read as read
from avreview.recipe.torchvision.reader import recognises as recognises
