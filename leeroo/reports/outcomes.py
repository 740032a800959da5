"""The report on a file of outcomes: what would be read, what is missing, and what follows from that."""

from __future__ import annotations

from leeroo.engine.orchestrator.outcomes.files import describe
from leeroo.engine.orchestrator.outcomes.read import LEAST_QUESTIONS
from leeroo.engine.orchestrator.outcomes.staged import FileOutcomes
from leeroo.reports.report import Report, Table, columns

# An expert with fewer outcomes than this is learned from the others more than from its own.
_FEW = 100


def outcomes_report(found: FileOutcomes) -> Report:
    """Return the form and the counts, and what is missing with its consequences."""
    return Report(
        title="Recorded outcomes",
        summary=[describe(found)],
        parts=[
            Table(
                title="Outcomes by expert",
                columns=columns(
                    "expert | outcomes: count | mean score: score | with tokens: count | with cost: count | price"
                ),
                rows=[
                    (each.expert, each.outcomes, each.mean_score, each.with_tokens, each.with_cost, _price(each.priced))
                    for each in found.experts
                ],
                empty="no outcomes",
            ),
            Table(
                title="Rows left out",
                columns=columns("reason | rows: count | such as"),
                rows=[(each.reason, each.rows, ", ".join(each.examples)) for each in found.left_out],
                empty="none",
            ),
        ],
        notes=[*found.remarks, *_notes(found)],
        data={
            "source": found.source,
            "files": found.files,
            "forms": found.forms,
            "columns": found.columns,
            "scores": found.scores,
            "rows": found.rows,
            "questions": found.questions,
            "splits": found.splits,
            "experts": {
                each.expert: {name: value for name, value in each._asdict().items() if name != "expert"}
                for each in found.experts
            },
            "repeated": found.repeated,
            "contradicting": found.contradicting,
            "left_out": [each._asdict() for each in found.left_out],
            "notes": [*found.remarks, *_notes(found)],
        },
    )


def _price(priced: bool) -> str:
    return "known" if priced else "unknown"


def _notes(found: FileOutcomes) -> list[str]:
    """Return what is missing, and what follows from it."""
    notes: list[str] = []
    training = found.splits.get("train", 0)
    if training < LEAST_QUESTIONS:
        notes.append(f"{training} questions are for training: a router needs at least {LEAST_QUESTIONS}")
    few = [f"{each.expert} ({each.outcomes:,})" for each in found.experts if each.outcomes < _FEW]
    if few:
        notes.append(f"few outcomes, so the predictions lean on the other experts: {', '.join(few)}")
    if not any(each.with_tokens or each.with_cost for each in found.experts):
        notes.append("neither tokens nor costs: each expert's max_tokens is expected of its answers, and costs follow")
    elif not any(each.with_tokens for each in found.experts):
        notes.append("no tokens: the lengths of answers follow from costs and prices")
    unpriced = [each.expert for each in found.experts if not each.priced]
    if unpriced:
        notes.append(
            f"no prices of {', '.join(unpriced)}: leeroo evaluate needs them; add the columns usd_per_m_input and "
            "usd_per_m_output"
        )
    if "test" not in found.splits:
        notes.append("no question is for tests: leeroo evaluate measures with --split all, or add a column 'split'")
    if found.repeated:
        notes.append(
            f"{found.repeated:,} pairs of question and expert are there more than once, {found.contradicting:,} with "
            "scores that differ: the means count"
        )
    return notes
