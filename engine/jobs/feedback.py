"""Feedback at work: judge the feedback of users, keep it in the answer store, and export it as outcomes to learn from.

A score is taken as it is. A gold answer is compared by the check that its form calls for: a number by value, a single
letter from A to J as a choice, anything else as text. Knows nothing of tables of users, SQL and HTTP.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.errors import OutputError
from leeroo.engine.jobs.verify import check_for, score
from leeroo.engine.orchestrator.analysis.drift import Drift, find_drift
from leeroo.engine.pool import Expert, Pool
from leeroo.engine.schema import EXPERTS, FEEDBACK_OUTCOMES, QUERIES
from leeroo.engine.store.feedback import Feedback, question_hash
from leeroo.engine.store.store import Store
from leeroo.engine.tables.outputs import check_own, new_folder

_SHOWN = 60
# Characters of a gold answer; more are no short answer to compare with.
_GOLD_LONGEST = 1024
# Version of the comparison of answers with golds: another number makes all kept scores void.
_COMPARISON = 1


def complete(
    store: Store, rows: Sequence[Feedback], experts: Iterable[str] | None = None
) -> tuple[list[Feedback], list[tuple[int, str]]]:
    """Fill in what the store knows: the expert of an answer, the answer of an expert, and its predicted score.

    A row without an expert means the one that gave the answer. Without an answer too, it means the last one that
    answered; with a gold alone, it means everyone.

    Args:
        store: Has the answers.
        rows: As users give them.
        experts: Those that may be named; None for any.

    Returns:
        What can be kept, and of each row that cannot its position and the reason.

    """
    known = None if experts is None else set(experts)
    said: dict[bytes, list[dict[str, Any]]] = {}
    for answer in store.latest_answers({row.question for row in rows if row.question}):
        said.setdefault(answer["question_hash"], []).append(answer)
    kept: list[Feedback] = []
    complaints = []
    for at, row in enumerate(rows):
        found = _wrong(row, known) or _complete_row(row, said.get(question_hash(row.question), []))
        if isinstance(found, str):
            complaints.append((at, found))
        else:
            kept += found
    return kept, complaints


def give(store: Store, rows: Sequence[Feedback], experts: Iterable[str] | None = None) -> list[tuple[int, str]]:
    """Keep all feedback that can be kept.

    Args:
        store, rows, experts: As for `complete`.

    Returns:
        Of each row that cannot be kept its position and the reason.

    """
    kept, complaints = complete(store, rows, experts)
    store.give(kept)
    return complaints


def judge_feedback(store: Store, owner: str | None = None) -> list[dict[str, Any]]:
    """Return all feedback as outcomes, in the order in which the answers were given.

    Each has question, expert, answer, score, gold, `judged_by` ('user', or the name of the check that compared the
    answer with the gold), predicted_score, prompt_tokens, completion_tokens, cost_usd, latency_ms, and as seconds of
    the epoch `answered` and `at`, when the feedback was given; None where something is not known.
    """
    rows = store.feedback(owner)
    by_gold = [row for row in rows if row["score"] is None]
    for row in rows:
        row["judged_by"] = "user"
    for row, points in zip(by_gold, _compare(store, by_gold), strict=True):
        row["judged_by"], row["score"] = check_for(row["gold"]), points
    return rows


def _compare(store: Store, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Compare answers with golds; each pair is compared once, and its score kept in the store."""
    pairs = [(row["answer"], row["gold"]) for row in rows]
    keys = [hashlib.sha256(json.dumps([_COMPARISON, *pair]).encode()).digest() for pair in pairs]
    known = store.verdicts(keys)
    fresh = {
        key: score(answer, gold, check_for(gold))
        for key, (answer, gold) in zip(keys, pairs, strict=True)
        if key not in known
    }
    if fresh:
        store.keep_verdicts(fresh)
    known |= fresh
    return [known[key] for key in keys]


def summary(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, float]]:
    """Return the number of outcomes of each expert and their mean score, by name, from rows of `judged`."""
    return {name: (len(its), float(np.mean([row["score"] for row in its]))) for name, its in _by_expert(rows)}


def find_drifts(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Drift, date]]:
    """Return the experts that have drifted and since when, by name, from rows of `judged` that have a prediction."""
    found = {}
    for name, its in _by_expert(row for row in rows if row["predicted_score"] is not None):
        drift = find_drift([row["predicted_score"] for row in its], [row["score"] for row in its])
        if drift is not None:
            found[name] = drift, datetime.fromtimestamp(its[drift.since]["answered"], UTC).date()
    return found


def warnings(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line for people about each expert that has drifted, from rows of `judged`."""
    return [
        f"expert {name}: answers come out {abs(drift.shift):.2f} {'below' if drift.shift < 0 else 'above'} what the "
        f"router expects since {day} (n={drift.n}): ask it anew or retrain"
        for name, (drift, day) in find_drifts(rows).items()
    ]


def _by_expert(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    of: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        of.setdefault(row["expert"], []).append(row)
    return sorted(of.items())


def export_feedback(store: Store, pool: Pool | None, folder: Path, *, private: bool | None = None) -> int:
    """Write feedback as a data folder that `train` learns from: the folder appears whole, or the old one stays.

    Outcomes have two more columns: `latency_ms`, and `judged_by` ('user', or the check that compared with the gold).

    Args:
        store: The answer store.
        pool: Its experts' outcomes are written, and their prices; None for all outcomes and no prices.
        folder: A data folder that was there is replaced.
        private: Write only feedback on questions that are private, or only on those that are not; None for all.

    Returns:
        The number of outcomes; there may be none.

    Raises:
        OutputError: it cannot be written there, or something that is no data folder is in the way.
        OutputError, UsageError: the store cannot be used.

    """
    rows = [
        row
        for row in judge_feedback(store)
        if (pool is None or row["expert"] in pool.names) and private in (None, row["private"])
    ]
    write_data_folder(folder, _tables(rows, pool))
    return len(rows)


def experts_table(experts: Iterable[Expert]) -> pa.Table:
    """Return experts as a data folder has them, a table of `EXPERTS`."""
    rows = [{**dict(e), "expert": e.name, "license_open": e.location == "local"} for e in experts]
    return pa.Table.from_pylist(rows, schema=EXPERTS)


def _wrong(row: Feedback, experts: set[str] | None) -> str | None:
    """Say why a row cannot be kept, whatever the store knows; None if it can."""
    about = _quote(row.question)
    if not row.question or not row.question.strip():
        return "there is no question"
    if row.score is None and (row.gold is None or not row.gold.strip()):
        return f"{about} has neither a score nor a gold answer: give one of them"
    if row.gold is not None and len(row.gold) > _GOLD_LONGEST:
        return f"the gold answer of {about} has more than {_GOLD_LONGEST:,} characters: give a short one, or a score"
    if row.score is not None and not 0 <= row.score <= 1:
        return f"the score of {about} is {row.score:g}: scale scores to the range from 0 to 1"
    if row.expert is not None and experts is not None and row.expert not in experts:
        return f"no expert is called {row.expert!r}; those that can be judged are: {', '.join(sorted(experts))}"
    return None


def _complete_row(row: Feedback, said: list[dict[str, Any]]) -> list[Feedback] | str:
    """Return the feedback that a row means, by the latest answers to its question; or the reason why there is none."""
    about = _quote(row.question)
    if row.expert is not None:
        own = next((answer for answer in said if answer["expert"] == row.expert), None)
        if own is None and row.answer is None and row.score is None:
            return f"{row.expert} has not answered {about} here: give its answer too, to be compared with the gold one"
        return [_fill_gaps(row, own)]
    if row.answer is not None:
        filled = [_fill_gaps(row, own) for own in said if own["answer"] == row.answer]
        return filled or f"nobody is known to have given that answer to {about}: {_NAME}"
    if not said:
        return f"nobody is known to have answered {about}: {_NAME} and give its answer"
    if row.score is None:
        return [row]
    return [_fill_gaps(row, max(said, key=lambda answer: answer["created"]))]


_NAME = "name the expert"


def _fill_gaps(row: Feedback, own: Mapping[str, Any] | None) -> Feedback:
    """Fill the gaps of a row from an answer in the store."""
    if own is None:
        return row
    same = row.answer is None or row.answer == own["answer"]
    return row._replace(
        expert=own["expert"],
        answer=own["answer"] if row.answer is None else row.answer,
        predicted_score=own["predicted_score"] if row.predicted_score is None and same else row.predicted_score,
    )


def _quote(question: str | None) -> str:
    text = " ".join((question or "").split())
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def _tables(rows: list[dict[str, Any]], pool: Pool | None) -> dict[str, pa.Table]:
    """Return the tables of a data folder, by name."""
    queries: dict[str, dict[str, Any]] = {}
    outcomes = []
    for row in rows:
        # Feedback of several owners on a question makes several queries, of which learning takes the mean.
        name = question_hash("\0".join(filter(None, (row["owner"], row["question"])))).hex()
        shared = {"query_id": name, "dataset": "feedback", "split": "train", "answer": row["gold"]}
        queries[name] = {**shared, "question": row["question"], "prompt": row["question"]}
        outcomes.append({**row, "query_id": name, "response": row["answer"]})
    tables = {
        "queries": pa.Table.from_pylist(list(queries.values()), schema=QUERIES),
        "outcomes": pa.Table.from_pylist(outcomes, schema=FEEDBACK_OUTCOMES),
    }
    if pool is not None:
        tables["experts"] = experts_table(pool.experts)
    return tables


def write_data_folder(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write the tables of a data folder, by name: all of them, or none; a data folder that was there is replaced.

    Raises:
        OutputError: it cannot be written there, or something that is no data folder is in the way.
    """
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not (folder / "outcomes.parquet").is_file():
        raise OutputError(f"{folder} exists and is no data folder: name another for the outcomes")
    check_own(folder, ("queries.parquet", "outcomes.parquet", "experts.parquet"))
    try:
        with new_folder(folder) as fresh:
            for name, table in tables.items():
                pq.write_table(table, fresh / f"{name}.parquet", compression="zstd")
    except OSError as error:
        raise OutputError(f"the outcomes cannot be written to {folder}: {error.strerror or error}") from error
