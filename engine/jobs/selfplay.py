"""Self-play: rounds of questions made, experts asked, answers judged, and a router trained on all outcomes so far.

Each round is a folder, and each of its stages a file that is there whole or not at all; a stage whose file is there is
not done again. So a killed loop goes on where it stopped, and what was answered meanwhile stands in the answer store.

    OUT/held-out/           a data folder: questions that no router learns from, asked of every expert
    OUT/rounds/0000/        the start: experts asked at random, or the outcomes that are there already
    OUT/rounds/0001/ ...    queries.parquet     questions made (`generate.GENERATED`); more than are asked
                            asked.parquet       who is asked what, by what it is expected to tell (`explore`)
                            answers.parquet     what they said
                            judged.parquet      what a judge says where nothing is computed, and where it is, to compare
                            outcomes.parquet    how good the answers are; with queries and experts.parquet a data folder
                            router/             trained on the outcomes of all rounds so far
                            round.parquet       what it came to (`ROUND`)

Every file that cost something says so in its schema's metadata, `cost_usd`.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.base import unavailable
from leeroo.engine.batch.price import prices
from leeroo.engine.batch.prompts import asking
from leeroo.engine.errors import RowsFailed, UsageError
from leeroo.engine.jobs.families import FAMILIES
from leeroo.engine.jobs.generate import Generated, as_queries, of_families, write
from leeroo.engine.jobs.grade import ANSWERED, ASKED, compared, grade, judge_answers
from leeroo.engine.jobs.judge import RUBRIC, Agreement
from leeroo.engine.jobs.rounds import paid_usd
from leeroo.engine.jobs.selfplay_report import ROUND, measure
from leeroo.engine.jobs.stages import Stage, alone, once, round_folder, rows, spent_usd
from leeroo.engine.orchestrator.asks import next_asks, random_asks
from leeroo.engine.orchestrator.gaps import find_gaps
from leeroo.engine.orchestrator.learn import train
from leeroo.engine.orchestrator.outcomes import LEAST_QUESTIONS
from leeroo.engine.orchestrator.predict import Router
from leeroo.engine.pool import Expert
from leeroo.engine.schema import EXPERTS
from leeroo.engine.tables import write_table

Say = Callable[[str], None]

# Topics that questions are written about, and questions shown beside a topic's own.
_TOPICS, _EXAMPLES = 5, 8
# Of the seeds with a right answer so many at most are held out.
_HELD_OUT_PART = 1 / 4


@dataclass(frozen=True, kw_only=True)
class Play:
    """What a loop of self-play is to do.

    Attributes:
        outcomes: To get in a round; as many questions are made.
        held_out: Questions that routers are measured on, asked of every expert once.
        families: Of `FAMILIES`.
        seeds: A user's own questions; a quarter of those with a right answer is held out.
        data: Data folders with outcomes that are there already; with them nothing is asked at the start.
        writer: The expert that writes questions; the dearest of the pool without.
        written: What part of a round's questions it writes.
        judge: The expert that judges where nothing is computed; the dearest without.
        rubric: What it judges by.
        max_cost_usd: To be spent in all, by every run of this loop together.
        seed: Of everything random.
    """

    outcomes: int = 150
    held_out: int = 150
    families: tuple[str, ...] = tuple(FAMILIES)
    seeds: tuple[Generated, ...] = ()
    data: tuple[Path, ...] = ()
    writer: str | None = None
    written: float = 0.25
    judge: str | None = None
    rubric: str = RUBRIC
    max_cost_usd: float | None = None
    seed: int = 0


def play(engine: Engine, out: Path, what: Play, rounds: int | None, say: Say) -> None:
    """Play rounds until there are so many after the start; for ever without a number.

    The pool may have changed since the last round: a new expert is asked the held-out questions and enters the next
    round, one that is gone is not asked any more.

    Args:
        engine: With the pool, and a store that is kept; its router is not used.
        out: Folder of the loop; made when it does not exist.
        what: To do.
        rounds: After the start.
        say: Is told, in lines for people, what is being done.

    Raises:
        UsageError: the folder holds something else, another process plays in it, nothing can be asked, or the budget
            is spent.
        RowsFailed: no expert answered anything.
        PoolError, OutputError, RouterError: as `Engine.answer` and `train`.

    """
    experts = tuple(e for e in engine.pool.experts if unavailable(e) is None)
    loop = _Loop(engine, out, what, experts, say)
    with alone(out):
        _hold_out(loop)
        for number in itertools.count() if rounds is None else range(rounds + 1):
            if not (round_folder(out, number) / "round.parquet").is_file():
                _play_round(loop, number, None if rounds is None else rounds + 1 - number)


@dataclass(frozen=True)
class _Loop:
    """What all stages need: the experts are those of the pool that can run here."""

    engine: Engine
    out: Path
    what: Play
    experts: tuple[Expert, ...]
    say: Say

    @property
    def names(self) -> list[str]:
        return [e.name for e in self.experts]

    @property
    def dearest(self) -> str:
        return max(self.experts, key=lambda e: e.usd_per_m_input + e.usd_per_m_output).name

    @property
    def judge(self) -> str:
        return self.what.judge or self.dearest

    def rng(self, number: int, stage: str) -> random.Random:
        """Of everything random in a stage, the same however often it is begun."""
        return random.Random(f"{self.what.seed} {number} {stage}")

    def once(self, file: Path, make: Stage) -> pa.Table:
        """The table of a stage."""
        return once(self.engine, file, make)

    def left(self, rounds_left: int | None = None) -> float | None:
        """USD that may still be spent, or the part of it that one of so many rounds may spend.

        Raises:
            UsageError: nothing is left.
        """
        if self.what.max_cost_usd is None:
            return None
        left = self.what.max_cost_usd - spent_usd(self.out)
        if left <= 0:
            raise self.over(left)
        return left / (rounds_left or 1)

    def over(self, left: float) -> UsageError:
        """The budget does not reach any farther."""
        return UsageError(
            f"the budget of {self.what.max_cost_usd:g} USD is spent but for {max(left, 0):.2g}, with which nobody "
            f"answers: raise --max-cost-usd to go on in {self.out}"
        )


def _hold_out(loop: _Loop) -> None:
    """The questions that routers are measured on, and what every expert makes of them."""
    folder = loop.out / "held-out"
    queries = loop.once(folder / "queries.parquet", lambda: (as_queries(_held_out(loop.what), "test"), 0.0))
    graded = [
        loop.once(folder / "experts" / f"{quote(name, safe='')}.parquet", partial(_of_expert, loop, queries, name))
        for name in loop.names
    ]
    write_table(pa.concat_tables(graded).replace_schema_metadata({}).to_reader(), folder / "outcomes.parquet")
    write_table(_experts(loop.experts).to_reader(), folder / "experts.parquet")


def _held_out(what: Play) -> list[Generated]:
    rng = random.Random(f"{what.seed} held-out")
    told = [seed for seed in what.seeds if seed.check is not None]
    most = what.held_out // 2 if what.families else what.held_out
    of_seeds = rng.sample(told, min(most, int(len(told) * _HELD_OUT_PART)))
    known = {each.question for each in (*what.seeds, *of_seeds)}
    questions = [*of_seeds, *of_families(what.families, what.held_out - len(of_seeds), rng, known)]
    if len(questions) < LEAST_QUESTIONS:
        raise UsageError(
            f"only {len(questions)} questions can be held out, at least {LEAST_QUESTIONS} are needed: give more "
            "--seeds with right answers, or families of questions"
        )
    return questions


def _of_expert(loop: _Loop, queries: pa.Table, name: str) -> tuple[pa.Table, float]:
    """What an expert makes of the held-out questions."""
    loop.say(f"asking {name} the {len(queries):,} held-out questions")
    asked = pa.table([queries["query_id"], pa.array([name] * len(queries), pa.string())], schema=ASKED)
    # What a budget does not reach here would be missing for ever.
    whole = loop.what.max_cost_usd is not None
    answers, cost = _answers(
        loop, queries, asked, Criteria(max_cost_usd=loop.left(), on_error="fail" if whole else "null")
    )
    computed, _ = judge_answers(loop.engine, queries, answers, loop.judge, loop.what.rubric, Criteria())
    return grade(queries, answers, computed, loop.judge, compared([])), cost


def _play_round(loop: _Loop, number: int, share: int | None) -> None:
    """One round; `share` of the rounds that are left may share what is left of the budget."""
    begun, folder = time.monotonic(), round_folder(loop.out, number)
    earlier = [round_folder(loop.out, i) for i in range(number)]
    data = [*loop.what.data, *(each for each in earlier if rows(each / "outcomes.parquet"))]
    before = Router.load(earlier[-1] / "router") if earlier else None

    def queries_made() -> tuple[pa.Table, float]:
        # Outcomes that are there already are the start.
        return (
            (as_queries([], "train"), 0.0) if data and before is None else _queries(loop, number, before, data, share)
        )

    queries = loop.once(folder / "queries.parquet", queries_made)
    asked = loop.once(folder / "asked.parquet", lambda: (_asks(loop, number, before, data, queries, share), 0.0))
    loop.say(f"{_called(number)}: {len(queries):,} questions made, {len(asked):,} times an expert is asked one")
    answers = loop.once(
        folder / "answers.parquet",
        lambda: _answers(loop, queries, asked, Criteria(max_cost_usd=loop.left(share))),
    )
    judged = loop.once(folder / "judged.parquet", lambda: _judged(loop, queries, answers, share))
    found = compared([pq.read_table(each / "judged.parquet") for each in (*earlier, folder)])
    outcomes = loop.once(folder / "outcomes.parquet", lambda: (grade(queries, answers, judged, loop.judge, found), 0.0))
    loop.once(folder / "experts.parquet", lambda: (_experts(loop.experts), 0.0))
    router = _trained(loop, folder, [*data, folder] if len(outcomes) else data)
    notes = [] if found.trusted else [_no_trust(loop.judge, found)]

    def came_to() -> tuple[pa.Table, float]:
        row = {
            "round": number,
            "questions": len(queries),
            "asked": len(asked),
            "outcomes": len(outcomes),
            "outcomes_total": sum(expert.outcomes for expert in router.summary.experts.values()),
            "cost_usd": spent_usd(folder),
            "cost_usd_total": spent_usd(loop.out),
            **measure(router, loop.out / "held-out", loop.experts),
            "judge_n": found.n,
            "judge_agreement": found.share,
            "judge_kappa": found.kappa,
            "seconds": time.monotonic() - begun,
            "notes": notes,
        }
        return pa.Table.from_pylist([row], schema=ROUND), 0.0

    loop.once(folder / "round.parquet", came_to)
    _tell(loop, number)


def _queries(
    loop: _Loop, number: int, before: Router | None, data: list[Path], share: int | None
) -> tuple[pa.Table, float]:
    """As many new questions as outcomes are wanted: a user's own, written ones, and of families."""
    what, rng = loop.what, loop.rng(number, "questions")
    made = [row for file in loop.out.glob("**/queries.parquet") for row in pq.read_table(file).to_pylist()]
    held_out = {row["question"] for row in made if row["split"] == "test"}
    known = {row["question"] for row in made}
    asked = {row["query_id"] for file in loop.out.glob("**/asked.parquet") for row in pq.read_table(file).to_pylist()}
    own = [seed for seed in what.seeds if seed.question not in held_out and seed.query_id not in asked]
    n_written = int(what.written * what.outcomes) if before else 0
    rest = what.outcomes - n_written
    questions = rng.sample(own, min(len(own), rest // 2 if what.families else rest))
    known |= {seed.question for seed in what.seeds}
    cost = 0.0
    if n_written:
        shown = [seed.question for seed in what.seeds if seed.question not in held_out] or sorted(known - held_out)
        seeds = _topics(before, data, shown, n_written, rng)
        criteria = Criteria(max_cost_usd=loop.left(share))
        written, cost = write(loop.engine, loop.what.writer or loop.dearest, seeds, sorted(known), rng, criteria)
        loop.say(f"{_called(number)}: {len(written):,} of {n_written:,} written questions are new and fit to be asked")
        questions += written
        known |= {each.question for each in written}
    questions += of_families(what.families, what.outcomes - len(questions), rng, known)
    if not questions:
        raise UsageError("there are no questions left to ask: give more --seeds, or families of questions")
    return as_queries(questions, "train"), cost


def _topics(
    before: Router | None, data: list[Path], shown: list[str], n: int, rng: random.Random
) -> list[tuple[str | None, list[str]]]:
    """What to write about: every other time a topic on which most is to be gained, and examples."""
    try:
        topics = find_gaps(data, before).topics[:_TOPICS]
    except UsageError:  # too few questions so far to tell topics apart
        topics = []
    seeds: list[tuple[str | None, list[str]]] = []
    for i in range(n):
        some = rng.sample(shown, min(_EXAMPLES, len(shown)))
        topic = topics[i // 2 % len(topics)] if topics and i % 2 else None
        seeds.append((", ".join(topic.terms[:3]), topic.examples) if topic and topic.examples else (None, some))
    return seeds


def _asks(
    loop: _Loop, number: int, before: Router | None, data: list[Path], queries: pa.Table, share: int | None
) -> pa.Table:
    """Who is asked what."""
    rng = np.random.default_rng(loop.rng(number, "asks").randrange(2**32))
    wanted, questions = loop.what.outcomes, queries["question"].to_pylist()
    if before is None:
        pairs = random_asks(len(questions), len(loop.experts), wanted, rng)
    else:
        usd = prices(loop.experts)
        pairs = next_asks(before, data, loop.names, usd, questions, wanted, rng, loop.left(share))
    ids = queries["query_id"].to_pylist()
    return pa.Table.from_pylist([{"query_id": ids[i], "expert": loop.names[j]} for i, j in pairs], schema=ASKED)


def _answers(loop: _Loop, queries: pa.Table, asked: pa.Table, criteria: Criteria) -> tuple[pa.Table, float]:
    """What the experts say.

    Raises:
        RowsFailed: nothing at all.
    """
    if not len(asked):
        return ANSWERED.empty_table(), 0.0
    questions = dict(zip(queries["query_id"].to_pylist(), queries["question"].to_pylist(), strict=True))
    rows = pa.table(
        {
            "query_id": asked["query_id"],
            "question": pa.array([questions[query_id] for query_id in asked["query_id"].to_pylist()], pa.string()),
            "ask": asking(len(asked), {"expert": asked["expert"].combine_chunks()}),
        }
    )
    answers = loop.engine.answer(rows.to_reader(), replace(criteria, ask_column="ask")).read_all()
    if not answers["error"].null_count:
        if loop.what.max_cost_usd is not None and criteria.max_cost_usd is not None:
            raise loop.over(criteria.max_cost_usd)
        raise RowsFailed(f"none of {len(answers):,} questions was answered: {answers['error'][0]}")
    recorded = answers["recorded_score"] if "recorded_score" in answers.column_names else pa.nulls(len(answers))
    given = {
        **{name: answers[name] for name in answers.column_names},
        "expert": asked["expert"],
        "recorded_score": recorded,
    }
    return pa.table({name: given[name] for name in ANSWERED.names}).cast(ANSWERED), paid_usd(answers)


def _judged(loop: _Loop, queries: pa.Table, answers: pa.Table, share: int | None) -> tuple[pa.Table, float]:
    budget = Criteria(max_cost_usd=loop.left(share))
    return judge_answers(loop.engine, queries, answers, loop.judge, loop.what.rubric, budget)


def _trained(loop: _Loop, folder: Path, data: list[Path]) -> Router:
    """The router of a round."""
    place = folder / "router"
    if not place.is_dir():
        train(data, seed=loop.what.seed).save(place)
    return Router.load(place)


def _experts(experts: tuple[Expert, ...]) -> pa.Table:
    rows = [
        {
            "expert": e.name,
            "model": e.model,
            "license_open": e.location == "local",
            "usd_per_m_input": e.usd_per_m_input,
            "usd_per_m_output": e.usd_per_m_output,
        }
        for e in experts
    ]
    return pa.Table.from_pylist(rows, schema=EXPERTS)


def _called(number: int) -> str:
    return f"round {number}" if number else "start"


def _no_trust(judge: str, found: Agreement) -> str:
    return (
        f"what {judge} judged is left out: on {found.n:,} computed outcomes its agreement beyond chance is only "
        f"{found.kappa:.2f}; name a better one with --judge"
    )


def _tell(loop: _Loop, number: int) -> None:
    [row] = pq.read_table(round_folder(loop.out, number) / "round.parquet").to_pylist()
    for note in row["notes"]:
        loop.say(f"{_called(number)}: {note}")
    loop.say(
        f"{_called(number)}: {row['outcomes']:,} outcomes, {row['outcomes_total']:,} in all; held-out score "
        f"{row['score']:.3f}, {row['best_expert']} alone is right on {row['best_accuracy']:.1%}; "
        f"${row['cost_usd_total']:.6f} spent so far"
    )
