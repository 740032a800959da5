"""leeroo.extract returns JSON under a schema for each row, or the reason why there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import leeroo
from leeroo.engine.errors import UsageError
from leeroo.engine.schema import ANSWERS
from tests.provider import Provider

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TEXTS = ["I live in Rome.", "We met in Oslo.", "Nobody knows.", None]


@pytest.fixture
def options(api: Provider, api_entry: Callable[..., str], tmp_path: Path) -> dict[str, Any]:
    """Provide a pool whose expert names the city, or says that there is none."""
    answers = {"Rome": '{"city": "Rome"}', "Oslo": '{"city": "Oslo"}', "Nobody": "I cannot."}
    api.says = lambda _, prompt: next(answer for word, answer in answers.items() if word in prompt)
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 100))
    return {"pool": tmp_path / "pool.toml", "store": tmp_path / "store"}


def test_json_comes_back_or_the_reason(options: dict[str, Any], api: Provider) -> None:
    """Rows keep their order; an answer without JSON costs no other row, and what it cost is there."""
    frame = pl.DataFrame({"id": [1, 2, 3, 4], "text": TEXTS})
    with pytest.warns(leeroo.RowsFailedWarning, match="leeroo.extract: 1 of 4 questions"):
        found = leeroo.extract(frame, SCHEMA, **options)
    assert found.columns == ["id", "text", *ANSWERS.names]
    assert [each and json.loads(each)["city"] for each in found["answer"]] == ["Rome", "Oslo", None, None]
    assert [each is None for each in found["error"]] == [True, True, False, True]
    assert found["error"][2].startswith("the answer is not JSON: 'I cannot.'")
    assert (found["cost_usd"] > 0).to_list() == [True, True, True, False]
    assert all(body["response_format"]["type"] == "json_schema" for body in api.bodies)


def test_it_is_what_sql_extracts(options: dict[str, Any], api: Provider) -> None:
    """SQL with the same schema finds the answers in the store."""
    leeroo.extract(TEXTS[:2], json.dumps(SCHEMA), **options)
    asked = len(api.bodies)
    with leeroo.connect(**options) as con:
        query = f"SELECT leeroo_extract(t, '{json.dumps(SCHEMA)}') FROM unnest($texts) v(t)"
        rows = con.execute(query, {"texts": TEXTS[:2]}).fetchall()
    assert [json.loads(each)["city"] for (each,) in rows] == ["Rome", "Oslo"]
    assert len(api.bodies) == asked


def test_a_prompt_and_a_prefix(options: dict[str, Any], api: Provider) -> None:
    """A prompt names columns, a system text goes before it, and new columns may begin with a prefix."""
    frame = pl.DataFrame({"title": ["Trip"], "body": ["I live in Rome."], "answer": ["own"]})
    found = leeroo.extract(frame, SCHEMA, prompt="{title}: {body}", system="Be brief.", prefix="x_", **options)
    assert found["answer"].to_list() == ["own"]
    assert json.loads(found["x_answer"][0]) == {"city": "Rome"}
    [body] = api.bodies
    assert "Trip: I live in Rome." in body["messages"][-1]["content"]
    assert body["messages"][0]["content"].startswith("Be brief.")


def test_no_rows_are_no_rows(options: dict[str, Any]) -> None:
    """An empty list has the columns."""
    found = leeroo.extract([], SCHEMA, **options)
    assert found.num_rows == 0
    assert found.column_names == ["text", *ANSWERS.names]


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("{", "json_schema is not a JSON schema"),
        ({"type": "nothing"}, "json_schema is not a JSON schema"),
        ({"enum": {1, 2}}, "the schema is no JSON: Object of type set"),
    ],
)
def test_what_is_no_schema_is_one_line(schema: Any, says: str) -> None:
    """It is refused before a model is loaded."""
    with pytest.raises(UsageError, match=says) as error:
        leeroo.extract(["a"], schema)
    assert "\n" not in str(error.value)
