"""The call of the engine that answers the lines of a wave.

Knows nothing of the database and of other waves.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from leeroo.engine.answer import STOPPED, Criteria, Engine
from leeroo.engine.jobs.learn.learn import answer
from leeroo.engine.schema import ANSWERS
from leeroo.serve.keys import store_owner
from leeroo.serve.lines.requests import count_answers, to_table
from leeroo.serve.lines.results import LineAnswer, join_answers, no_answer
from leeroo.serve.work.batches import Batch
from leeroo.serve.work.queue import ClaimedLine

WaveLines = list[tuple[Batch, ClaimedLine]]


@contextmanager
def answer_lines(
    engine: Engine, lines: WaveLines, budget: float | None, stop: threading.Event, *, send: bool = True
) -> Iterator[list[LineAnswer | None]]:
    """Answer lines, and yield an answer for each; None where the call was stopped before it had one.

    Unless `send`, answers are those that are stored or that a killed wave of these lines has paid for.

    The run counts as delivered when this ends without an error.

    Raises:
        Interrupted: the call was stopped before it had any answer.

    """
    batch = lines[0][0]
    criteria = Criteria(
        column="question",
        private_column="private",
        ask_column="ask",
        max_cost_usd=budget,
        cost_weight=batch.cost_weight,
        latency_weight=batch.latency_weight,
        learn=(batch.metadata or {}).get("learn") == "true",
    )
    # The pool may have changed since the batch was checked.
    names = {None, *engine.pool.names}
    known = [line.request.get("expert") in names for _, line in lines]
    table = to_table((line.request, batch.private) for (batch, line), there in zip(lines, known, strict=True) if there)
    owner = store_owner(batch.owner)
    with answer(engine, table.to_reader(), criteria, stop, partial=True, send=send, owner=owner) as reader:
        answers = reader.read_all()
        columns = [name for name in (*ANSWERS.names, "logprobs") if name in answers.column_names]
        rows: Iterator[LineAnswer] = iter(answers.select(columns).to_pylist())
        yield [
            _answer([next(rows) for _ in range(count_answers(line.request))])
            if there
            else no_answer(f"there is no model {line.request['expert']!r} any more")
            for (_, line), there in zip(lines, known, strict=True)
        ]


def _answer(rows: list[LineAnswer]) -> LineAnswer | None:
    return None if any(row["error"] == STOPPED for row in rows) else join_answers(rows)


def lost_expert(experts: Iterable[str], answer: LineAnswer) -> bool:
    """Return whether a line failed because its expert was given up in this wave, and not by itself."""
    if answer["error"] is None:
        return False
    names = "|".join(map(re.escape, experts))
    return re.match(rf"the expert '({names})' cannot answer: |({names}): ", answer["error"]) is not None
