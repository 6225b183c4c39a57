"""Training recipes, read without running them: dialects in, `model.Recipe` out."""

from avreview.recipe.dialects import open_recipe as open_recipe
