"""avreview: the model-review linter for autonomous-vehicle perception."""

__version__ = "0.1.0"
