"""leeroo.extract returns typed fields or JSON for each row, or the reason why there are none; leeroo.decide, choices."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

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


class Stay(BaseModel):
    """Where somebody lives."""

    city: str
    since: datetime.date | None = None
    rooms: list[str]


@dataclasses.dataclass
class StayClass:
    """The same as a dataclass."""

    city: str
    since: datetime.date
    rooms: list[str]


STAY_ARROW = pa.schema([("city", pa.string()), ("since", pa.date32()), ("rooms", pa.list_(pa.string()))])
TYPED = ["city", "since", "rooms", *ANSWERS.names[1:]]


@pytest.fixture
def stays(api: Provider, options: dict[str, Any]) -> dict[str, Any]:
    """Provide a pool whose expert knows one stay well, one in part, and one with a day that is none."""
    said = {
        "Rome": {"city": "Rome", "since": "2020-05-01", "rooms": ["hall"]},
        "Oslo": {"city": "Oslo", "since": None, "rooms": None},
        "Nobody": {"city": None, "since": "2020-02-30", "rooms": []},
    }
    api.says = lambda _, prompt: json.dumps(next(each for word, each in said.items() if word in prompt))
    return options


@pytest.mark.parametrize("schema", [Stay, StayClass, STAY_ARROW, "city VARCHAR, since DATE, rooms VARCHAR[]"])
def test_a_class_gives_typed_columns(stays: dict[str, Any], api: Provider, schema: Any) -> None:
    """A model, a dataclass, an Arrow schema and fields as text give the same columns."""
    frame = pl.DataFrame({"id": [1, 2, 3, 4], "text": TEXTS})
    with pytest.warns(leeroo.RowsFailedWarning, match="leeroo.extract: 1 of 4 questions"):
        found = leeroo.extract(frame, schema, **stays)
    assert found.columns == ["id", "text", *TYPED]
    assert found.schema["since"] == pl.Date
    assert found["city"].to_list() == ["Rome", "Oslo", None, None]
    assert found["since"].to_list() == [datetime.date(2020, 5, 1), None, None, None]
    assert found["rooms"].to_list() == [["hall"], None, None, None]
    assert found["error"].to_list()[2] == "the answer cannot be converted: since: 2020-02-30 is no DATE"
    assert (found["cost_usd"] > 0).to_list() == [True, True, True, False]
    sent = json.loads(json.dumps(api.bodies[0]["response_format"]["json_schema"]["schema"]))
    assert sent["properties"]["since"] == {"type": ["string", "null"], "format": "date"}


def test_the_kind_of_frame_stays(stays: dict[str, Any]) -> None:
    """Pandas, Arrow and DuckDB get theirs; SQL finds the answers in the store."""
    texts = TEXTS[:2]
    pandas = leeroo.extract(pd.DataFrame({"text": texts}), Stay, **stays)
    assert isinstance(pandas, pd.DataFrame)
    assert pandas["city"].tolist() == ["Rome", "Oslo"]
    arrow = leeroo.extract(pa.table({"text": texts}), Stay, **stays)
    assert arrow.schema.field("since").type == pa.date32()
    relation = leeroo.extract(
        duckdb.sql("SELECT unnest(['I live in Rome.', 'We met in Oslo.']) AS text"), Stay, **stays
    )
    assert relation.select("city").fetchall() == [("Rome",), ("Oslo",)]
    with leeroo.connect(**stays) as con:
        query = "SELECT r.value.city, r.cost_usd FROM (SELECT leeroo_recorded('I live in Rome.', "
        query += "'city VARCHAR, since DATE, rooms VARCHAR[]') AS r)"
        assert con.execute(query).fetchall() == [("Rome", 0.0)]


def test_names_that_clash_are_one_line(stays: dict[str, Any], api: Provider) -> None:
    """A field that is a column already, or one of ours, is named before anything is paid for."""
    frame = pl.DataFrame({"city": ["own"], "text": ["I live in Rome."]})
    with pytest.raises(UsageError, match="the input already has the column 'city': give a prefix"):
        leeroo.extract(frame, Stay, **stays)
    with pytest.raises(UsageError, match="the field 'error' has the name of a column of answers: rename it"):
        leeroo.extract(["a"], "error VARCHAR", **stays)
    assert not api.bodies
    assert leeroo.extract(frame, Stay, prefix="x_", **stays)["x_city"].to_list() == ["Rome"]


QUESTIONS = {"urgent": [True, False], "team": ("billing", "bug"), "stars": range(1, 4)}


def test_decide_gives_a_column_for_each_question(options: dict[str, Any], api: Provider) -> None:
    """Typed choices in one request a row; a row without one has the reason, and costs no other row."""
    good = '{"urgent": true, "team": "bug", "stars": 2}'
    api.says = lambda _, prompt: good if "Rome" in prompt else '{"urgent": true, "team": "sales", "stars": 2}'
    frame = pl.DataFrame({"text": ["Rome", "Oslo", None]})
    with pytest.warns(leeroo.RowsFailedWarning, match="leeroo.decide: 1 of 3 questions"):
        found = leeroo.decide(frame, QUESTIONS, **options)
    pairs = [name for each in QUESTIONS for name in (each, f"{each}_confidence")]
    assert found.columns == ["text", *pairs, *ANSWERS.names[1:]]
    assert [found.schema[name] for name in QUESTIONS] == [pl.Boolean, pl.String, pl.Int32]
    assert found.select(*QUESTIONS).rows() == [(True, "bug", 2), (None, None, None), (None, None, None)]
    assert "'sales' is none of the choices for 'team'" in found["error"][1]
    assert len(api.bodies) == 2
    with leeroo.connect(**options) as con:
        query = (
            "SELECT leeroo_decide('Rome', {'urgent': [true, false], 'team': ['billing', 'bug'], 'stars': [1, 2, 3]})"
        )
        assert con.execute(query).fetchall()[0][0]["stars"]["choice"] == 2
    assert len(api.bodies) == 2  # SQL with the same questions finds the answers in the store


@pytest.mark.parametrize(
    ("questions", "says"),
    [
        ({}, "decisions must be names with their choices"),
        ({"a": ["x"]}, "the decision 'a' needs at least two choices, not 1"),
        ({"a": "xy"}, "the decision 'a' needs a list of choices"),
        ({"a": [object(), 1]}, "Object of type object is not JSON serializable"),
        (["a"], "questions are names with their choices, not"),
        ({"error": ["x", "y"]}, "the field 'error' has the name of a column of answers"),
        ({"a": ["x", "y"], "a_confidence": ["x", "y"]}, "the record has the field 'a_confidence' twice"),
    ],
)
def test_what_cannot_be_decided_is_one_line(options: dict[str, Any], api: Provider, questions: Any, says: str) -> None:
    """Nothing is sent."""
    with pytest.raises(UsageError) as error:
        leeroo.decide(["a"], questions, **options)
    assert says in str(error.value)
    assert not api.bodies
