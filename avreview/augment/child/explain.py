"""Saying in words what went wrong with labels: which hypothesis puts them where they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from avreview.augment.child.boxes import wrapped
from avreview.augment.child.hypotheses import Hypothesis, doubtful, hypotheses
from avreview.augment.child.similarity import Similarity

_TIE = 0.85  # a later hypothesis has to fit this much better than an earlier one
_UNITS = ((3.6, "is in km/h"), (1 / 3.6, "was divided by 3.6"), (1e-3, "is in km/s or per ms"), (1e3, "is in mm/s"))


def explain_velocities(motion: Similarity, before: np.ndarray, after: np.ndarray) -> str:
    """Why velocity labels float[N, 2] are `after`; they were `before`, and all went through the same motion."""
    expected = motion.turned(before)
    speed = float(np.median(np.linalg.norm(expected, axis=1)))
    slack = max(0.08, 0.015 * speed)

    def guessed(guess: Hypothesis) -> tuple[str, np.ndarray]:
        return guess.words, before @ guess.linear[:2, :2].T + guess.shift[:2]

    candidates = [guessed(guess) for guess in hypotheses(motion, of_points=False)]
    candidates += [
        ("was set to 0", np.zeros_like(before)),
        ("has its sign reversed", -expected),
        ("has x and y exchanged", expected[:, ::-1]),
    ]
    candidates += [(words, expected * factor) for factor, words in _UNITS]
    candidates += [guessed(guess) for guess in doubtful(motion, of_points=False)]
    words = _best(candidates, after, expected, slack)
    return f"velocity {words}" if words else ""


def explain_centres(motion: Similarity, before: np.ndarray, after: np.ndarray, heights: np.ndarray) -> str:
    """Why box centres float[N, 3] are `after`; `heights` of the boxes are m."""
    expected = motion.moved(before)

    def guessed(guess: Hypothesis) -> tuple[str, np.ndarray]:
        return guess.words, before @ guess.linear.T + guess.shift

    candidates = [guessed(guess) for guess in hypotheses(motion, of_points=True)]
    half = np.zeros_like(before)
    half[:, 2] = heights * motion.scale / 2
    candidates.insert(0, ("is half a height too low: z is that of the bottom", expected - half))
    candidates.append(("is half a height too high", expected + half))
    candidates += [guessed(guess) for guess in doubtful(motion, of_points=True)]
    words = _best(candidates, after, expected, 0.08)
    return f"the box centre {words}" if words else ""


def explain_yaws(motion: Similarity, before: np.ndarray, after: np.ndarray) -> str:
    """Why yaws float[N] (radians) are `after`."""
    ahead = np.stack([np.cos(before), np.sin(before), np.zeros_like(before)], axis=1)
    turned = ahead @ motion.linear.T
    expected = np.arctan2(turned[:, 1], turned[:, 0])
    candidates = _turned_otherwise(hypotheses(motion, of_points=False), ahead)
    candidates += [
        ("points backwards: half a turn is missing", expected + np.pi),
        ("is clockwise: its sign is reversed", -expected),
        ("is that of an older convention: −yaw − 90°", -expected - np.pi / 2),
        ("is in degrees", np.degrees(expected)),
        ("is a quarter turn off", expected + np.pi / 2),
        ("is a quarter turn off", expected - np.pi / 2),
    ]
    candidates += _turned_otherwise(doubtful(motion, of_points=False), ahead)
    circle = [(words, _on_circle(yaws)) for words, yaws in candidates]
    words = _best(circle, _on_circle(after), _on_circle(expected), 0.012)
    return f"yaw {words}" if words else ""


def _turned_otherwise(guesses: Iterable[Hypothesis], ahead: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The yaws that hypotheses make of headings float[N, 3]; those about sizes and places make none."""
    found = []
    for guess in guesses:
        if "scale" not in guess.words and "shift" not in guess.words:
            moved = ahead @ guess.linear.T
            found.append((guess.words, np.arctan2(moved[:, 1], moved[:, 0])))
    return found


def explain_map(motion: Similarity, before: np.ndarray, after: np.ndarray, cell: float) -> str:
    """Why features of a map are at float[M, 2] (m); they were at `before`."""
    flat = np.column_stack([before, np.zeros(len(before))])
    expected = motion.moved(flat)[:, :2]
    candidates = [
        (guess.words, (flat @ guess.linear.T + guess.shift)[:, :2]) for guess in hypotheses(motion, of_points=True)
    ]
    inverse = np.linalg.inv(motion.linear)
    candidates.append(("was moved by the inverse", ((flat - motion.shift) @ inverse.T)[:, :2]))
    candidates.append(("has x and y exchanged", expected[:, ::-1]))
    words = _best(candidates, after, expected, cell)
    return f"the map {words}" if words else ""


def explain_dims(scale: float, before: np.ndarray, after: np.ndarray) -> str:
    """Why sizes float[N, 3] are `after`."""
    expected = scale * before
    candidates = [
        ("were not scaled", before),
        ("were scaled twice", scale**2 * before),
        ("were divided by the scale instead of multiplied", before / scale),
        ("have length and width exchanged", expected[:, [1, 0, 2]]),
        ("are halves", expected / 2),
        ("are doubled", expected * 2),
        ("were scaled, but for the height", np.column_stack([expected[:, :2], before[:, 2]])),
    ]
    words = _best(candidates, after, expected, 0.004 * float(np.median(expected)))
    return f"dims {words}" if words else ""


def explain_lags(before: np.ndarray, after: np.ndarray) -> str:
    """Why the lags of sweeps float[K] (s) are `after`."""
    most = float(before.max())
    candidates = [
        ("is negative: its sign is reversed", -before),
        ("is in microseconds", before * 1e6),
        ("is in milliseconds", before * 1e3),
        ("is in nanoseconds", before * 1e9),
        ("is in reverse order: the oldest sweep has the smallest", most - before),
        ("is in reverse order, and negative", before - most),
        ("is 0 for every sweep", np.zeros_like(before)),
        ("counts sweeps instead of seconds", np.argsort(np.argsort(before)).astype(np.float64)),
        ("is a share of the whole instead of seconds", before / most if most else before),
    ]
    for words, lags in candidates:
        if np.allclose(after, lags, rtol=0.01, atol=0.002 * max(1e-9, float(np.abs(lags).max()))):
            return f"lag {words}"
    return _general_lag(before, after)


def _general_lag(before: np.ndarray, after: np.ndarray) -> str:
    if len(before) < 2 or not np.isfinite(after).all() or np.ptp(before) == 0:
        return ""
    slope, offset = np.polyfit(before, after, 1)
    if np.abs(after - slope * before - offset).max() > 0.02 * max(float(np.abs(after).max()), 1e-9):
        return ""
    if abs(slope - 1) < 0.01:
        return f"lag is shifted by {offset:.3g} s: the key frame is not at 0"
    if abs(slope + 1) < 0.01:
        return f"lag is reversed and shifted by {offset:.3g} s, as a timestamp is"
    if abs(offset) < 0.01 * abs(slope) * float(before.max()):
        return f"lag was multiplied by {slope:.3g}, and what drives shows nothing of it"
    return ""


def _best(candidates: Sequence[tuple[str, np.ndarray]], after: np.ndarray, expected: np.ndarray, slack: float) -> str:
    """The words of what fits best: closer than `slack`, and much closer than what is expected."""
    if not len(after) or not np.isfinite(after).all():
        return "is not finite" if len(after) else ""
    least, found = _off(after, expected) / 2, ""
    for words, guess in candidates:
        off = _off(after, guess) + 0.05 * slack  # two that fit exactly are alike
        if off <= 1.05 * slack and off < (_TIE * least if found else least):
            least, found = off, words
    return found


def _off(after: np.ndarray, guess: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(after - guess, axis=1)))


def _on_circle(yaws: np.ndarray) -> np.ndarray:
    turned = wrapped(yaws)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1)
