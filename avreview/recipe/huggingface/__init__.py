"""Hugging Face's image processors and Trainer."""

from avreview.recipe.huggingface.reader import read as read
from avreview.recipe.huggingface.reader import recognises as recognises
