"""Known answers are found by keys of their questions; texts that share a key are distinguished."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import leeroo
from leeroo.engine.answer import Criteria
from leeroo.udfs.functions.keys import text_keys
from leeroo.udfs.functions.memo import Memo
from leeroo.udfs.functions.requests import Arguments, Group

GROUP = Group(Arguments(), Criteria())
TEXTS = ["", "a", "b", "ab", "sevenby", "eight by", "nine byte", "ä" * 40, "x" * 137, "y" * 5000]
# A key is not computed from every byte of a long text.
ALIKE = ["x" * 1000, "x" * 20 + "y" + "x" * 979, "x" * 20 + "z" + "x" * 979]


def learned(texts: list[str], failed: list[bool] | None = None) -> Memo:
    """Return a memo in which each text has itself for a value."""
    memo = Memo(pa.string())
    memo.learn([(GROUP, texts)], pa.chunked_array([texts], pa.string()), failed or [False] * len(texts))
    return memo


def values(memo: Memo, texts: list[str]) -> list[str | None]:
    """Return what the memo knows of texts."""
    found: list[str | None] = memo.values.take(memo.find(GROUP, pa.array(texts, pa.string()))).to_pylist()
    return found


def test_a_key_depends_on_the_text_alone() -> None:
    """What stands beside a text in memory does not count, and texts of all lengths have keys of their own."""
    keys = dict(zip(TEXTS, text_keys(pa.array(TEXTS)).tolist(), strict=True))
    assert len(set(keys.values())) == len(TEXTS)
    for text, key in keys.items():
        assert text_keys(pa.array([text])).tolist() == [key]
        assert text_keys(pa.array(["before", text, "behind"])[1:2]).tolist() == [key]
    assert text_keys(pa.array([], pa.string())).tolist() == []


def test_questions_that_share_a_key_have_answers_of_their_own() -> None:
    """So do known ones among each other, and an unknown one has none."""
    assert len(set(text_keys(pa.array(ALIKE)).tolist())) == 1
    memo = learned([*TEXTS, *ALIKE[:2]])
    assert values(memo, [*ALIKE, *TEXTS]) == [*ALIKE[:2], None, *TEXTS]


@pytest.mark.parametrize("failed", [0, 1])
def test_a_failure_is_forgotten_without_one_that_shares_its_key(failed: int) -> None:
    """Also when it is learned again, in whichever order they came."""
    memo = learned(ALIKE, [i == failed for i in range(3)])
    memo.forget_failures()
    assert values(memo, ALIKE) == [None if i == failed else text for i, text in enumerate(ALIKE)]
    again = [ALIKE[failed]]
    memo.learn([(GROUP, again)], pa.chunked_array([["again"]], pa.string()), [False])
    assert values(memo, ALIKE) == ["again" if i == failed else text for i, text in enumerate(ALIKE)]


@pytest.mark.parametrize("setting", ["arrow_large_buffer_size", "produce_arrow_string_view"])
def test_texts_of_another_arrow_type_are_found(setting: str, pool_file: Path, store: Path) -> None:
    """DuckDB hands texts over as the settings of the connection say."""
    with leeroo.connect(pool=pool_file, store=store) as con:
        con.execute(f"SET {setting} = true")
        asked = "SELECT leeroo_answer('What is ' || i % 3 || ' plus ' || i % 3 || '?') FROM range(6) r(i)"
        answers = con.execute(asked).fetchall()
        assert answers[:3] == answers[3:] == con.execute(asked).fetchall()[:3]
        assert (None,) not in answers
