"""Self-play: each round makes questions, has experts answer them, judges the answers and trains a router on all so far.

Each round is a folder, and each of its stages a file that is there whole or not at all. A stage whose file is there is
not done again. So a killed loop resumes, and what was answered meanwhile is in the answer store.

    OUT/held-out/           a data folder: questions that no router learns from, answered by all
    OUT/rounds/0000/        the start: random experts, or the outcomes that are there already
    OUT/rounds/0001/ ...    queries.parquet     questions made (`ROUND_QUERIES`)
                            asked.parquet       pairs of question and expert, those that routers learn most from
                            answers.parquet     the answers
                            judged.parquet      scores: computed, by consensus, by a judge
                            outcomes.parquet    graded answers; with queries and experts.parquet a data folder
                            router/             trained on the outcomes of all rounds so far
                            round.parquet       its figures (`ROUND`)

Every file has its cost in its schema's metadata, `cost_usd`. Knows nothing of reports.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.answer import Engine
from leeroo.engine.backends.select import unavailable
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.feedback import experts_table
from leeroo.engine.jobs.sandbox import check_sandbox
from leeroo.engine.jobs.selfplay.answers import answer_pairs, choose_pairs, grade_pairs, hold_out
from leeroo.engine.jobs.selfplay.figures import notes_on, report_round, round_figures
from leeroo.engine.jobs.selfplay.grade import compare_judge, judge_answers
from leeroo.engine.jobs.selfplay.questions import export_round_feedback, make_questions
from leeroo.engine.jobs.selfplay.state import Loop, Play, Round, alone
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import train

__all__ = ["Play", "play"]


def play(engine: Engine, out: Path, what: Play, rounds: int | None, say: LineListener) -> None:
    """Play the start and `rounds` rounds after it; for ever without a number.

    The pool may have changed since the last round. A new expert answers the held-out questions and enters the next
    round, a removed one answers nothing more.

    Args:
        engine: With the pool, and a store that is kept; its router is not used.
        out: Folder of the loop; made when it does not exist.
        what: The options.
        rounds: After the start.
        say: Receives lines about the progress.

    Raises:
        UsageError: the folder holds something else, another process plays in it, there are no questions, or the budget
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
    loop = Loop(engine, out, what, experts, say)
    with alone(out):
        hold_out(loop)
        for number in itertools.count() if rounds is None else range(rounds + 1):
            if not (loop.folder(number) / "round.parquet").is_file():
                _play_round(loop, number, None if rounds is None else rounds + 1 - number)


def _play_round(loop: Loop, number: int, share: int | None) -> None:
    begun = time.monotonic()
    earlier = [loop.folder(i) for i in range(number)]
    before = Router.load(earlier[-1] / "router") if earlier else None
    feedback = export_round_feedback(loop, loop.folder(number) / "feedback")
    filled = [each for each in (*earlier, *feedback) if pq.read_metadata(each / "outcomes.parquet").num_rows]
    data = [*loop.what.data, *filled]
    now = Round(loop, number, share, before, data)
    queries = now.once("queries", lambda: make_questions(now))
    pairs = now.once("asked", lambda: (choose_pairs(now, queries), 0.0))
    now.say(f"{len(queries):,} questions made, {len(pairs):,} times an expert is asked one")
    answers = now.once("answers", lambda: answer_pairs(loop, queries, pairs, now.criteria))
    judged = now.once("judged", lambda: judge_answers(loop, queries, answers, now.criteria))
    found = compare_judge([pq.read_table(each / "judged.parquet") for each in (*earlier, now.folder)])
    outcomes = now.once("outcomes", lambda: (grade_pairs(now, queries, answers, judged, found), 0.0))
    now.once("experts", lambda: (experts_table(loop.experts), 0.0))
    router = _train_or_load(now, outcomes)
    figures = {
        "questions": len(queries),
        "asked": len(pairs),
        "outcomes": len(outcomes),
        "judge_n": found.n,
        "judge_agreement": found.share,
        "judge_kappa": found.kappa,
    }
    now.once(
        "round", lambda: (round_figures(now, router, figures, time.monotonic() - begun, notes_on(now, found)), 0.0)
    )
    report_round(now)


def _train_or_load(now: Round, outcomes: pa.Table) -> Router:
    """Train the router of the round, unless it is there."""
    place = now.folder / "router"
    if not place.is_dir():
        train([*now.data, now.folder] if len(outcomes) else now.data, seed=now.loop.what.seed).save(place)
    return Router.load(place)
