"""Labels in numbers: how many rows have each, and how far they agree with those that people gave.

Knows nothing of tables and pictures that show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.errors import InputError
from leeroo.engine.orchestrator.analysis.frontier import Interval
from leeroo.engine.orchestrator.statistics import calibration_error, wilson_interval
from leeroo.engine.tables.values import as_text


@dataclass(frozen=True)
class LabelAgreement:
    """One label for each row against the gold one; where there is no label it is wrong.

    Attributes:
        n: Rows with a gold label.
        accuracy: With its 95 % interval.
        macro_f1: Mean over the gold labels of the harmonic mean of precision and recall.
        f1: By label.
        prior_accuracy, prior_macro_f1: The same where every row gets the commonest gold label.
        names: The labels, those of the gold column that are none of ours after them, and '' for no label.
        confusion: [k, k], rows with this gold label (axis 0) that got that label (axis 1).
        ece: Expected calibration error of the confidence, in ten bins.
        confidence, right: [n], of each row.
    """

    n: int
    accuracy: Interval
    macro_f1: float
    f1: dict[str, float]
    prior_accuracy: float
    prior_macro_f1: float
    names: tuple[str, ...]
    confusion: Int64s
    ece: float
    confidence: Float64s
    right: Float64s

    def as_json(self) -> dict[str, Any]:
        """Return what `leeroo label --json` prints about it."""
        kept = ("n", "macro_f1", "f1", "prior_accuracy", "prior_macro_f1", "names", "ece")
        plain = {name: getattr(self, name) for name in kept}
        return {**plain, "accuracy": asdict(self.accuracy), "confusion": self.confusion.tolist()}


def measure_agreement(labelled: pa.Table, gold: str, names: Sequence[str], prefix: str = "") -> LabelAgreement | None:
    """Compare the labels of a table with its column `gold`; None where that holds no label.

    Rows whose gold label is NULL, NaN or blank do not count.

    Raises:
        InputError: There is no such column.

    """
    wanted = read_gold(labelled, gold)
    rows = [i for i, text in enumerate(wanted) if text is not None and text.strip()]
    if not rows:
        return None
    got = [value or "" for value in labelled.column(prefix + "label").to_pylist()]
    truth, given = [str(wanted[i]) for i in rows], [got[i] for i in rows]
    every = (*names, *sorted(set(truth) - set(names)), *([""] if "" in given else []))
    at = {name: i for i, name in enumerate(every)}
    confusion = np.zeros((len(every), len(every)), np.int64)
    np.add.at(confusion, ([at[t] for t in truth], [at[g] for g in given]), 1)
    right = np.array([t == g for t, g in zip(truth, given, strict=True)], np.float64)
    confidence = _confidence(labelled, prefix)[rows]
    f1 = _f1(confusion)
    there = np.flatnonzero(confusion.sum(axis=1))  # labels that the gold column has
    commonest = confusion.sum(axis=1).argmax()
    prior = np.zeros_like(confusion)
    prior[:, commonest] = confusion.sum(axis=1)
    accuracy = float(right.mean())
    return LabelAgreement(
        n=len(rows),
        accuracy=Interval(accuracy, *wilson_interval(accuracy, len(rows))),
        macro_f1=float(f1[there].mean()),
        f1={every[i]: float(f1[i]) for i in there.tolist()},
        prior_accuracy=float(confusion[commonest].sum() / len(rows)),
        prior_macro_f1=float(_f1(prior)[there].mean()),
        names=every,
        confusion=confusion,
        ece=calibration_error(confidence, right, np.ones(len(rows))),
        confidence=confidence,
        right=right,
    )


def read_gold(labelled: pa.Table, gold: str) -> list[str | None]:
    """Return the gold labels as text; NaN is none."""
    if gold not in labelled.column_names:
        raise InputError(f"the input has no column {gold!r}; its columns are: {', '.join(labelled.column_names)}")
    if pa.types.is_nested(labelled.schema.field(gold).type):
        raise InputError(f"the column {gold!r} holds lists or structures, not one gold label a row")
    column = labelled.column(gold)
    pairs = zip(column.to_pylist(), as_text(column).to_pylist(), strict=True)
    return [None if value != value else text for value, text in pairs]


def _confidence(labelled: pa.Table, prefix: str) -> Float64s:
    """Return the confidence of each row [n]; 0 where there is none."""
    return np.asarray(np.nan_to_num(labelled.column(prefix + "confidence").cast(pa.float64()).to_numpy()), np.float64)


def _f1(confusion: Int64s) -> Float64s:
    """Return for each label [k] twice the hits over what was given and what was wanted; 0 where it is neither."""
    hits, given, wanted = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    return np.asarray(2 * hits / np.maximum(given + wanted, 1), np.float64)


def count_labels(labelled: pa.Table, prefix: str = "") -> list[tuple[str, int, float]]:
    """Return each label with its rows and their mean confidence, the commonest first; a row may have several."""
    confidences: dict[str, list[float]] = {}
    rows = zip(labelled.column(prefix + "label").to_pylist(), _confidence(labelled, prefix).tolist(), strict=True)
    for labels, confidence in rows:
        for label in labels if isinstance(labels, list) else [labels]:
            confidences.setdefault("(none)" if label is None else label, []).append(confidence)
    counted = [(label, len(own), float(np.mean(own))) for label, own in confidences.items()]
    return sorted(counted, key=lambda each: -each[1])


def count_experts(labelled: pa.Table, prefix: str = "") -> list[tuple[str, int, float, float]]:
    """Return each expert with the rows whose label it gave, their mean confidence, and their list cost in USD."""
    named = [name or "(none)" for name in labelled.column(prefix + "expert").to_pylist()]
    confidence, cost = _confidence(labelled, prefix), labelled.column(prefix + "list_cost_usd").to_numpy()
    counted = []
    for name in sorted(set(named), key=lambda each: -named.count(each)):
        own = np.array([each == name for each in named])
        counted.append((name, int(own.sum()), float(confidence[own].mean()), float(cost[own].sum())))
    return counted
