"""The answers of a round of self-play: the pairs of question and expert, their answers and their outcomes.

Knows nothing of where the questions come from.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria
from leeroo.engine.batch.price import prices
from leeroo.engine.errors import RowsFailed
from leeroo.engine.jobs.questions import answer_questions, paid_usd
from leeroo.engine.jobs.selfplay.grade import grade, judge_answers
from leeroo.engine.jobs.selfplay.judge import JudgeAgreement
from leeroo.engine.jobs.selfplay.state import Loop, Round
from leeroo.engine.orchestrator.training.active_learning import choose_requests, random_requests
from leeroo.engine.schema import ROUND_ANSWERS, ROUND_PAIRS


def choose_pairs(now: Round, queries: pa.Table) -> pa.Table:
    """Choose the pairs of question and expert, a table of `ROUND_PAIRS`."""
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


def answer_pairs(loop: Loop, queries: pa.Table, pairs: pa.Table, criteria: Criteria) -> tuple[pa.Table, float]:
    """Have the pairs answered; the answers, and the USD paid.

    Raises:
        RowsFailed: no pair was answered.
    """
    if not len(pairs):
        return ROUND_ANSWERS.empty_table(), 0.0
    questions = dict(zip(queries["query_id"].to_pylist(), queries["question"].to_pylist(), strict=True))
    texts = [questions[query_id] for query_id in pairs["query_id"].to_pylist()]
    answers = answer_questions(loop.engine, texts, {"expert": pairs["expert"].combine_chunks()}, criteria)
    if not answers["error"].null_count:
        if loop.what.max_cost_usd is not None and criteria.max_cost_usd is not None:
            raise loop.over(criteria.max_cost_usd)
        raise RowsFailed(f"none of {len(answers):,} questions was answered: {answers['error'][0]}")
    recorded = answers["recorded_score"] if "recorded_score" in answers.column_names else pa.nulls(len(answers))
    columns = {name: answers[name] for name in answers.column_names}
    given = {**columns, **{name: pairs[name] for name in ROUND_PAIRS.names}, "recorded_score": recorded}
    return pa.table({name: given[name] for name in ROUND_ANSWERS.names}).cast(ROUND_ANSWERS), paid_usd(answers)


def judge_pairs(loop: Loop, queries: pa.Table, answers: pa.Table, criteria: Criteria) -> tuple[pa.Table, float]:
    """Score the answers, as `judge_answers` does."""
    what = loop.what
    return judge_answers(loop.engine, queries, answers, loop.judge, what.rubric, criteria, run_code=what.run_code)


def grade_pairs(now: Round, queries: pa.Table, answers: pa.Table, judged: pa.Table, found: JudgeAgreement) -> pa.Table:
    """Grade the answers, with the scores that the router of the round before had expected."""
    graded = grade(queries, answers, judged, now.loop.judge, found)
    expected: list[float | None] = [None] * len(graded)
    if now.before and len(graded):
        questions = dict(zip(queries["query_id"].to_pylist(), queries["question"].to_pylist(), strict=True))
        scores = now.before.predict([questions[query_id] for query_id in graded["query_id"].to_pylist()]).scores
        column = {name: j for j, name in enumerate(now.before.experts)}
        names = graded["expert"].to_pylist()
        expected = [float(scores[i, column[name]]) if name in column else None for i, name in enumerate(names)]
    return graded.append_column("predicted_score", pa.array(expected, pa.float64()))
