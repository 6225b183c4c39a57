"""Pictures of a measured augmentation as files in a folder: `--pictures DIR`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from avreview.augment.evidence import evidence_of
from avreview.augment.judged import rules_limits
from avreview.augment.model import Augmented
from avreview.report.pictures.rows import entries, row_of

_NAME = 60


def write_pictures(augmented: Augmented, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes a PNG file for the whole and each member that has a picture, and returns their paths.

    Raises UsageError where Pillow is missing, OSError where the folder cannot be written.
    """
    from avreview.report.pictures.raster import require_pillow, write_png

    require_pillow()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for place, entry in enumerate(entries(evidence_of(augmented, rules_limits()))):
        row = row_of(entry)
        if row is not None:
            name = re.sub(r"[^A-Za-z0-9_-]+", "-", row.name[:_NAME]).strip("-") or "augmentation"
            written.append(target / f"{place:02d}-{name}.png")
            write_png(row, written[-1])
    return written
