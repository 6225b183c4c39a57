"""The lists of what each split holds."""

from avreview.recipe.manifests.lists import ListsBeside as ListsBeside
from avreview.recipe.manifests.lists import Manifest as Manifest
from avreview.recipe.manifests.lists import Manifests as Manifests
from avreview.recipe.manifests.lists import open_manifests as open_manifests
