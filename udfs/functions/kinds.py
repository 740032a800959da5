"""The kinds of questions that functions have: how each gets its values from the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from leeroo.engine.pool import Pool
from leeroo.engine.schema import SQL_AGGREGATE, SQL_ROUTE, SQL_SCORES, SQL_SOLUTION
from leeroo.udfs.functions.aggregates import aggregate_all, estimate_aggregating
from leeroo.udfs.functions.requests import (
    Answerer,
    Estimator,
    Group,
    answer,
    estimate_answers,
    estimate_solving,
    known_type,
    route,
    score,
    solve_all,
)
from leeroo.udfs.functions.semantic import (
    EMBEDDING,
    FOUND,
    count_requests,
    embed_all,
    estimate_embeddings,
    estimate_search,
    search_all,
)


class Kind(NamedTuple):
    """Questions that are answered together, whichever functions they come from.

    Attributes:
        answer: Gets the values of all questions that a statement has.
        values: The type of a value; a function where the pool decides. A struct with the fields `cost_usd` and `error`
            where values cost something and may fail.
        estimate: Estimates what they would take, of those that cost something.
        of_statement: True where values hold for one statement only.
        of_groups: True where a question is built from many rows, which may depend on questions of other kinds.
        requests: Counts the requests that a question takes at most, where that is more than one.
        in_part: True where a value with an error is there all the same, and lacks what failed.

    """

    answer: Answerer
    values: pa.DataType | Callable[[Pool], pa.DataType]
    estimate: Estimator | None = None
    of_statement: bool = False
    of_groups: bool = False
    in_part: bool = False
    requests: Callable[[Group, str], int] | None = None


KINDS = {
    "answers": Kind(answer, known_type, estimate_answers),
    "solutions": Kind(solve_all, SQL_SOLUTION, estimate_solving),
    "routes": Kind(route, SQL_ROUTE, of_statement=True),  # a choice is made for the whole statement
    "scores": Kind(score, SQL_SCORES),
    "embeddings": Kind(embed_all, EMBEDDING, estimate_embeddings),
    "searches": Kind(search_all, FOUND, estimate_search, of_groups=True, in_part=True, requests=count_requests),
    "aggregates": Kind(aggregate_all, SQL_AGGREGATE, estimate_aggregating, of_groups=True),
}

# The kinds of public functions; all others have "answers".
KIND_OF = {
    "leeroo_solve": "solutions",
    "leeroo_route": "routes",
    "leeroo_scores": "scores",
    "leeroo_embed": "embeddings",
    "leeroo_similarity": "embeddings",
    "leeroo_join": "searches",
    "leeroo_dedupe": "searches",
    "leeroo_top_k": "searches",
    "leeroo_agg": "aggregates",
    "leeroo_aggregated": "aggregates",
    "leeroo_agg_list": "aggregates",
    "leeroo_summarize": "aggregates",
    "leeroo_summarized": "aggregates",
}


def type_of(given: pa.DataType | Callable[[Pool], pa.DataType], pool: Pool) -> pa.DataType:
    """Return a type that may depend on the pool."""
    return given if isinstance(given, pa.DataType) else given(pool)
