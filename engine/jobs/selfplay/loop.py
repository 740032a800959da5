"""Self-play: rounds of questions made, experts asked, answers judged, and a router trained on all outcomes so far.

Each round is a folder, and each of its stages a file that is there whole or not at all; a stage whose file is there is
not done again. So a killed loop goes on where it stopped, and what was answered meanwhile stands in the answer store.

    OUT/held-out/           a data folder: questions that no router learns from, asked of every expert
    OUT/rounds/0000/        the start: experts asked at random, or the outcomes that are there already
    OUT/rounds/0001/ ...    queries.parquet     questions made (`ROUND_QUERIES`); more than are asked
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.select import unavailable
from leeroo.engine.batch.price import prices
from leeroo.engine.errors import RowsFailed, UsageError
from leeroo.engine.jobs.feedback import experts_table, export_feedback, judged, warnings
from leeroo.engine.jobs.questions import answer_questions, paid_usd
from leeroo.engine.jobs.sandbox import check_sandbox
from leeroo.engine.jobs.selfplay.families import SAFE
from leeroo.engine.jobs.selfplay.generate import Generated, as_queries, of_families, write
from leeroo.engine.jobs.selfplay.grade import compared, grade, judge_answers
from leeroo.engine.jobs.selfplay.judge import RUBRIC, Agreement
from leeroo.engine.jobs.selfplay.measure import measure
from leeroo.engine.jobs.selfplay.stages import Stage, alone, once, round_folder, rows, spent_usd
from leeroo.engine.listeners import LineListener
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.drift import drifted
from leeroo.engine.orchestrator.analysis.gaps import find_gaps
from leeroo.engine.orchestrator.outcomes.read import LEAST_QUESTIONS
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.active_learning import choose_requests, random_requests
from leeroo.engine.orchestrator.training.learn import train
from leeroo.engine.pool import Expert
from leeroo.engine.schema import ROUND, ROUND_ANSWERS, ROUND_PAIRS
from leeroo.engine.tables import write_table

# Topics that questions are written about, and questions shown beside a topic's own.
_TOPICS, _EXAMPLES = 5, 8
# The folder of a round with feedback on private questions. Routers learn from it, and no writer is shown any of it.
_PRIVATE = "feedback-private"
# Of the seeds with a right answer so many at most are held out.
_HELD_OUT_PART = 1 / 4


@dataclass(frozen=True, kw_only=True)
class Play:
    """What a loop of self-play is to do.

    Attributes:
        outcomes: To get in a round; as many questions are made.
        held_out: Questions that routers are measured on, asked of every expert once.
        families: Of `FAMILIES`; 'code' needs `run_code`.
        run_code: Run code that experts write, in a sandbox.
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
    families: tuple[str, ...] = SAFE
    run_code: bool = False
    seeds: tuple[Generated, ...] = ()
    data: tuple[Path, ...] = ()
    writer: str | None = None
    written: float = 0.25
    judge: str | None = None
    rubric: str = RUBRIC
    max_cost_usd: float | None = None
    seed: int = 0


def play(engine: Engine, out: Path, what: Play, rounds: int | None, say: LineListener) -> None:
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
    for named in filter(None, (what.writer, what.judge)):
        engine.pool[named]  # raises where there is none
    if what.run_code:
        check_sandbox()
    elif "code" in what.families:
        raise UsageError("the family 'code' runs code that experts write: allow it with --run-code, or leave it out")
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
    say: LineListener

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
            f"the budget of {usd(self.what.max_cost_usd or 0.0)} is spent but for {usd(max(left, 0.0))}, with which "
            f"nobody answers: raise --max-cost-usd to go on in {self.out}"
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
    write_table(experts_table(loop.experts).to_reader(), folder / "experts.parquet")


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
    asked = pa.table([queries["query_id"], pa.array([name] * len(queries), pa.string())], schema=ROUND_PAIRS)
    # What a budget does not reach here would be missing for ever.
    whole = loop.what.max_cost_usd is not None
    answers, cost = _answers(
        loop, queries, asked, Criteria(max_cost_usd=loop.left(), on_error="fail" if whole else "null")
    )
    computed, _ = _judge(loop, queries, answers, Criteria())
    return grade(queries, answers, computed, loop.judge, compared([])), cost


@dataclass(frozen=True)
class _Round:
    """A round under way.

    Attributes:
        number: 0 is the start.
        share: So many rounds may share what is left of the budget; None for all that is left.
        before: The router of the round before; None at the start.
        data: Data folders with the outcomes so far, the oldest first.
    """

    loop: _Loop
    number: int
    share: int | None
    before: Router | None
    data: list[Path]

    @property
    def folder(self) -> Path:
        return round_folder(self.loop.out, self.number)

    @property
    def name(self) -> str:
        return f"round {self.number}" if self.number else "start"

    @property
    def criteria(self) -> Criteria:
        return Criteria(max_cost_usd=self.loop.left(self.share))

    def once(self, name: str, make: Stage) -> pa.Table:
        """The table of a stage."""
        return self.loop.once(self.folder / f"{name}.parquet", make)

    def say(self, line: str) -> None:
        self.loop.say(f"{self.name}: {line}")


def _play_round(loop: _Loop, number: int, share: int | None) -> None:
    begun = time.monotonic()
    earlier = [round_folder(loop.out, i) for i in range(number)]
    before = Router.load(earlier[-1] / "router") if earlier else None
    feedback = _feedback(loop, round_folder(loop.out, number) / "feedback")
    data = [*loop.what.data, *(each for each in (*earlier, *feedback) if rows(each / "outcomes.parquet"))]
    now = _Round(loop, number, share, before, data)
    queries = now.once("queries", lambda: _queries(now))
    asked = now.once("asked", lambda: (_asks(now, queries), 0.0))
    now.say(f"{len(queries):,} questions made, {len(asked):,} times an expert is asked one")
    answers = now.once("answers", lambda: _answers(loop, queries, asked, now.criteria))
    told = now.once("judged", lambda: _judge(loop, queries, answers, now.criteria))
    found = compared([pq.read_table(each / "judged.parquet") for each in (*earlier, now.folder)])
    outcomes = now.once("outcomes", lambda: (_outcomes(now, queries, answers, told, found), 0.0))
    now.once("experts", lambda: (experts_table(loop.experts), 0.0))
    router = _trained(now, outcomes)
    came_to = {
        "questions": len(queries),
        "asked": len(asked),
        "outcomes": len(outcomes),
        "judge_n": found.n,
        "judge_agreement": found.share,
        "judge_kappa": found.kappa,
    }
    now.once("round", lambda: (_came_to(now, router, came_to, time.monotonic() - begun, _notes(now, found)), 0.0))
    _tell(now)


def _feedback(loop: _Loop, folder: Path) -> list[Path]:
    """What users wrote back until the round began, as data folders: private questions have one of their own."""
    private = folder.with_name(_PRIVATE)
    if not folder.is_dir():
        for each, marked in ((private, True), (folder, False)):
            export_feedback(loop.engine.store, loop.engine.pool, each, private=marked)
    return [each for each in (folder, private) if each.is_dir()]


def _is_private(folder: Path) -> bool:
    """Whether a data folder holds private questions; one of feedback that was not sorted may hold some."""
    return folder.name == _PRIVATE or (folder.name == "feedback" and not folder.with_name(_PRIVATE).is_dir())


def _queries(now: _Round) -> tuple[pa.Table, float]:
    """As many new questions as outcomes are wanted: a user's own, written ones, and of families."""
    if now.data and now.before is None:  # the outcomes that are there already are the start
        return as_queries([], "train"), 0.0
    loop, what, rng = now.loop, now.loop.what, now.loop.rng(now.number, "questions")
    made = _rows_in(loop.out, "queries.parquet")
    held_out = {row["question"] for row in made if row["split"] == "test"}
    known = {row["question"] for row in made}
    asked = {row["query_id"] for row in _rows_in(loop.out, "asked.parquet")}
    own = [seed for seed in what.seeds if seed.question not in held_out]
    n_written = int(what.written * what.outcomes) if now.before else 0
    rest = what.outcomes - n_written
    open_ = [seed for seed in own if seed.query_id not in asked]
    questions = rng.sample(open_, min(len(open_), rest // 2 if what.families else rest))
    known |= {seed.question for seed in what.seeds}
    cost = 0.0
    if n_written:
        private = [each for each in loop.out.glob("rounds/*/feedback*") if _is_private(each)]
        unseen = {row["question"] for each in private for row in _rows_in(each, "queries.parquet")}
        shown = sorted({seed.question for seed in own} - unseen) or sorted(known - held_out - unseen)
        seeds = _topics(now, shown, n_written, rng)
        written, cost = write(loop.engine, what.writer or loop.dearest, seeds, sorted(known), rng, now.criteria)
        now.say(f"{len(written):,} of {n_written:,} written questions are new and fit to be asked")
        questions += written
        known |= {each.question for each in written}
    questions += of_families(what.families, what.outcomes - len(questions), rng, known)
    if not questions:
        raise UsageError("there are no questions left to ask: give more --seeds, or families of questions")
    return as_queries(questions, "train"), cost


def _rows_in(out: Path, name: str) -> list[dict[str, Any]]:
    """The rows of all files of that name."""
    return [row for file in sorted(out.glob(f"**/{name}")) for row in pq.read_table(file).to_pylist()]


def _topics(now: _Round, shown: list[str], n: int, rng: random.Random) -> list[tuple[str | None, list[str]]]:
    """What to write about: every other time a topic on which most is to be gained, and examples."""
    data = [each for each in now.data if not _is_private(each)]
    try:
        topics = find_gaps(data, now.before).topics[:_TOPICS] if data else []
    except UsageError:  # too few questions so far to tell topics apart
        topics = []
    seeds: list[tuple[str | None, list[str]]] = []
    for i in range(n):
        some = rng.sample(shown, min(_EXAMPLES, len(shown)))
        topic = topics[i // 2 % len(topics)] if topics and i % 2 else None
        seeds.append((", ".join(topic.terms[:3]), topic.examples) if topic and topic.examples else (None, some))
    return seeds


def _asks(now: _Round, queries: pa.Table) -> pa.Table:
    """Who is asked what."""
    loop, questions = now.loop, queries["question"].to_pylist()
    rng = np.random.default_rng(loop.rng(now.number, "asks").randrange(2**32))
    wanted = loop.what.outcomes
    if now.before is None:
        pairs = random_requests(len(questions), len(loop.experts), wanted, rng)
    else:
        left = loop.left(now.share)
        pairs = choose_requests(now.before, now.data, loop.names, prices(loop.experts), questions, wanted, rng, left)
    ids = queries["query_id"].to_pylist()
    return pa.Table.from_pylist([{"query_id": ids[i], "expert": loop.names[j]} for i, j in pairs], schema=ROUND_PAIRS)


def _answers(loop: _Loop, queries: pa.Table, asked: pa.Table, criteria: Criteria) -> tuple[pa.Table, float]:
    """What the experts say.

    Raises:
        RowsFailed: nothing at all.
    """
    if not len(asked):
        return ROUND_ANSWERS.empty_table(), 0.0
    questions = dict(zip(queries["query_id"].to_pylist(), queries["question"].to_pylist(), strict=True))
    texts = [questions[query_id] for query_id in asked["query_id"].to_pylist()]
    answers = answer_questions(loop.engine, texts, {"expert": asked["expert"].combine_chunks()}, criteria)
    if not answers["error"].null_count:
        if loop.what.max_cost_usd is not None and criteria.max_cost_usd is not None:
            raise loop.over(criteria.max_cost_usd)
        raise RowsFailed(f"none of {len(answers):,} questions was answered: {answers['error'][0]}")
    recorded = answers["recorded_score"] if "recorded_score" in answers.column_names else pa.nulls(len(answers))
    columns = {name: answers[name] for name in answers.column_names}
    given = {**columns, **{name: asked[name] for name in ROUND_PAIRS.names}, "recorded_score": recorded}
    return pa.table({name: given[name] for name in ROUND_ANSWERS.names}).cast(ROUND_ANSWERS), paid_usd(answers)


def _judge(loop: _Loop, queries: pa.Table, answers: pa.Table, criteria: Criteria) -> tuple[pa.Table, float]:
    """Scores of the answers, as `judge_answers` returns them."""
    what = loop.what
    return judge_answers(loop.engine, queries, answers, loop.judge, what.rubric, criteria, run_code=what.run_code)


def _outcomes(now: _Round, queries: pa.Table, answers: pa.Table, told: pa.Table, found: Agreement) -> pa.Table:
    """How good the answers are, with what the router of the round before had expected."""
    graded = grade(queries, answers, told, now.loop.judge, found)
    expected: list[float | None] = [None] * len(graded)
    if now.before and len(graded):
        questions = dict(zip(queries["query_id"].to_pylist(), queries["question"].to_pylist(), strict=True))
        scores = now.before.predict([questions[query_id] for query_id in graded["query_id"].to_pylist()]).scores
        column = {name: j for j, name in enumerate(now.before.experts)}
        names = graded["expert"].to_pylist()
        expected = [float(scores[i, column[name]]) if name in column else None for i, name in enumerate(names)]
    return graded.append_column("predicted_score", pa.array(expected, pa.float64()))


def _trained(now: _Round, outcomes: pa.Table) -> Router:
    """The router of the round."""
    place = now.folder / "router"
    if not place.is_dir():
        train([*now.data, now.folder] if len(outcomes) else now.data, seed=now.loop.what.seed).save(place)
    return Router.load(place)


def _came_to(now: _Round, router: Router, came_to: dict[str, Any], seconds: float, notes: list[str]) -> pa.Table:
    """What a round came to, one row of `ROUND`."""
    row = {
        **came_to,
        "round": now.number,
        "outcomes_total": sum(expert.outcomes for expert in router.summary.experts.values()),
        "cost_usd": spent_usd(now.folder),
        "cost_usd_total": spent_usd(now.loop.out),
        **measure(router, now.loop.out / "held-out", now.loop.experts),
        "seconds": seconds,
        "notes": notes,
    }
    return pa.Table.from_pylist([row], schema=ROUND)


def _notes(now: _Round, found: Agreement) -> list[str]:
    """What people should know of a round."""
    notes = warnings(judged(now.loop.engine.store)) + _drifts(now.loop)
    if not found.trusted:
        notes.append(
            f"what {now.loop.judge} judged is left out: on {found.n:,} computed outcomes its agreement beyond chance "
            f"is only {found.kappa:.2f}; name a better one with --judge"
        )
    return notes


def _drifts(loop: _Loop) -> list[str]:
    """A line about each expert whose outcomes have left what routers expect of it."""
    files = sorted(loop.out.glob("rounds/*/outcomes.parquet"))
    told = [(number, row) for number, file in enumerate(files) for row in pq.read_table(file).to_pylist()]
    lines = []
    for name in loop.names:
        own = [each for each in told if each[1]["expert"] == name and each[1]["predicted_score"] is not None]
        found = drifted([row["predicted_score"] for _, row in own], [row["score"] for _, row in own])
        if found is not None:
            lines.append(
                f"expert {name}: since round {own[found.since][0]} answers come out {abs(found.shift):.2f} "
                f"{'below' if found.shift < 0 else 'above'} what the router expects (n={found.n})"
            )
    return lines


def _tell(now: _Round) -> None:
    [row] = pq.read_table(now.folder / "round.parquet").to_pylist()
    for note in row["notes"]:
        now.say(note)
    now.say(
        f"{row['outcomes']:,} outcomes, {row['outcomes_total']:,} in all; held-out score {row['score']:.3f}, "
        f"{row['best_expert']} alone is right on {row['best_accuracy']:.1%}; {usd(row['cost_usd_total'])} spent so far"
    )
