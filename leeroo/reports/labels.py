"""The report of labels: how many rows have each, who gave them, and how far they agree with gold ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from leeroo.engine.jobs.agreement import LabelAgreement, count_experts, count_labels
from leeroo.engine.jobs.checked import CheckedLabels
from leeroo.engine.jobs.proxy.findings import ProxyFindings, summarize
from leeroo.reports.plot import EXPERT, OURS, as_svg, new_axes, plot_reliability, shorten, use_style
from leeroo.reports.report import Figure, Report, Table, columns, commonest_reasons, percent, span

# Inches of a cell of the confusion matrix, and of what stands around the cells.
_CELL, _AROUND = 0.42, 2.2
# Characters of a label's name in it.
_NAME = 20
# Kinds of mistakes, and labels that may be misspelt, that are listed.
_MISTAKES = 10


def label_report(
    labelled: pa.Table,
    found: LabelAgreement | None,
    title: str,
    about: Sequence[str] = (),
    prefix: str = "",
    proxy: ProxyFindings | None = None,
) -> Report:
    """Return who labelled how many rows, what the proxy did, and the agreement with gold labels if there are any."""
    errors = labelled.column(prefix + "error").to_pylist()
    cost = {name: sum(labelled.column(prefix + name).to_pylist()) for name in ("cost_usd", "list_cost_usd")}
    return Report(
        title=title,
        about=about,
        parts=[
            _labels(labelled, prefix),
            _experts(labelled, prefix),
            *([] if proxy is None or proxy.off else [_proxy(proxy)]),
            *([] if found is None else _agreement(found)),
        ],
        notes=[] if proxy is None else proxy_notes(proxy),
        data={
            "rows": len(labelled),
            "failed": len(errors) - errors.count(None),
            "errors": commonest_reasons(errors),
            **cost,
            "agreement": None if found is None else found.as_json(),
            "proxy": None if proxy is None else proxy.as_json(),
        },
    )


def _labels(labelled: pa.Table, prefix: str) -> Table:
    return Table(
        title="Labels",
        about="Rows with each label, their share in %, and their mean confidence.",
        columns=columns("label | rows: count | share %: share | confidence: score"),
        rows=[(label, n, n / len(labelled), sure) for label, n, sure in count_labels(labelled, prefix)],
    )


def _experts(labelled: pa.Table, prefix: str) -> Table:
    return Table(
        title="Experts",
        about="Whose labels were kept; the list cost in USD counts the answers of cheaper experts to the same rows.",
        columns=columns("expert | rows: count | confidence: score | cost USD: usd"),
        rows=count_experts(labelled, prefix),
    )


def _proxy(proxy: ProxyFindings) -> Table:
    """Return what the proxy labelled, and how often a check says that it differs from the experts."""
    return Table(
        title="Proxy",
        about="Different texts that a classifier labelled, having learned from the experts' labels. A random part of "
        "its labels was checked by the experts, whose labels were kept there. In %: how many differed, the interval of "
        "95 %, and how many may.",
        columns=columns(
            "labelled: count | by experts: count | checked: count | differ %: share | interval: interval | may: share"
        ),
        rows=[
            (
                proxy.labelled,
                proxy.asked,
                proxy.checked,
                proxy.differing / max(1, proxy.checked),
                proxy.difference,
                proxy.promise,
            )
        ],
    )


def proxy_notes(proxy: ProxyFindings) -> list[str]:
    """Return a sentence on what the proxy did or why not, and one on texts that experts labelled twice."""
    notes = [summarize(proxy)]
    if proxy.repeated:
        alike = f"{proxy.repeated_alike:,} of {proxy.repeated:,} texts"
        notes.append(f"experts asked twice gave {alike} the same label; the proxy may differ in {proxy.promise:.1%}")
    return notes


def _agreement(found: LabelAgreement) -> list[Table | Figure]:
    return [
        Table(
            title="Agreement with the gold labels",
            about="In %. The prior gives every row the commonest gold label. Macro F1 is the mean over the gold "
            "labels.",
            columns=columns(" | accuracy: share | interval: interval | macro F1: share"),
            rows=[
                ("labels", found.accuracy.value, found.accuracy, found.macro_f1),
                ("prior", found.prior_accuracy, None, found.prior_macro_f1),
            ],
        ),
        _by_label(found),
        Figure("Gold labels against ours", lambda: plot_confusion(found), wide=True),
        Figure(
            "Confidence against agreement",
            lambda: plot_reliability(found.confidence[:, None], found.right[:, None]),
            "Confidence in ten bins of equal width against how often the label is right; the area of a dot is how "
            f"many rows there are. Expected calibration error {found.ece:.3f}.",
        ),
    ]


def _by_label(found: LabelAgreement) -> Table:
    wanted, given = found.confusion.sum(axis=1), found.confusion.sum(axis=0)
    return Table(
        title="By gold label",
        about="In %: recall, precision and F1.",
        columns=columns("label | rows: count | recall: share | precision: share | F1: share"),
        rows=[
            (name, wanted[i], hits / wanted[i], hits / max(1, given[i]), found.f1[name])
            for i, (name, hits) in enumerate(zip(found.names, np.diag(found.confusion), strict=True))
            if name in found.f1
        ],
    )


def plot_confusion(found: LabelAgreement) -> str:
    """Draw the confusion matrix: shares of each gold label, with the counts written in.

    Raises:
        UsageError: matplotlib is not installed.

    """
    names = [shorten(name or "(none)", _NAME) for name in found.names]
    wanted = np.maximum(found.confusion.sum(axis=1, keepdims=True), 1)
    part = found.confusion / wanted
    side = _AROUND + _CELL * len(names)
    with use_style():
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


def check_report(found: CheckedLabels, kept: int, where: str) -> Report:
    """Return how many of the labels that people checked are right, and what was kept of it.

    Args:
        found: What people found.
        kept: Feedback that was kept.
        where: The store that has it.

    """
    blank = found.rows - found.checked
    kinds = {"by chance": found.by_chance, "least sure": found.least_sure}
    there = {name: each for name, each in kinds.items() if each is not None}
    table = Table(
        title="Right labels",
        columns=columns("drawn | checked: count | right %: share | 95 % interval: interval | confidence: score"),
        rows=[
            (name, each.n, each.accuracy.value, each.accuracy, float(each.confidence.mean()))
            for name, each in there.items()
        ],
    )
    mistakes = Table("Mistakes", columns("label | correct label | rows: count"), found.mistakes[:_MISTAKES])
    notes = []
    if found.by_chance is None:
        notes.append("no row drawn by chance was checked: the least sure rows do not show how good all labels are")
    if blank:
        notes.append(f"{blank:,} rows have no correct_label, and do not count")
    if found.unknown:
        names = ", ".join(found.unknown[:_MISTAKES])
        notes.append(f"no row of the sample has these labels, which may be misspelt: {names}")
    return Report(
        title="Checked labels",
        summary=[_rightness(found.by_chance), f"feedback on {kept:,} answers kept: {where}"],
        parts=[table, *([mistakes] if found.mistakes else [])],
        notes=notes,
        data={
            "rows": found.rows,
            "checked": found.checked,
            **{name.replace(" ", "_"): None if each is None else each.as_json() for name, each in kinds.items()},
            "mistakes": [{"label": wrong, "correct_label": right, "rows": n} for wrong, right, n in found.mistakes],
            "unknown": found.unknown,
            "feedback": kept,
            "store": where,
        },
    )


def _rightness(found: LabelAgreement | None) -> str:
    if found is None:
        return "how many labels of the table are right is not known"
    right = f"about {percent(found.accuracy.value)} % of the labels are right"
    return f"{right} (95 % interval {span(found.accuracy)} %, from {found.n:,} rows drawn by chance)"
