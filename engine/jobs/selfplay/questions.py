"""The questions of a round of self-play: a user's own, written ones, and of families.

Knows nothing of answers.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.feedback import export_feedback
from leeroo.engine.jobs.selfplay.generate import as_queries, generate_from_families, write_questions
from leeroo.engine.jobs.selfplay.state import Loop, Round
from leeroo.engine.orchestrator.analysis.gaps import find_gaps

# Topics that questions are written about, and questions shown with a topic's own.
_TOPICS, _EXAMPLES = 5, 8
# The folder of a round with feedback on private questions. Routers learn from it, and no writer is shown any of it.
_PRIVATE = "feedback-private"


def export_round_feedback(loop: Loop, folder: Path) -> list[Path]:
    """Export the feedback until the round began, as data folders: private questions have their own."""
    private = folder.with_name(_PRIVATE)
    if not folder.is_dir():
        for each, marked in ((private, True), (folder, False)):
            export_feedback(loop.engine.store, loop.engine.pool, each, private=marked)
    return [each for each in (folder, private) if each.is_dir()]


def make_questions(now: Round) -> tuple[pa.Table, float]:
    """Make as many new questions as outcomes are wanted; the table, and the USD paid."""
    if now.data and now.before is None:  # the outcomes that are there already are the start
        return as_queries([], "train"), 0.0
    loop, what, rng = now.loop, now.loop.what, now.loop.rng(now.number, "questions")
    made = _rows_in(loop.out, "queries.parquet")
    held_out = {row["question"] for row in made if row["split"] == "test"}
    known = {row["question"] for row in made}
    earlier = {row["query_id"] for row in _rows_in(loop.out, "asked.parquet")}
    own = [seed for seed in what.seeds if seed.question not in held_out]
    n_written = int(what.written * what.outcomes) if now.before else 0
    rest = what.outcomes - n_written
    open_ = [seed for seed in own if seed.query_id not in earlier]
    questions = rng.sample(open_, min(len(open_), rest // 2 if what.families else rest))
    known |= {seed.question for seed in what.seeds}
    cost = 0.0
    if n_written:
        private = [each for each in loop.out.glob("rounds/*/feedback*") if _is_private(each)]
        unseen = {row["question"] for each in private for row in _rows_in(each, "queries.parquet")}
        shown = sorted({seed.question for seed in own} - unseen) or sorted(known - held_out - unseen)
        seeds = _topics(now, shown, n_written, rng)
        written, cost = write_questions(
            loop.engine, what.writer or loop.most_expensive, seeds, sorted(known), rng, now.criteria
        )
        now.say(f"{len(written):,} of {n_written:,} written questions are new and fit to be asked")
        questions += written
        known |= {each.question for each in written}
    questions += generate_from_families(what.families, what.outcomes - len(questions), rng, known)
    if not questions:
        raise UsageError("there are no questions left to ask: give more --seeds, or families of questions")
    return as_queries(questions, "train"), cost


def _topics(now: Round, shown: list[str], n: int, rng: random.Random) -> list[tuple[str | None, list[str]]]:
    """Choose what to write about: every other time a topic with much to gain, and examples."""
    data = [each for each in now.data if not _is_private(each)]
    try:
        topics = find_gaps(data, now.before).topics[:_TOPICS] if data else []
    except UsageError:  # too few questions so far to find topics
        topics = []
    seeds: list[tuple[str | None, list[str]]] = []
    for i in range(n):
        some = rng.sample(shown, min(_EXAMPLES, len(shown)))
        topic = topics[i // 2 % len(topics)] if topics and i % 2 else None
        seeds.append((", ".join(topic.terms[:3]), topic.examples) if topic and topic.examples else (None, some))
    return seeds


def _is_private(folder: Path) -> bool:
    """Say if a data folder holds private questions; one of unsorted feedback may hold some."""
    return folder.name == _PRIVATE or (folder.name == "feedback" and not folder.with_name(_PRIVATE).is_dir())


def _rows_in(out: Path, name: str) -> list[dict[str, Any]]:
    """Read the rows of all files of that name."""
    return [row for file in sorted(out.glob(f"**/{name}")) for row in pq.read_table(file).to_pylist()]
