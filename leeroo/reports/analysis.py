"""The reports of a pool of experts, and of the topics that it lacks."""

from __future__ import annotations

from collections.abc import Sequence

from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.expert_selection import ExpertSelection, SelectedPool, SelectionStep
from leeroo.engine.orchestrator.analysis.frontier import Interval
from leeroo.engine.orchestrator.analysis.gaps import Gaps, Topic
from leeroo.reports.report import Report, Table, columns, percent

# How many topics are listed that are no gaps: those with the most to gain.
_OTHERS = 5


def selection_report(selection: ExpertSelection) -> Report:
    """Return the curve of a pool, how to read it, and the notes."""
    best = selection.best_single
    cost = "" if best.cost_usd_per_1k is None else f" for {usd(best.cost_usd_per_1k)} per 1,000"
    alone = f"the best single expert, {best.expert}, is right on {percent(best.accuracy)} %{cost}"
    return Report(
        title="Experts that complement each other",
        summary=[
            f"{selection.n:,} questions; {alone}.",
            "Accuracies in %, USD per 1,000 questions. oracle: choosing with hindsight, which luck flatters, and its "
            "cost. held out: the same on questions that the experts were not chosen by. by subject: choosing by a "
            "question's subject alone. A good router comes between the two.",
        ],
        parts=[
            Table(
                title="",
                columns=columns(
                    "k: count | expert | adds: gain | oracle: share | USD: usd | held out: share | by subject: share"
                ),
                rows=[_pool(pool) for pool in [*selection.curve, selection.all]],
            )
        ],
        notes=selection.notes,
        data=selection.as_json(),
    )


def _pool(pool: SelectedPool) -> tuple[object, ...]:
    expert, adds = (pool.expert, pool.adds) if isinstance(pool, SelectionStep) else ("all of them", None)
    accuracies = (pool.oracle_accuracy, pool.cost_usd_per_1k, pool.held_out_accuracy, pool.by_subject_accuracy)
    return (pool.k, expert, adds, *accuracies)


def gaps_report(gaps: Gaps) -> Report:
    """Return a table of topics for each kind of gap, and one of the other topics with the most to gain."""
    good = f"{percent(gaps.good)} %"
    parts = [_topics(f"No expert is good: all are surely below {good}", gaps.of("nobody"), "no such topic")]
    if gaps.dearest is not None:
        title = f"Only the dearest expert is good: {gaps.dearest} reaches {good} and leads all others clearly"
        parts.append(_topics(title, gaps.of("only the dearest"), "no such topic"))
    others = [topic for topic in gaps.topics if topic.kind is None]
    parts.append(_topics("The most to gain elsewhere", others[:_OTHERS], "no other topic"))
    return Report(
        title="Topics that the experts lack",
        summary=[
            f"{gaps.n:,} questions, {len(gaps.topics)} topics. gain: questions that the best expert does not get "
            "right; %: its accuracy, with the interval; mean: of all experts; lead: of the dearest over the best of "
            "the others; none: questions that nobody gets right, in %."
        ],
        parts=parts,
        notes=gaps.notes,
        data=gaps.as_json(),
    )


def _topics(title: str, topics: Sequence[Topic], nothing: str) -> Table:
    routed = any(topic.routed_accuracy is not None for topic in topics)
    return Table(
        title=title,
        columns=columns(
            "topic | n: count | gain: count | best expert | %: share | 95 %: interval | mean: share | lead: gain | "
            "none: share" + (" | routed: share" if routed else "")
        ),
        rows=[_topic(topic, routed=routed) for topic in topics],
        empty=nothing,
        remarks=[f"  {topic.name}: {topic.examples[0]}" for topic in topics if topic.kind and topic.examples],
    )


def _topic(topic: Topic, *, routed: bool) -> tuple[object, ...]:
    best = topic.best
    lead = None if topic.lead is None else topic.lead.value
    interval = Interval(best.accuracy, best.low, best.high)
    known = (topic.name, topic.n, round(topic.to_gain), best.expert, best.accuracy, interval)
    row = (*known, topic.mean_accuracy, lead, topic.nobody_right)
    return (*row, topic.routed_accuracy) if routed else row
