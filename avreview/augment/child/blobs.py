"""Connected blobs of a picture, with numpy alone: where pixels stand out, which of them touch, and where they lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RUNS = 100_000  # of pixels in a row, at most: more are noise, and nothing is found in noise


class Blobs(NamedTuple):
    """Pixels that touch (corners count) under one number: `pixels` are flat indices, `labels` the blob of each."""

    pixels: np.ndarray
    labels: np.ndarray
    many: int


def blobs(inside: np.ndarray) -> Blobs:
    """The blobs of a bool[H, W], numbered from 0."""
    height, width = inside.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = inside
    edges = np.diff(padded, axis=1).ravel()
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)  # rows of width + 1; an end is exclusive
    if not len(starts) or len(starts) > RUNS:
        return Blobs(np.empty(0, np.int64), np.empty(0, np.int64), 0)
    labels = _joined(starts, ends, width + 1)
    _, labels = np.unique(labels, return_inverse=True)
    lengths = ends - starts
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    at = np.repeat(starts, lengths) + offsets
    return Blobs(at // (width + 1) * width + at % (width + 1), np.repeat(labels, lengths), int(labels.max()) + 1)


def _joined(starts: np.ndarray, ends: np.ndarray, stride: int) -> np.ndarray:
    """The least number of the runs that each run is connected with, over runs that touch in adjoining rows."""
    first = np.searchsorted(
        ends, starts + stride, side="left"
    )  # of the next row's runs that end at or after mine begins
    last = np.searchsorted(starts, ends + stride, side="right")  # and begin at or before mine ends
    row = starts // stride
    first = np.maximum(first, np.searchsorted(starts, (row + 1) * stride))
    last = np.minimum(last, np.searchsorted(starts, (row + 2) * stride))
    many = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(starts)), many)
    below = np.repeat(first, many) + np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    labels = np.arange(len(starts))
    while True:
        before = labels.copy()
        least = np.minimum(labels[above], labels[below])
        np.minimum.at(labels, above, least)
        np.minimum.at(labels, below, least)
        labels = labels[labels]
        if (labels == before).all():
            return labels
