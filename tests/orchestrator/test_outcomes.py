"""Reading recorded outcomes: what is taken from data folders, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.outcomes.read import read_outcomes, read_prices

if TYPE_CHECKING:
    from tests.orchestrator.conftest import Rows, Topics


def rows(n: int = 12, first: int = 0, split: str = "train") -> tuple[Rows, Rows]:
    """Return queries with one outcome each of expert 'a'."""
    queries = [{"query_id": f"q{i}", "split": split, "question": f"question {i}"} for i in range(first, first + n)]
    return queries, [{"query_id": q["query_id"], "expert": "a", "score": 0.5} for q in queries]


def test_recorded_values_are_read(topics: Topics, tmp_path: Path) -> None:
    """Scores and tokens are in the row of their question and the column of their expert; the rest is NaN."""
    queries, outcomes = rows()
    outcomes.append({"query_id": "q3", "expert": "b", "score": 1.0, "completion_tokens": 7})
    read = read_outcomes([topics.write(tmp_path, queries, outcomes)])
    assert read.experts == ("a", "b")
    at = read.questions.index("question 3")
    assert read.scores[at].tolist() == [0.5, 1.0]
    assert read.completion_tokens[at, 1] == 7
    assert np.isfinite(read.scores[:, 1]).sum() == 1
    assert np.isfinite(read.completion_tokens).sum() == 1
    assert np.isnan(read.latency_ms).all()
    assert read.prompts == read.questions


def test_a_question_in_two_folders_is_read_once(topics: Topics, tmp_path: Path) -> None:
    """The same question under other names, in another folder, is one row with the mean of its scores."""
    queries, outcomes = rows()
    topics.write(tmp_path / "one", queries, outcomes)
    renamed = [{**q, "query_id": "other-" + q["query_id"]} for q in queries]
    perfect = [{"query_id": q["query_id"], "expert": e, "score": 1.0} for q in renamed for e in "ab"]
    topics.write(tmp_path / "two", renamed, perfect)
    read = read_outcomes([tmp_path / "one", tmp_path / "two"])
    assert len(read.questions) == 12
    assert read.scores.tolist() == [[0.75, 1.0]] * 12


def test_folders_may_use_the_same_names(topics: Topics, tmp_path: Path) -> None:
    """A query_id means something in its own folder only."""
    topics.write(tmp_path / "one", *rows())
    queries, outcomes = rows()
    topics.write(tmp_path / "two", [{**q, "question": "other " + q["question"]} for q in queries], outcomes)
    assert len(read_outcomes([tmp_path / "one", tmp_path / "two"]).questions) == 24


def test_splits_are_separate(topics: Topics, tmp_path: Path) -> None:
    """Only the rows of the given split are read."""
    train, test = rows(12), rows(15, first=12, split="test")
    folder = topics.write(tmp_path, train[0] + test[0], train[1] + test[1])
    assert len(read_outcomes([folder]).questions) == 12
    assert len(read_outcomes([folder], split="test").questions) == 15


def unknown_queries(queries: Rows, outcomes: Rows) -> None:
    """Add three outcomes of unknown queries."""
    outcomes += [{"query_id": f"x{i}", "expert": "a", "score": 1.0} for i in range(3)]


def score_of_two(queries: Rows, outcomes: Rows) -> None:
    """Give an outcome a score above 1."""
    outcomes[4]["score"] = 2.0


def score_is_nan(queries: Rows, outcomes: Rows) -> None:
    """Give an outcome a score that is no number."""
    outcomes[4]["score"] = float("nan")


def no_score(queries: Rows, outcomes: Rows) -> None:
    """Remove a score."""
    outcomes[4]["score"] = None


def the_same_twice(queries: Rows, outcomes: Rows) -> None:
    """Add two outcomes again."""
    outcomes += outcomes[:2]


def a_query_twice(queries: Rows, outcomes: Rows) -> None:
    """Add a query again."""
    queries.append(queries[0])


def no_question(queries: Rows, outcomes: Rows) -> None:
    """Remove the question of a query."""
    queries[0]["question"] = None


def no_expert(queries: Rows, outcomes: Rows) -> None:
    """Remove the expert of an outcome."""
    outcomes[0]["expert"] = None


def only_nine(queries: Rows, outcomes: Rows) -> None:
    """Keep the outcomes of nine questions."""
    del outcomes[9:]


def nothing_to_train_on(queries: Rows, outcomes: Rows) -> None:
    """Move all questions to the test split."""
    for query in queries:
        query["split"] = "test"


def no_such_column(queries: Rows, outcomes: Rows) -> None:
    """Rename the column of scores."""
    for outcome in outcomes:
        outcome["points"] = outcome.pop("score")


def scores_in_words(queries: Rows, outcomes: Rows) -> None:
    """Write the scores in words."""
    for outcome in outcomes:
        outcome["score"] = "good"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            unknown_queries,
            "3 outcomes in {outcomes} are of queries that are not in queries.parquet (the first: x0): add those",
        ),
        (score_of_two, "1 scores in {outcomes} are not between 0 and 1 (the first: 2.0 of a on q4): scale"),
        (score_is_nan, "1 scores in {outcomes} are not between 0 and 1 (the first: nan of a on q4)"),
        (no_score, "1 scores in {outcomes} are not between 0 and 1 (the first: none of a on q4)"),
        (
            the_same_twice,
            "2 pairs of query and expert occur more than once in {outcomes} (the first: q0 and a): keep one",
        ),
        (a_query_twice, "1 query_ids occur more than once in {queries} (the first: q0): keep one"),
        (no_question, "1 rows of {queries} have no query_id or no question (the first: q0): leave"),
        (no_expert, "1 rows of {outcomes} have no query_id or no expert (the first: q0): leave"),
        (only_nine, "{folder}: 9 questions with outcomes in the split 'train'; at least 10 are needed"),
        (nothing_to_train_on, "{folder}: 0 questions with outcomes in the split 'train'; at least 10 are needed"),
        (no_such_column, "{outcomes} has no column 'score'; it has query_id, expert, points"),
        (scores_in_words, "{outcomes} cannot be read as a data folder's outcomes: Conversion Error"),
    ],
)
def test_wrong_outcomes_are_refused(
    topics: Topics, tmp_path: Path, spoil: Callable[[Rows, Rows], None], message: str
) -> None:
    """Wrong rows are refused in one line that says how many they are and where."""
    queries, outcomes = rows()
    spoil(queries, outcomes)
    topics.write(tmp_path, queries, outcomes)
    with pytest.raises(RouterError) as error:
        read_outcomes([tmp_path])
    files = {name: tmp_path / f"{name}.parquet" for name in ("queries", "outcomes")}
    assert str(error.value).startswith(message.format(folder=tmp_path, **files))
    assert "\n" not in str(error.value)


def test_missing_folders_and_files_are_named(topics: Topics, tmp_path: Path) -> None:
    """No folder, no file in it, and a file that is not Parquet are each one line that names it."""
    with pytest.raises(RouterError, match="no data folder was given"):
        read_outcomes([])
    with pytest.raises(RouterError, match="there is no data folder .*nowhere"):
        read_outcomes([tmp_path / "nowhere"])
    topics.write(tmp_path, *rows())
    (tmp_path / "outcomes.parquet").unlink()
    with pytest.raises(RouterError, match=r"has no outcomes\.parquet"):
        read_outcomes([tmp_path])
    (tmp_path / "outcomes.parquet").write_text("query_id,expert,score\n")
    with pytest.raises(RouterError, match=r"outcomes\.parquet cannot be read") as error:
        read_outcomes([tmp_path])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("column", ["query_id", "expert"])
def test_text_that_is_not_utf_8_is_one_line(topics: Topics, tmp_path: Path, column: str) -> None:
    """The line names the file; nothing of what libraries say of bytes gets out."""
    folder = topics.write(tmp_path, *rows())
    table = pq.read_table(folder / "outcomes.parquet")
    broken = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string())
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, broken), folder / "outcomes.parquet")
    with pytest.raises(RouterError, match=r"outcomes\.parquet cannot be read as a data folder's outcomes: ") as raised:
        read_outcomes([folder])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf"), "much"])
def test_prices_are_numbers(tmp_path: Path, price: object) -> None:
    """A price that is none is one line with the file, whatever its column holds."""
    listed = {"expert": ["a"], "usd_per_m_input": [price], "usd_per_m_output": [price]}
    pq.write_table(pa.table(listed), tmp_path / "experts.parquet")
    with pytest.raises(RouterError, match=r"experts\.parquet") as raised:
        read_prices([tmp_path], ["a"])
    assert "\n" not in str(raised.value)
