"""Pictures of augmentations: described once, and drawn as SVG or as PNG."""
