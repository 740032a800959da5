"""The answers of self-play: of a round, to the pairs that it chooses; and of every expert to the held-out questions.

Routers are measured on the held-out questions and never learn from them. Knows nothing of how a round is played.
"""

from __future__ import annotations

import random
from functools import partial
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria
from leeroo.engine.batch.price import prices
from leeroo.engine.errors import RowsFailed, UsageError
from leeroo.engine.jobs.feedback import experts_table
from leeroo.engine.jobs.judge import JudgeAgreement
from leeroo.engine.jobs.questions import answer_questions, paid_usd
from leeroo.engine.jobs.selfplay.generate import NewQuestion, as_queries, generate_from_families
from leeroo.engine.jobs.selfplay.grade import compare_judge, grade, judge_answers, questions_of
from leeroo.engine.jobs.selfplay.state import Loop, Play, Round
from leeroo.engine.orchestrator.outcomes.read import LEAST_QUESTIONS
from leeroo.engine.orchestrator.training.active_learning import choose_requests, random_requests
from leeroo.engine.schema import ROUND_ANSWERS, ROUND_PAIRS
from leeroo.engine.tables import write_table

# The largest part of the seeds with a right answer that is held out.
_HELD_OUT_PART = 1 / 4


def choose_pairs(now: Round, queries: pa.Table) -> pa.Table:
    """Choose the pairs of question and expert, a table of `ROUND_PAIRS`."""
    loop, questions = now.loop, queries["question"].to_pylist()
    rng = np.random.default_rng(loop.rng(now.number, "asks").randrange(2**32))
    wanted = loop.what.outcomes
    if now.before is None:
        pairs = random_requests(len(questions), len(loop.experts), wanted, rng)
    else:
        left = loop.left(now.share)
        pairs = choose_requests(
            now.before, now.data, loop.names, prices(loop.experts).usd_per_m[:, 0], questions, wanted, rng, left
        )
    ids = queries["query_id"].to_pylist()
    return pa.Table.from_pylist([{"query_id": ids[i], "expert": loop.names[j]} for i, j in pairs], schema=ROUND_PAIRS)


def answer_pairs(loop: Loop, queries: pa.Table, pairs: pa.Table, criteria: Criteria) -> tuple[pa.Table, float]:
    """Have the pairs answered; the answers, and the USD paid.

    Raises:
        RowsFailed: no pair was answered.
    """
    if not len(pairs):
        return ROUND_ANSWERS.empty_table(), 0.0
    given = {"expert": pairs["expert"].combine_chunks()}
    answers = answer_questions(loop.engine, questions_of(queries, pairs), given, criteria)
    if not answers["error"].null_count:
        if loop.what.max_cost_usd is not None and criteria.max_cost_usd is not None:
            raise loop.over(criteria.max_cost_usd)
        raise RowsFailed(f"none of {len(answers):,} questions was answered: {answers['error'][0]}")
    columns = {"recorded_score": pa.nulls(len(answers)), **{name: answers[name] for name in answers.column_names}}
    columns |= {name: pairs[name] for name in ROUND_PAIRS.names}
    return pa.table({name: columns[name] for name in ROUND_ANSWERS.names}).cast(ROUND_ANSWERS), paid_usd(answers)


def grade_pairs(now: Round, queries: pa.Table, answers: pa.Table, judged: pa.Table, found: JudgeAgreement) -> pa.Table:
    """Grade the answers, with the scores that the router of the round before had expected."""
    graded = grade(queries, answers, judged, now.loop.judge, found)
    expected: list[float | None] = [None] * len(graded)
    if now.before and len(graded):
        scores = now.before.predict(questions_of(queries, graded)).scores
        column = {name: j for j, name in enumerate(now.before.experts)}
        names = graded["expert"].to_pylist()
        expected = [float(scores[i, column[name]]) if name in column else None for i, name in enumerate(names)]
    return graded.append_column("predicted_score", pa.array(expected, pa.float64()))


def hold_out(loop: Loop) -> None:
    """Make the held-out questions, and have every expert answer them."""
    folder = loop.out / "held-out"
    queries = loop.once(folder / "queries.parquet", lambda: (as_queries(_held_out(loop.what), "test"), 0.0))
    graded = [
        loop.once(folder / "experts" / f"{quote(name, safe='')}.parquet", partial(_of_expert, loop, queries, name))
        for name in loop.names
    ]
    write_table(pa.concat_tables(graded).replace_schema_metadata({}).to_reader(), folder / "outcomes.parquet")
    write_table(experts_table(loop.experts).to_reader(), folder / "experts.parquet")


def _held_out(what: Play) -> list[NewQuestion]:
    rng = random.Random(f"{what.seed} held-out")
    checked = [seed for seed in what.seeds if seed.check is not None]
    most = what.held_out // 2 if what.families else what.held_out
    of_seeds = rng.sample(checked, min(most, int(len(checked) * _HELD_OUT_PART)))
    known = {each.question for each in (*what.seeds, *of_seeds)}
    questions = [*of_seeds, *generate_from_families(what.families, what.held_out - len(of_seeds), rng, known)]
    if len(questions) < LEAST_QUESTIONS:
        raise UsageError(
            f"only {len(questions)} questions can be held out, at least {LEAST_QUESTIONS} are needed: give more "
            "--seeds with right answers, or families of questions"
        )
    return questions


def _of_expert(loop: Loop, queries: pa.Table, name: str) -> tuple[pa.Table, float]:
    """Have an expert answer the held-out questions; the outcomes, and the USD paid."""
    loop.say(f"asking {name} the {len(queries):,} held-out questions")
    pairs = pa.table([queries["query_id"], pa.array([name] * len(queries), pa.string())], schema=ROUND_PAIRS)
    # An answer that the budget does not reach here would be missing for ever.
    whole = loop.what.max_cost_usd is not None
    answers, cost = answer_pairs(
        loop, queries, pairs, Criteria(max_cost_usd=loop.left(), on_error="fail" if whole else "null")
    )
    computed, _ = judge_answers(loop, queries, answers, Criteria())
    return grade(queries, answers, computed, loop.judge, compare_judge([])), cost
