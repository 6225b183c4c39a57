"""The picture of an augmentation at its worst seed, as data: what `Measured.picture` holds.

    {"seed": 7, "measure": "velocity", "panels": [panel, …]}

A panel seen from above, in m:

    {"kind": "bev", "name": "before" | "after", "points": [[x, y], …], "boxes": [[x, y, length, width, yaw], …],
     "labels": [[x, y, vx, vy], …], "shown": [[x, y, vx, vy], …]}

`labels` are velocity labels at their boxes, `shown` the velocities that the sweeps show there. An image panel, in px:

    {"kind": "image", "name": "before" | "after", "width": 640, "height": 384, "png": "<base64>",
     "boxes": [[x1, y1, x2, y2], …], "hulls": [[[u, v], …], …], "labels": [[u, v], …], "markers": [[u, v], …]}

`labels[i]` is where the labels or the returned matrices put a point, `markers[i]` where its marker was found: an error
line joins them. `hulls` are outlines of what is really to be seen of an object. Every list may be missing or empty.
"""

from __future__ import annotations

POINTS = 1500  # at most, of a panel from above
WIDTH = 640  # px at most, of an image panel: larger ones are scaled down, with everything in them
