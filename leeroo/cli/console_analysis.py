"""What people see of a pool of experts and of the topics that it lacks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leeroo.engine.money import plain_usd, usd
from leeroo.engine.orchestrator.analysis.expert_selection import ExpertSelection, SelectedPool, SelectionStep
from leeroo.engine.orchestrator.analysis.gaps import Gaps, Topic

# Topics that are no gaps: so many are shown, for what there is to gain.
_OTHERS = 5


def print_universe(universe: ExpertSelection) -> None:
    """Print the curve of a pool, how to read it, and the notes."""
    console = Console()
    table = _table(["k", "expert", "adds", "oracle", "USD", "held out", "by subject"], words=("expert",))
    for pool in [*universe.curve, universe.all]:
        table.add_row(*map(Text, _row(pool)))
    console.print(table)
    best = universe.best_single
    cost = "" if best.cost_usd_per_1k is None else f" for {usd(best.cost_usd_per_1k)} per 1,000"
    alone = f"the best single expert, {best.expert}, is right on {_percent(best.accuracy)} %{cost}"
    lines = [
        f"{universe.n:,} questions; {alone}.",
        "Accuracies in %, USD per 1,000 questions. oracle: choosing with hindsight, which luck flatters, and its cost. "
        "held out: the same on questions that the experts were not chosen by. by subject: choosing by a question's "
        "subject alone. A good router comes between the two.",
    ]
    _say(console, [*lines, *(f"note: {note}" for note in universe.notes)])


def print_gaps(gaps: Gaps) -> None:
    """Print the topics that are gaps, a table for each kind, then those with the most to gain beyond, and the notes."""
    console = Console()
    good = f"{_percent(gaps.good)} %"
    others = [topic for topic in gaps.topics if topic.kind is None]
    _section(console, f"No expert is good: all are surely below {good}", gaps.of("nobody"), "no such topic")
    if gaps.dearest is not None:
        title = f"Only the dearest expert is good: {gaps.dearest} reaches {good} and leads all others clearly"
        _section(console, title, gaps.of("only the dearest"), "no such topic")
    _section(console, "The most to gain elsewhere", others[:_OTHERS], "no other topic")
    line = (
        f"{gaps.n:,} questions, {len(gaps.topics)} topics. gain: questions that the best expert does not get right; "
        "%: its accuracy, with the interval; mean: of all experts; lead: of the dearest over the best of the others; "
        "none: questions that nobody gets right, in %."
    )
    _say(console, [line, *(f"note: {note}" for note in gaps.notes)])


def _section(console: Console, title: str, topics: Sequence[Topic], nothing: str) -> None:
    console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    if not topics:
        console.print(f"  {nothing}\n", highlight=False)
        return
    routed = any(topic.routed_accuracy is not None for topic in topics)
    columns = ["topic", "n", "gain", "best expert", "%", "95 %", "mean", "lead", "none"]
    table = _table([*columns, "routed"] if routed else columns, words=("topic", "best expert"))
    for topic in topics:
        table.add_row(*map(Text, _told(topic, routed=routed)))
    console.print(table)
    for topic in topics:
        if topic.kind and topic.examples:
            console.print(
                f"  {topic.name}: {topic.examples[0]}", style="dim", markup=False, highlight=False, soft_wrap=True
            )
    console.print()


def _told(topic: Topic, *, routed: bool) -> list[str]:
    best = topic.best
    return [
        topic.name,
        f"{topic.n:,}",
        f"{topic.to_gain:.0f}",
        best.expert,
        _percent(best.accuracy),
        f"{100 * best.low:.0f}-{100 * best.high:.0f}",
        _percent(topic.mean_accuracy),
        "-" if topic.lead is None else f"{100 * topic.lead.value:+.1f}",
        _percent(topic.nobody_right),
        *([_percent(topic.routed_accuracy)] if routed else []),
    ]


def _row(pool: SelectedPool) -> list[str]:
    step = pool if isinstance(pool, SelectionStep) else None
    return [
        str(pool.k),
        step.expert if step else "all of them",
        f"{100 * step.adds:+.1f}" if step else "",
        _percent(pool.oracle_accuracy),
        _usd(pool.cost_usd_per_1k),
        _percent(pool.held_out_accuracy),
        _percent(pool.by_subject_accuracy),
    ]


def _table(columns: Sequence[str], words: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in words else "right", no_wrap=name not in words, overflow="fold")
    return table


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.1f}"


def _usd(amount: float | None) -> str:
    return "-" if amount is None else plain_usd(amount)
