"""Draws the pictures of docs/augmentations.md: `python draw.py`, in this folder.

Needs `pip install avreview[pictures]`.
"""

import tempfile
from pathlib import Path

from PIL import Image

from avreview.augment.drawing import write_pictures
from avreview.augment.measuring import measure
from avreview.augment.model import AugmentRequest

WIDTH, COLOURS = 1280, 128  # of a picture in these pages
WANTED = {"wrong:augmentation": "turn_and_scale", "right:augmentation": "turn_and_scale"}


def main() -> None:
    for target, member in WANTED.items():
        with tempfile.TemporaryDirectory() as folder:
            written = write_pictures(measure(AugmentRequest(target, adapter="plain")), folder)
            (chosen,) = (path for path in written if path.stem.endswith(member))
            with Image.open(chosen) as picture:
                size = (WIDTH, round(picture.height * WIDTH / picture.width))
                small = picture.resize(size, Image.Resampling.LANCZOS).quantize(COLOURS)
                small.save(Path(target.partition(":")[0]).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
