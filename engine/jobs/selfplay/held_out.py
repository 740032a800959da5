"""The held-out questions of a loop of self-play: routers are measured on them and never learn from them.

Knows nothing of rounds.
"""

from __future__ import annotations

import random
from functools import partial
from urllib.parse import quote

import pyarrow as pa

from leeroo.engine.answer import Criteria
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.feedback import experts_table
from leeroo.engine.jobs.selfplay.answers import answer_pairs, judge_pairs
from leeroo.engine.jobs.selfplay.generate import Generated, as_queries, of_families
from leeroo.engine.jobs.selfplay.grade import compared, grade
from leeroo.engine.jobs.selfplay.state import Loop, Play
from leeroo.engine.orchestrator.outcomes.read import LEAST_QUESTIONS
from leeroo.engine.schema import ROUND_PAIRS
from leeroo.engine.tables import write_table

# The largest part of the seeds with a right answer that is held out.
_HELD_OUT_PART = 1 / 4


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


def _held_out(what: Play) -> list[Generated]:
    rng = random.Random(f"{what.seed} held-out")
    checked = [seed for seed in what.seeds if seed.check is not None]
    most = what.held_out // 2 if what.families else what.held_out
    of_seeds = rng.sample(checked, min(most, int(len(checked) * _HELD_OUT_PART)))
    known = {each.question for each in (*what.seeds, *of_seeds)}
    questions = [*of_seeds, *of_families(what.families, what.held_out - len(of_seeds), rng, known)]
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
    computed, _ = judge_pairs(loop, queries, answers, Criteria())
    return grade(queries, answers, computed, loop.judge, compared([])), cost
