"""The card of a shipped router, in Markdown: data, figures on held-out questions, limits, attribution."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.catalogue import About


def card(name: str, about: About, limits: Sequence[str], router: Router, found: Evaluation) -> str:
    """Return the card of a router, with the figures of an evaluation."""
    training = router.summary
    return "\n".join(
        [
            f"# Router {name}: {about.title}\n",
            f"Learned from {training.outcomes:,} recorded outcomes of {len(router.experts)} experts on "
            f"{training.questions:,} questions with the encoder {', '.join(router.encoders)}, and measured on "
            f"{found.n:,} other questions. Written by bench/routing/shipped.py.\n",
            "## Limits\n",
            *(f"- {limit}" for limit in limits),
            "\n## Cost and accuracy\n",
            f"All test questions chosen for together under a budget, which is a part of what {found.best} costs. "
            "Accuracy in % with its 95 % bootstrap interval; money in USD per 1,000 questions. The random mix knows "
            "the experts but not the questions.\n",
            "| part | budget | spent | this router | random mix | best single expert within the budget |",
            "|---|---|---|---|---|---|",
            *_budgets(found),
            f"\nWith hindsight, the best expert of each question: {_percent(found.oracle.accuracy)} % for "
            f"{_usd(found.oracle.cost_usd_per_1k)}.\n",
            "## Calibration\n",
            f"Expected calibration error {found.ece:.3f} on the test questions (mean over the experts), "
            f"{training.ece:.3f} cross-validated on the training questions.\n",
            "## Experts\n",
            "| expert | model | USD per M in / out | accuracy % | predicted % | USD per 1,000 |",
            "|---|---|---|---|---|---|",
            *_experts(about, found),
            "\n## Licence and attribution\n",
            f"{about.licence}.\n",
            *(f"- {line}" for line in about.attribution),
            "",
        ]
    )


def _budgets(found: Evaluation) -> list[str]:
    mix = found.baselines["random"] or []
    rows = []
    for share, accuracy in found.shares.items():
        ours, random = found.at(found.frontier, share), found.at(mix, share)
        within = [point.accuracy for point in found.experts.values() if point.cost_usd_per_1k <= ours.budget_usd_per_1k]
        rows.append(
            f"| {Fraction(share).limit_denominator(100)} | {_usd(ours.budget_usd_per_1k)} "
            f"| {_usd(ours.cost_usd_per_1k)} | {_percent(accuracy.value)} [{_percent(accuracy.low)}, "
            f"{_percent(accuracy.high)}] | {_percent(random.accuracy)} "
            f"| {_percent(max(within)) if within else '-'} |"
        )
    return rows


def _experts(about: About, found: Evaluation) -> list[str]:
    predicted = dict(zip(found.experts, found.scores_pred.mean(axis=0), strict=True))
    best_first = sorted(found.experts.items(), key=lambda item: -item[1].accuracy)
    return [
        f"| {name} | {about.experts[name].model} | {about.experts[name].usd_per_m_input:g} / "
        f"{about.experts[name].usd_per_m_output:g} | {_percent(point.accuracy)} | {_percent(predicted[name])} "
        f"| {_usd(point.cost_usd_per_1k)} |"
        for name, point in best_first
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _usd(amount: float) -> str:
    return f"{amount:.3g}"
