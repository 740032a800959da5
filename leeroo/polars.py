"""Answers as expressions of Polars, for columns of a data frame.

An expression is one batch wherever Polars hands over its whole column at once: in `with_columns`, `select` and
`filter`, eager, lazy and streaming. Within `group_by` and `over` every group is a batch of its own, and each of two
expressions is. Answer the column first there. Ctrl-C stops one batch, and waits for the end of several, which are in
threads of Polars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

import polars as pl

from leeroo.api import frames
from leeroo.api.options import AnswerOptions, RunOptions


def answer(texts: pl.Expr | str, **options: Unpack[AnswerOptions]) -> pl.Expr:
    """Answer every row of a column; the column of answers is called 'answer'.

    Costs and errors are in the answer store. `leeroo.answer` returns them with the answers.

    Examples:
        >>> import leeroo.polars, polars as pl
        >>> frame = pl.DataFrame({"q": ["What is the capital of Italy?"]})
        >>> frame.with_columns(leeroo.polars.answer(pl.col("q"), max_tokens=12))["answer"].to_list()
        ['The capital of Italy is Rome.']

    Args:
        texts: The questions: an expression, or the name of a column. The fields of a struct are columns, which the
            options `column`, `prompt` and `private_column` can name.
        options: Those of `leeroo.answer`.
    """
    return _expression(texts, "answer", lambda frame: frames.answer(frame, **options))


def label(texts: pl.Expr | str, labels: Sequence[str] | Mapping[str, str], **options: Unpack[RunOptions]) -> pl.Expr:
    """Give every row of a column one of some labels; the new column is called 'label'.

    Args:
        texts: The texts, as for `answer`.
        labels: Names, or names with descriptions.
        options: See `RunOptions`.
    """
    return _expression(texts, "label", lambda frame: frames.label(frame, labels, **options))


def _expression(texts: pl.Expr | str, name: str, work: Callable[[pl.DataFrame | pl.Series], pl.DataFrame]) -> pl.Expr:
    """Return the expression of a new column that a function of this package adds."""

    def run(values: pl.Series) -> pl.Series:
        return work(values.struct.unnest() if values.dtype == pl.Struct else values)[name]

    column = pl.col(texts) if isinstance(texts, str) else texts
    return column.map_batches(run, return_dtype=pl.String).alias(name)
