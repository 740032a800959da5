"""Agreement: labels against those that people gave, as numbers, tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.errors import InputError
from leeroo.engine.jobs.mmlu.mmlu import interval
from leeroo.engine.money import plain_usd
from leeroo.engine.orchestrator.analysis.frontier import Estimate
from leeroo.engine.orchestrator.statistics import calibration_error
from leeroo.engine.tables.values import as_text
from leeroo.reports.findings import Table, percent
from leeroo.reports.page import page, paragraph, section, table
from leeroo.reports.plot import EXPERT, OURS, as_svg, new_axes, plot_reliability, shortened, styled

# Inches of a cell of the confusion matrix, and of what stands around the cells.
_CELL, _AROUND = 0.42, 2.2
# Characters of a label's name in it.
_NAME = 20


@dataclass(frozen=True)
class Agreement:
    """One label for each row against the gold one; where there is no label it is wrong.

    Attributes:
        n: Rows with a gold label.
        accuracy: With its 95 % interval.
        macro_f1: Mean over the gold labels of the harmonic mean of precision and recall.
        f1: By label.
        prior_accuracy, prior_macro_f1: Of giving every row the commonest gold label.
        names: The labels, those of the gold column that are none of ours after them, and '' for no label.
        confusion: [k, k], rows with this gold label (axis 0) that got that label (axis 1).
        ece: Expected calibration error of the confidence, in ten bins.
    """

    n: int
    accuracy: Estimate
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
        """What `leeroo label --json` prints of it."""
        kept = ("n", "macro_f1", "f1", "prior_accuracy", "prior_macro_f1", "names", "ece")
        told = {name: getattr(self, name) for name in kept}
        return {**told, "accuracy": asdict(self.accuracy), "confusion": self.confusion.tolist()}


def agree(labelled: pa.Table, gold: str, names: Sequence[str], prefix: str = "") -> Agreement | None:
    """Compare the labels of a table with its column `gold`; None where that holds no label.

    Rows whose gold label is NULL, NaN or blank do not count.

    Raises:
        InputError: There is no such column.

    """
    if gold not in labelled.column_names:
        raise InputError(f"the input has no column {gold!r}; its columns are: {', '.join(labelled.column_names)}")
    if pa.types.is_nested(labelled.schema.field(gold).type):
        raise InputError(f"the column {gold!r} holds lists or structures, not one gold label a row")
    told = zip(labelled.column(gold).to_pylist(), as_text(labelled.column(gold)).to_pylist(), strict=True)
    wanted = [None if value != value else text for value, text in told]  # NaN is no label
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
    confidence = np.nan_to_num(labelled.column(prefix + "confidence").cast(pa.float64()).to_numpy()[rows])
    f1 = _f1(confusion)
    there = np.flatnonzero(confusion.sum(axis=1))  # labels that the gold column has
    commonest = confusion.sum(axis=1).argmax()
    prior = np.zeros_like(confusion)
    prior[:, commonest] = confusion.sum(axis=1)
    return Agreement(
        n=len(rows),
        accuracy=interval(right),
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


def _f1(confusion: Int64s) -> Float64s:
    """Of each label [k]: twice the hits over what was given and what was wanted; 0 where it is neither."""
    hits, given, wanted = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    return np.asarray(2 * hits / np.maximum(given + wanted, 1), np.float64)


def shares(labelled: pa.Table, prefix: str = "") -> Table:
    """How many rows got which label, and how sure that was."""
    column = labelled.column(prefix + "label").to_pylist()
    sure = np.nan_to_num(labelled.column(prefix + "confidence").cast(pa.float64()).to_numpy())
    of: dict[str, list[float]] = {}
    for labels, confidence in zip(column, sure.tolist(), strict=True):
        for label in labels if isinstance(labels, list) else [labels]:
            of.setdefault("(none)" if label is None else label, []).append(confidence)
    n = len(labelled)
    return Table(
        title="Labels",
        about="Rows with each label, and their mean confidence.",
        columns=("label", "rows", "share", "confidence"),
        rows=[
            (label, f"{len(own):,}", f"{percent(len(own) / n)} %", f"{np.mean(own):.2f}")
            for label, own in sorted(of.items(), key=lambda item: -len(item[1]))
        ],
    )


def askers(labelled: pa.Table, prefix: str = "") -> Table:
    """Whose labels were kept, and what they cost."""
    experts = labelled.column(prefix + "expert").to_pylist()
    sure = np.nan_to_num(labelled.column(prefix + "confidence").cast(pa.float64()).to_numpy())
    cost = labelled.column(prefix + "list_cost_usd").to_numpy()
    named = [name or "(none)" for name in experts]
    rows = []
    for name in sorted(set(named), key=lambda each: -named.count(each)):
        own = np.array([each == name for each in named])
        rows.append((name, f"{own.sum():,}", f"{sure[own].mean():.2f}", plain_usd(float(cost[own].sum()))))
    return Table(
        title="Experts",
        about="Whose labels were kept; the list cost in USD counts what cheaper experts said of the rows before.",
        columns=("expert", "rows", "confidence", "cost USD"),
        rows=rows,
    )


def against(found: Agreement) -> list[Table]:
    """The measures, and each label's F1."""
    whole = Table(
        title="Agreement with the gold labels",
        about="In %. The prior gives every row the commonest gold label. Macro F1 is the mean over the gold labels.",
        columns=("", "accuracy", "interval", "macro F1"),
        rows=[
            (
                "labels",
                percent(found.accuracy.value),
                f"{percent(found.accuracy.low)} to {percent(found.accuracy.high)}",
                percent(found.macro_f1),
            ),
            ("prior", percent(found.prior_accuracy), "", percent(found.prior_macro_f1)),
        ],
    )
    wanted = found.confusion.sum(axis=1)
    by_label = Table(
        title="By gold label",
        about="In %: recall, precision and F1.",
        columns=("label", "rows", "recall", "precision", "F1"),
        rows=[
            (
                name,
                f"{wanted[i]:,}",
                percent(found.confusion[i, i] / wanted[i]),
                percent(found.confusion[i, i] / max(1, found.confusion[:, i].sum())),
                percent(found.f1[name]),
            )
            for i, name in enumerate(found.names)
            if name in found.f1
        ],
    )
    return [whole, by_label]


def label_page(labelled: pa.Table, found: Agreement | None, title: str, about: Sequence[str], prefix: str = "") -> str:
    """The report as a page of HTML without scripts.

    Raises:
        UsageError: matplotlib is not installed.

    """
    parts = [*map(paragraph, about), table(shares(labelled, prefix)), table(askers(labelled, prefix))]
    if found is None:
        return page(title, parts)
    sure = (
        "Confidence in ten bins of equal width against how often the label is right; the area of a dot is how many "
        f"rows there are. Expected calibration error {found.ece:.3f}."
    )
    picture = plot_reliability(found.confidence[:, None], found.right[:, None])
    return page(
        title,
        [
            *parts,
            *map(table, against(found)),
            section("Gold labels against ours", f'<figure class="frontier">{plot_confusion(found)}</figure>'),
            section("Confidence against agreement", f"{paragraph(sure)}<figure>{picture}</figure>"),
        ],
    )


def plot_confusion(found: Agreement) -> str:
    """The confusion matrix: shares of each gold label, with the counts written in.

    Raises:
        UsageError: matplotlib is not installed.

    """
    names = [shortened(name or "(none)", _NAME) for name in found.names]
    wanted = np.maximum(found.confusion.sum(axis=1, keepdims=True), 1)
    part = found.confusion / wanted
    side = _AROUND + _CELL * len(names)
    with styled():
        from matplotlib.colors import LinearSegmentedColormap

        figure, axes = new_axes(side, side)
        # Drawn as shapes: a picture of pixels is data from elsewhere to the page's policy.
        axes.pcolormesh(part, cmap=LinearSegmentedColormap.from_list("share", ["#ffffff", OURS]), vmin=0, vmax=1)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        for (i, j), count in np.ndenumerate(found.confusion):
            if count:
                dark = part[i, j] > 0.5
                colour = "white" if dark else EXPERT
                axes.text(j + 0.5, i + 0.5, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
        middle = np.arange(len(names)) + 0.5
        axes.set_xticks(middle, names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(middle, names)
        axes.set(xlabel="label", ylabel="gold label")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return as_svg(figure, "confusion")
