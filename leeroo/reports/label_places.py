"""Labels: where names go on a plot, so that each can be read and is seen to belong to its point. All in pixels.

A discrete search after Christensen, Marks & Shieber, "An empirical study of algorithms for point-feature label
placement" (1995): each label has some places to choose from, and labels take turns. The packages textalloc and
adjustText were tried on the experts of real pools, and left names on points and lines through names.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from leeroo.engine.arrays import Bools, Float64s, Int64s

# Where a label is tried: how far from its point, and in which directions; and how many of those places are kept.
_DISTANCES = (6, 8, 10, 12, 15, 19, 24, 30, 38, 48, 60, 76)
_DIRECTIONS = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_KEPT = 80
# Radius of a point, and how near a line may pass one without seeming to be its own.
_POINT = 5
# What is wrong with a place, in pixels that one would rather go farther.
_OUTSIDE, _ON_LABEL, _ON_POINT, _ON_CURVE = 5000.0, 1000.0, 300.0, 10.0
_LINE_THROUGH_LABEL, _LINES_CROSS, _LINE_BY_POINT, _NEARER_TO_OTHER = 300.0, 100.0, 300.0, 40.0
# A line from a point to its label is looked at in so many spots.
_SPOTS = np.linspace(0, 1, 6)[:, None]
# How often labels are moved at random from the best that was found, how many, and how long they then take turns.
_KICKS, _KICKED, _ROUNDS = 300, 3, 20


def place_labels(points: Float64s, sizes: Float64s, frame: Float64s, curves: Float64s) -> tuple[Float64s, Float64s]:
    """Lower left corners of the labels [n, 2], and where on each a line from its point should end [n, 2].

    Labels take turns in taking the place that is best as the others stand, until none moves; then again and again from
    there with a few of them moved at random.

    Args:
        points: [n, 2], what is labelled.
        sizes: [n, 2], widths and heights.
        frame: [4], left, bottom, right and top; labels stay within.
        curves: [m, 2], close points along lines that had better not be covered.
    """
    away = np.array([(d * np.cos(a), d * np.sin(a)) for d, a in product(_DISTANCES, _DIRECTIONS)])
    # A label's nearest spot is that far away: to the right its left end, straight above the middle of its lower edge.
    pull = np.tile((1 - np.stack([np.cos(_DIRECTIONS), np.sin(_DIRECTIONS)], axis=1)) / 2, (len(_DISTANCES), 1))
    low = points[:, None] + away - pull * sizes[:, None]
    boxes = np.concatenate([low, low + sizes[:, None]], axis=2)
    start = points[:, None, None]
    lines = start + _SPOTS * (np.clip(start, boxes[:, :, None, :2], boxes[:, :, None, 2:]) - start)
    alone = np.repeat(_DISTANCES, len(_DIRECTIONS)) + _faults_alone(points, boxes, lines, frame, curves)
    everyone = np.arange(len(points))
    kept = everyone[:, None], alone.argsort(axis=1, kind="stable")[:, :_KEPT]
    boxes, lines, alone = boxes[kept], lines[kept], alone[kept]
    chosen = _search(alone, _faults_together(boxes, lines))
    return boxes[everyone, chosen, :2], lines[everyone, chosen, -1]


def _search(alone: Float64s, together: Float64s) -> Int64s:
    """The best places found [n]; the same each time."""
    n, places = alone.shape
    random = np.random.default_rng(0)
    chosen = _settle(alone.argmin(axis=1), alone, together)
    for _ in range(_KICKS):
        other = chosen.copy()
        other[random.integers(n, size=_KICKED)] = random.integers(places, size=_KICKED)
        other = _settle(other, alone, together)
        if _cost(other, alone, together) <= _cost(chosen, alone, together):
            chosen = other
    return chosen


def _settle(chosen: Int64s, alone: Float64s, together: Float64s) -> Int64s:
    chosen, everyone = chosen.copy(), np.arange(len(chosen))
    for _ in range(_ROUNDS):
        before = chosen.copy()
        for i in everyone:
            chosen[i] = (alone[i] + together[i][:, everyone, chosen].sum(axis=1)).argmin()
        if (chosen == before).all():
            break
    return chosen


def _cost(chosen: Int64s, alone: Float64s, together: Float64s) -> float:
    i = np.arange(len(chosen))
    return float(alone[i, chosen].sum() + together[i[:, None], chosen[:, None], i, chosen].sum() / 2)


def _faults_alone(points: Float64s, boxes: Float64s, lines: Float64s, frame: Float64s, curves: Float64s) -> Float64s:
    """What is wrong with each place [n, places], whatever the other labels do."""
    outside = (boxes[..., :2] < frame[:2]).any(axis=2) | (boxes[..., 2:] > frame[2:]).any(axis=2)
    others = ~np.eye(len(points), dtype=bool)[:, None]  # [n, 1, n]
    gaps = np.linalg.norm(points - np.clip(points, boxes[:, :, None, :2], boxes[:, :, None, 2:]), axis=3)
    own = np.linalg.norm(lines[:, :, -1] - points[:, None], axis=2)[..., None]
    by = np.linalg.norm(lines[:, :, :, None] - points, axis=4).min(axis=2)  # [n, places, n]
    return np.asarray(
        _OUTSIDE * outside
        + _ON_CURVE * _inside(curves, boxes).sum(axis=2)
        + _ON_POINT * (gaps < _POINT).sum(axis=2)
        + _LINE_BY_POINT * (others & (by < _POINT)).sum(axis=2)
        + _NEARER_TO_OTHER * (others & (gaps < own)).sum(axis=2)
    )


def _faults_together(boxes: Float64s, lines: Float64s) -> Float64s:
    """What is wrong with each two places of two labels, [n, places, n, places]."""
    n, places = boxes.shape[:2]
    boxes, lines = boxes.reshape(-1, 4), lines.reshape(n * places, -1, 2)
    left, bottom, right, top = boxes.T
    overlap = (left[:, None] < right) & (left < right[:, None]) & (bottom[:, None] < top) & (bottom < top[:, None])
    through = _passes(lines, boxes)
    crossed = _cross(lines[:, 0], lines[:, -1])
    faults = _ON_LABEL * overlap + _LINE_THROUGH_LABEL * (through | through.T) + _LINES_CROSS * crossed
    table: Float64s = faults.reshape(n, places, n, places)
    table[np.arange(n), :, np.arange(n)] = 0
    return table


def _passes(lines: Float64s, boxes: Float64s) -> Bools:
    """Which of the lines [m, spots, 2] pass through which of the boxes [k, 4]: [m, k]."""
    spots = _inside(lines.reshape(-1, 2), boxes).reshape(len(boxes), *lines.shape[:2])
    return np.asarray(spots.any(axis=2).T)


def _inside(points: Float64s, boxes: Float64s) -> Bools:
    """Which of the points [m, 2] lie in which of the boxes [..., 4]: [..., m]."""
    (x, y), (left, bottom, right, top) = points.T, np.moveaxis(boxes, -1, 0)[..., None]
    return np.asarray((left < x) & (x < right) & (bottom < y) & (y < top))


def _cross(start: Float64s, end: Float64s) -> Bools:
    """Which of the lines cross, [m, m]."""

    def side(point: Float64s) -> Float64s:
        along, to = (end - start)[:, None], point - start[:, None]
        return np.asarray(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])

    apart = side(start) * side(end) < 0  # ends of the second on both sides of the first
    return apart & apart.T
