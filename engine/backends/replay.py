"""The replay backend: answers with recorded outcomes, so that models that cannot run here can be routed all the same.

`model` is a data folder (queries.parquet, outcomes.parquet). A request whose question is among its queries gets
what is recorded for the expert of the same name: response, tokens, cost and score. Where several queries share a
question (with different choices), the whole prompt decides between them.

Sampling parameters change nothing that was recorded. A row that wants what a record cannot give - an end before a
`stop` text, `top_logprobs` - fails, and may go to another expert.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.backends.choices import find_choice
from leeroo.engine.backends.decisions import find_decisions, read_decisions
from leeroo.engine.backends.options import ReplayOptions, engine_options
from leeroo.engine.backends.protocol import AMPLE
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from leeroo.engine.schema import COMPLETIONS

# With a speed to keep, answers come a few at a time, as they would from a real engine.
_SLOW_ROWS = 32
_NAP_S = 0.1

_UNKNOWN, _AMBIGUOUS = -1, -2

_RECORDED = """
SELECT coalesce(q.question::VARCHAR, '') AS question,
       nullif({prompt}::VARCHAR, q.question::VARCHAR) AS prompt,
       o.query_id IS NOT NULL AS recorded,
       {response} AS answer,
       {prediction}::VARCHAR AS prediction,
       {prompt_tokens}::INTEGER AS prompt_tokens, {completion_tokens}::INTEGER AS completion_tokens,
       {cost_usd}::DOUBLE * {factor} AS list_cost_usd, o.score::DOUBLE AS recorded_score
FROM read_parquet(getvariable('queries')) q
LEFT JOIN (FROM read_parquet(getvariable('outcomes')) WHERE expert = getvariable('expert')) o USING (query_id)
{responses}
"""


class ReplayBackend:
    """The recorded outcomes of one expert.

    Raises:
        ExpertUnavailable: the data folder cannot be read or knows no such expert.
        PoolError: an unknown engine option.
    """

    room = AMPLE  # requests cost it nothing

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self._speed = engine_options(expert, ReplayOptions).tokens_per_second
        try:
            part = 1.0 if expert.batch_discount is None else expert.batch_discount
            table = _read(Path(expert.model), expert.name, part)
        except duckdb.Error as error:
            raise ExpertUnavailable(f"cannot replay {expert.model}: {str(error).splitlines()[0]}") from error
        except (RuntimeError, UnicodeDecodeError) as error:  # DuckDB's message quotes the bytes, which are no text
            raise ExpertUnavailable(f"cannot replay {expert.model}: its text is not UTF-8") from error
        if not pc.any(table.column("recorded")).as_py():
            raise ExpertUnavailable(f"{expert.model} has no outcomes of an expert called {expert.name!r}")
        self._by_question, self._by_prompt, self._plain = _index(table)
        self._recorded = table.drop_columns(["question", "prompt"]).combine_chunks()

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer from the record, in the order of the requests."""
        for batch in requests:
            step = _SLOW_ROWS if self._speed else max(batch.num_rows, 1)
            for start in range(0, batch.num_rows, step):
                answered = self._answer(batch.slice(start, step))
                yield from self._take_time(answered)
                yield answered

    def close(self) -> None:
        """Forget the record."""
        self._by_question = self._by_prompt = self._plain = _Index(_hashes([]), np.zeros(0, np.int64))
        self._recorded = self._recorded.schema.empty_table()

    def _answer(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        places = self._find(batch.column("question").to_pylist(), batch.column("prompt").to_pylist())
        known = places >= 0
        found = self._recorded.take(pa.array(np.where(known, places, 0)))
        refused = _refusals(batch)
        answered = known & found.column("recorded").to_numpy() & refused.is_null().to_numpy(zero_copy_only=False)
        mask = pa.array(~answered)
        columns = {
            name: pc.if_else(mask, None, found.column(name).combine_chunks())
            for name in found.column_names
            if name != "recorded"
        }
        columns["id"] = batch.column("id")
        why = [None if ok else self._why(place) for ok, place in zip(answered.tolist(), places.tolist(), strict=True)]
        columns["error"] = pc.coalesce(refused, pa.array(why, pa.string()))
        if batch.column("choices").null_count < batch.num_rows:
            columns["answer"], columns["error"] = _to_choices(
                batch.column("choices").to_pylist(), columns, columns["prediction"].to_pylist()
            )
            mask = columns["error"].is_valid()
        if batch.column("decisions").null_count < batch.num_rows:
            columns["answer"], columns["error"] = _to_decisions(batch.column("decisions").to_pylist(), columns)
            mask = columns["error"].is_valid()
        columns["finish_reason"] = pc.if_else(mask, "error", "stop")
        if self._speed is not None:
            tokens = columns["completion_tokens"].fill_null(0).to_numpy(zero_copy_only=False)
            columns["latency_ms"] = pa.array(tokens / self._speed * 1e3)
        columns["bounced"] = refused.is_valid()
        return pa.RecordBatch.from_arrays(
            [columns.get(f.name, pa.nulls(len(places), f.type)).cast(f.type) for f in COMPLETIONS], schema=COMPLETIONS
        )

    def _find(self, questions: list[str], prompts: list[str]) -> np.ndarray:
        """Return the places of the records of requests, int64 [n]; `_UNKNOWN` or `_AMBIGUOUS` where there is none."""
        places = self._by_question.find(_hashes(questions))
        rest = np.flatnonzero(places < 0).tolist()
        if rest:
            asked, sent = [questions[i] for i in rest], [prompts[i] for i in rest]
            places[rest] = self._find_by_prompt(asked, sent, places[rest])
        return places

    def _find_by_prompt(self, questions: list[str], prompts: list[str], places: np.ndarray) -> np.ndarray:
        """Return the places of requests that their questions alone do not find: a question may be a whole prompt."""
        for texts in (questions, prompts):
            found = self._by_prompt.find(_hashes(texts))
            places = np.where((places < 0) & (found != _UNKNOWN), found, places)
        same = [question == prompt for question, prompt in zip(questions, prompts, strict=True)]
        plain = self._plain.find(_hashes(questions))
        return np.where(np.array(same) & (plain != _UNKNOWN), plain, places)

    def _why(self, place: int) -> str:
        name, folder = self._expert.name, Path(self._expert.model).name
        if place == _AMBIGUOUS:
            return f"several recorded questions in {folder!r} read like this; ask with the whole prompt"
        if place == _UNKNOWN:
            return f"the question is not among those recorded in {folder!r}"
        return f"no outcome of {name!r} on this question is recorded in {folder!r}"

    def _take_time(self, answered: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Sleep as long as these answers take, with an empty batch after each nap."""
        until = time.monotonic() + (pc.sum(answered.column("latency_ms")).as_py() or 0.0) / 1e3
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _NAP_S))
            yield answered.slice(0, 0)


def _refusals(batch: pa.RecordBatch) -> pa.Array:
    """Return the errors of rows that want what a record cannot give, NULL for the others."""
    stop, logprobs = pc.list_value_length(batch.column("stop")), batch.column("top_logprobs")
    return pc.if_else(
        pc.fill_null(pc.greater(stop, 0), False),
        "stop: a recorded answer cannot end earlier than it did",
        pc.if_else(logprobs.is_valid(), "top_logprobs: they are not recorded", pa.scalar(None, pa.string())),
    )


def _to_choices(
    choices: list[list[str] | None], columns: dict[str, Any], predictions: list[str | None]
) -> tuple[pa.Array, pa.Array]:
    """Return the recorded answers, as choices where a row has some, and the errors of those that name none.

    A recorded prediction was read from the response and counts first; without either, there is no answer and no error.
    """
    answers, errors = columns["answer"].to_pylist(), columns["error"].to_pylist()
    for i, among in enumerate(choices):
        recorded = [text for text in (predictions[i], answers[i]) if text is not None]
        if among is not None and recorded:
            answers[i] = next((choice for text in recorded if (choice := find_choice(text, among)) is not None), None)
            if answers[i] is None:
                errors[i] = f"the recorded answer {recorded[0][:80]!r} is none of the choices"
    return pa.array(answers, pa.string()), pa.array(errors, pa.string())


def _to_decisions(decisions: list[str | None], columns: dict[str, Any]) -> tuple[pa.Array, pa.Array]:
    """Return the recorded answers, as decisions where a row has some, and the errors of those that lack one."""
    answers, errors = columns["answer"].to_pylist(), columns["error"].to_pylist()
    for i, wanted in enumerate(decisions):
        if wanted is not None and answers[i] is not None:
            try:
                answers[i] = find_decisions(answers[i], read_decisions(wanted))
            except ValueError as error:
                answers[i], errors[i] = None, f"recorded: {error}"
    return pa.array(answers, pa.string()), pa.array(errors, pa.string())


def _read(folder: Path, expert: str, factor: float) -> pa.Table:
    """Read the record of one expert: a row for each query, `recorded` false where there is no outcome.

    Recorded costs are multiplied by `factor`.
    """
    con = duckdb.connect()
    queries, outcomes = str(folder / "queries.parquet"), str(folder / "outcomes.parquet")
    columns_there = _columns(con, outcomes)
    columns = {
        name: f"o.{name}" if name in columns_there else "NULL"
        for name in ("prediction", "prompt_tokens", "completion_tokens", "cost_usd")
    }
    columns["prompt"] = "coalesce(q.prompt, q.question)" if "prompt" in _columns(con, queries) else "q.question"
    texts = [f"o.{name}" for name in ("response", "prediction") if name in columns_there]
    variables = {"queries": queries, "outcomes": outcomes, "expert": expert}
    responses = ""
    if list(folder.glob("responses*.parquet")):
        responses = (
            "LEFT JOIN (SELECT query_id, any_value(response) AS response FROM read_parquet(getvariable('responses'))"
            " WHERE expert = getvariable('expert') GROUP BY query_id) r USING (query_id)"
        )
        texts.insert(1 if "response" in columns_there else 0, "r.response")
        variables["responses"] = str(folder / "responses*.parquet")
    response = f"coalesce({', '.join([*texts, 'NULL'])})::VARCHAR"
    # No parameters: with them DuckDB 1.5 would hold all of it in memory twice, and DuckDB 2 after `execute`.
    for name, value in variables.items():
        con.execute(f"SET VARIABLE {name} = $value", {"value": value})
    return con.sql(_RECORDED.format(response=response, responses=responses, factor=factor, **columns)).to_arrow_table()


def _columns(con: duckdb.DuckDBPyConnection, file: str) -> set[str]:
    return {row[0] for row in con.execute("DESCRIBE FROM read_parquet($f)", {"f": file}).fetchall()}


class _Index:
    """Places of texts, found by a hash of 64 bits and confirmed by another: a text takes 24 bytes, however long it is.

    Args:
        hashes: Those of the texts (`_hashes`), [2, n].
        places: Of the texts, [n].

    """

    def __init__(self, hashes: np.ndarray, places: np.ndarray) -> None:
        order = np.argsort(hashes[0], kind="stable")
        self._first, starts, counts = np.unique(hashes[0, order], return_index=True, return_counts=True)
        self._second = hashes[1, order[starts]]
        self._places = np.where(counts > 1, _AMBIGUOUS, places[order[starts]])

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Return the places of the texts with these hashes [2, n], int64 [n].

        It is `_UNKNOWN` where there is none, and `_AMBIGUOUS` where there are several.
        """
        if not len(self._first):
            return np.full(hashes.shape[1], _UNKNOWN)
        at = np.searchsorted(self._first, hashes[0]).clip(max=len(self._first) - 1)
        known = (self._first[at] == hashes[0]) & (self._second[at] == hashes[1])
        return np.where(known, self._places[at], _UNKNOWN)


def _hashes(texts: Sequence[str]) -> np.ndarray:
    """Return two hashes of each text, int64 [2, n]; they hold within this process."""
    first = np.fromiter(map(hash, texts), np.int64, len(texts))
    return np.stack([first, np.fromiter((hash(text + "\0") for text in texts), np.int64, len(texts))])


def _index(table: pa.Table) -> tuple[_Index, _Index, _Index]:
    """Index rows by question and, where the prompt says more, by prompt; texts that occur twice are marked.

    The third index holds the questions that occur twice, of rows where they are the whole prompt.
    """
    questions, prompts = _hashes_of(table.column("question")), _hashes_of(table.column("prompt").drop_null())
    by_question = _Index(questions, np.arange(table.num_rows))
    prompted = table.column("prompt").is_valid().to_numpy()
    plain = np.flatnonzero(~prompted & (by_question.find(questions) == _AMBIGUOUS))
    return by_question, _Index(prompts, np.flatnonzero(prompted)), _Index(questions[:, plain], plain)


def _hashes_of(texts: pa.ChunkedArray) -> np.ndarray:
    """Return the hashes of a column, [2, n], read a part at a time."""
    batches = pa.table([texts], ["text"]).to_batches(max_chunksize=65_536)
    return np.hstack([_hashes([]), *(_hashes(batch.column("text").to_pylist()) for batch in batches)])
