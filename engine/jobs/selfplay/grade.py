"""Grade: scores of answers, each with its source - computed, by consensus, or by a judge that proved reliable.

Scores that are recorded or can be computed are never judged. For the others, consensus of strong experts comes before a
judge. Knows nothing of rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria
from leeroo.engine.jobs.judge import Answer, JudgeAgreement, agreement, consensus, judge
from leeroo.engine.jobs.selfplay.state import Loop
from leeroo.engine.jobs.verify import score
from leeroo.engine.schema import ROUND_JUDGED, ROUND_OUTCOMES, ROUND_PAIRS

# Computed answers of a round that the judge is compared with.
_COMPARED = 60


def judge_answers(loop: Loop, queries: pa.Table, answers: pa.Table, criteria: Criteria) -> tuple[pa.Table, float]:
    """Compute the scores that can be computed; a judge scores the rest, and some of the computed to compare.

    Where everything is computed the judge has nothing to do.

    Args:
        loop: Says who judges, by which rubric, and whether answers that are code may be run.
        queries: Of `ROUND_QUERIES`.
        answers: [n], of `ROUND_ANSWERS`.
        criteria: What may be spent.

    Returns:
        A table of `ROUND_JUDGED` [n], and the USD paid. Call it within `engine.delivery`.

    """
    computed = compute(queries, answers, run_code=loop.what.run_code)
    texts = _texts(queries, answers)
    agreed, judged = np.full(len(answers), np.nan), np.full(len(answers), np.nan)
    agreed[list(texts)] = consensus(list(texts.values()), _mean_scores(answers, computed))
    open_ = [i for i in texts if np.isnan(computed[i]) and np.isnan(agreed[i])]
    paid = 0.0
    if open_:
        shown = [*open_, *[i for i in texts if np.isfinite(computed[i])][:_COMPARED]]
        said = judge(loop.engine, [texts[i] for i in shown], loop.judge, criteria, loop.what.rubric)
        judged[shown], paid = said.scores, said.cost_usd
    columns = [pa.array(scores, from_pandas=True) for scores in (computed, agreed, judged)]
    return pa.Table.from_arrays([*answers.select(ROUND_PAIRS.names).columns, *columns], schema=ROUND_JUDGED), paid


def grade(queries: pa.Table, answers: pa.Table, judged: pa.Table, expert: str, found: JudgeAgreement) -> pa.Table:
    """Return outcomes (`ROUND_OUTCOMES`): answers [n] with their scores, without those that cannot be scored.

    Args:
        queries: Of `ROUND_QUERIES`.
        answers: Of `ROUND_ANSWERS`.
        judged: Of `ROUND_JUDGED`, in the same rows.
        expert: Name of the judge.
        found: How far the judge agrees with what is computed; one that does not is not believed.
    """
    checks = _by_id(queries, "check")
    rows = []
    for answer, scored in zip(answers.to_pylist(), judged.to_pylist(), strict=True):
        if scored["computed"] is not None:
            by = "recorded" if answer["recorded_score"] is not None else checks[answer["query_id"]]
            points = scored["computed"]
        elif scored["agreed"] is not None:
            by, points = "consensus", scored["agreed"]
        else:
            by, points = f"judge: {expert}", scored["judged"] if found.trusted else None
        if points is not None:
            own = {"response": answer["answer"], "cost_usd": answer["list_cost_usd"], "judged_by": by}
            rows.append({**answer, **own, "score": points})
    return pa.Table.from_pylist(rows, schema=ROUND_OUTCOMES)


def compute(queries: pa.Table, answers: pa.Table, *, run_code: bool = False) -> np.ndarray:
    """Return the scores [n] of answers that are recorded or can be computed; NaN of others, and of what failed."""
    rights, checks = _by_id(queries, "answer"), _by_id(queries, "check")
    scores = np.full(len(answers), np.nan)
    for i, row in enumerate(answers.to_pylist()):
        check = checks[row["query_id"]]
        if row["error"] is None and row["recorded_score"] is not None:
            scores[i] = row["recorded_score"]
        elif row["error"] is None and check is not None and (check != "code" or run_code):
            scores[i] = score(row["answer"], rights[row["query_id"]], check)
    return scores


def compare_judge(judged: Sequence[pa.Table]) -> JudgeAgreement:
    """Compare the judge with computed scores, over several rounds, tables of `ROUND_JUDGED`."""
    rows = pa.concat_tables(judged).select(["judged", "computed"]).drop_null() if judged else ROUND_JUDGED.empty_table()
    return agreement(rows["judged"].to_pylist(), rows["computed"].to_pylist())


def questions_of(queries: pa.Table, rows: pa.Table) -> list[str]:
    """Return the texts of the questions that rows with a `query_id` are about."""
    questions = _by_id(queries, "question")
    return [questions[query_id] for query_id in rows["query_id"].to_pylist()]


def _by_id(queries: pa.Table, column: str) -> dict[str, Any]:
    return dict(zip(queries["query_id"].to_pylist(), queries[column].to_pylist(), strict=True))


def _texts(queries: pa.Table, answers: pa.Table) -> dict[int, Answer]:
    """Return the answers, by their rows."""
    questions = _by_id(queries, "question")
    return {
        i: Answer(row["query_id"], questions[row["query_id"]], row["expert"], row["answer"])
        for i, row in enumerate(answers.to_pylist())
        if row["error"] is None and row["answer"] is not None
    }


def _mean_scores(answers: pa.Table, computed: np.ndarray) -> dict[str, float]:
    """Return the mean computed score of each expert, by name."""
    experts = np.array(answers["expert"].to_pylist())
    known = np.isfinite(computed)
    return {name: float(computed[known & (experts == name)].mean()) for name in np.unique(experts[known]).tolist()}
