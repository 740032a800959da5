"""Records: descriptions in SQL, Python and files become types; answers become values of these, or say why not."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.records.declared import read_declared
from leeroo.engine.jobs.records.files import read_option
from leeroo.engine.jobs.records.kinds import Record, whole_schema
from leeroo.engine.jobs.records.rows import read_record
from leeroo.engine.jobs.records.sql_types import read_fields, read_spec


class Kind(enum.Enum):
    """Why a ticket was written."""

    REFUND = "refund"
    BUG = "bug"


class Line(BaseModel):
    """A line of an order."""

    sku: str
    pieces: int | None = None


class Ticket(BaseModel):
    """A ticket of a customer."""

    name: str = Field(description="who writes")
    kind: Kind
    mood: Literal["glad", "angry"] | None = None
    stars: Literal[1, 2, 3] = 1
    due: datetime.date
    at: datetime.datetime
    price: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
    pieces: Decimal = Field(Decimal(0), max_digits=9, decimal_places=0)
    ok: bool
    lines: list[Line]
    tags: tuple[str, ...] = ()
    sizes: dict[str, float]


@dataclasses.dataclass
class Order:
    """An order; what is said of a field stands in its metadata."""

    sku: str = dataclasses.field(metadata={"description": "the product's number"})
    lines: list[Line]


TICKET = (
    """STRUCT("name" VARCHAR, "kind" ENUM('refund', 'bug'), "mood" ENUM('glad', 'angry'), "stars" BIGINT, "due" DATE,"""
    """ "at" TIMESTAMP, "price" DECIMAL(10,2), "pieces" DECIMAL(9,0), "ok" BOOLEAN,"""
    """ "lines" STRUCT("sku" VARCHAR, "pieces" BIGINT)[], "tags" VARCHAR[], "sizes" MAP(VARCHAR, DOUBLE))"""
)


def _spec(**fields: Any) -> Record:
    return read_spec(json.dumps(fields))


def test_sql_describes_records() -> None:
    """Types, lists of values, lists, further records and lists of these."""
    record = _spec(
        name="VARCHAR", n="int", kind=["a", "it's"], tags="VARCHAR[]", at={"city": "TEXT"}, lines=[{"sku": "STRING"}]
    )
    assert record.sql == (
        """STRUCT("name" VARCHAR, "n" INTEGER, "kind" ENUM('a', 'it''s'), "tags" VARCHAR[],"""
        """ "at" STRUCT("city" VARCHAR), "lines" STRUCT("sku" VARCHAR)[])"""
    )
    assert read_fields("a VARCHAR, b ENUM('x', 'y')[]").sql == """STRUCT("a" VARCHAR, "b" ENUM('x', 'y')[])"""


def test_classes_and_arrow_describe_records() -> None:
    """A model, a dataclass and an Arrow schema; what they say about a field is in the schema."""
    assert read_declared(Ticket).sql == TICKET
    assert json.loads(whole_schema(read_declared(Ticket)))["properties"]["name"]["description"] == "who writes"
    order = read_declared(Order)
    assert order.sql == """STRUCT("sku" VARCHAR, "lines" STRUCT("sku" VARCHAR, "pieces" BIGINT)[])"""
    assert order.fields[0].about == "the product's number"
    schema = pa.schema([("a", pa.large_string()), ("b", pa.list_(pa.int16())), ("c", pa.timestamp("ms", "UTC"))])
    assert read_declared(schema).sql == """STRUCT("a" VARCHAR, "b" SMALLINT[], "c" TIMESTAMP WITH TIME ZONE)"""
    assert read_declared(read_declared(Ticket).arrow.field("lines").type.value_type).sql.startswith('STRUCT("sku"')


def test_every_field_is_required_and_may_be_null() -> None:
    """The schema leaves a model no way to leave a field out or to add one, and says what null is for."""
    schema = json.loads(whole_schema(_spec(kind=["a", "b"], n="INTEGER", at={"city": "VARCHAR"})))
    assert "null where the text does not say it" in schema["description"]
    assert schema["required"] == ["kind", "n", "at"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["kind"] == {"type": ["string", "null"], "enum": ["a", "b", None]}
    assert schema["properties"]["at"]["type"] == ["object", "null"]
    assert schema["properties"]["at"]["properties"]["city"] == {"type": ["string", "null"]}


def test_answers_become_values_of_their_types() -> None:
    """Dates, numbers with a point, times without and with a zone, nested values."""
    record = _spec(
        day="DATE", price="DECIMAL(10,2)", at="TIMESTAMP", then="TIMESTAMPTZ", hour="TIME", big="DOUBLE", n="UTINYINT"
    )
    said = {
        "day": "2024-02-29T00:00:00",
        "price": 0.125,
        "at": "2024-02-29T10:00:00+02:00",
        "then": "2024-02-29T10:00:00+02:00",
        "hour": "10:30:00Z",
        "big": 3,
        "n": 7.0,
    }
    value, why = read_record(record, f"Here it is:\n```json\n{json.dumps(said)}\n```")
    assert why is None
    assert value == {
        "day": datetime.date(2024, 2, 29),
        "price": Decimal("0.12"),
        "at": datetime.datetime(2024, 2, 29, 10),
        "then": datetime.datetime.fromisoformat("2024-02-29T10:00:00+02:00"),
        "hour": datetime.time(10, 30),
        "big": 3.0,
        "n": 7,
    }
    assert pa.array([value, None], record.arrow).null_count == 1
    nothing = read_record(record, json.dumps(dict.fromkeys(said)))
    assert nothing == (dict.fromkeys(said), None)


@pytest.mark.parametrize(
    ("kind", "said", "says"),
    [
        ("DATE", "2024-02-30", "a: 2024-02-30 is no DATE"),
        ("DATE", "soon", "a: soon is no DATE"),
        ("INTEGER", 3_000_000_000, "a: 3000000000 is no INTEGER"),
        ("UINTEGER", -1, "a: -1 is no UINTEGER"),
        ("DECIMAL(4,2)", 123.4, "a: 123.4 is no DECIMAL(4,2)"),
        ("DATE[]", ["2024-01-01", "x"], "a[2]: x is no DATE"),
        ("MAP(VARCHAR, DATE)", {"k": "x"}, "a[k]: x is no DATE"),
        ([{"b": "TIME"}], [{"b": "25:00"}], "a[1]: b: 25:00 is no TIME"),
    ],
)
def test_a_value_that_cannot_be_converted_says_where(kind: Any, said: Any, says: str) -> None:
    """The reason names the field, the place in a list, and the value."""
    value, why = read_record(_spec(a=kind), json.dumps({"a": said}))
    assert value is None
    assert why == f"the answer cannot be converted: {says}"


def test_an_answer_that_was_cut_off_says_so() -> None:
    """A limit on tokens is the reason, and no fault of the model."""
    value, why = read_record(_spec(a="VARCHAR"), '{"a": "x', "length")
    assert (value, why) == (None, "the answer ended by length before its JSON did: raise max_tokens")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"a": "INTEGRE"}, "a: there is no type 'INTEGRE'"),
        ({"a": "INTEGER; DROP TABLE t"}, "a: there is no type"),
        ({"a": {"b": "INTERVAL"}}, "a: b: values of the type INTERVAL cannot be read from a text"),
        ({"a": "JSON"}, "a: values of the type JSON"),
        ({"a": "DECIMAL(50,2)"}, "a: there is no type 'DECIMAL(50,2)'"),
        ({"a": ["x", "x"]}, "a: values to choose from must be different texts or whole numbers"),
        ({"a": [True, False]}, "a: values to choose from must be different texts or whole numbers"),
        ({"a": "VARCHAR", "A": "VARCHAR"}, "the record has the field 'a' twice"),
        ({"": "VARCHAR"}, "a field of the record has no name"),
        ({}, "a record needs at least one field"),
        ({"a": {}}, "a: a record needs at least one field"),
        ([], "a record is fields with their types"),
        ("a INTERVAL", "values of the type INTERVAL cannot be read from a text"),
        ("a", "the fields 'a' cannot be read"),
    ],
)
def test_what_is_no_record_is_one_line(given: Any, says: str) -> None:
    """Each names its field."""
    with pytest.raises(UsageError) as error:
        read_spec(json.dumps(given))
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)


class Endless(BaseModel):
    """A record that holds itself."""

    below: list[Endless]


class Either(BaseModel):
    """A field of two types."""

    a: int | str


class Nothing(BaseModel):
    """No field."""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Endless, "Endless: below: Endless holds itself"),
        (Either, "Either: a: values of the type int | str cannot be read from a text"),
        (Nothing, "Nothing: a record needs at least one field"),
        (pa.schema([("a", pa.binary())]), "the schema: a: values of the type binary cannot be read from a text"),
        (int, "a schema is a Pydantic model, a dataclass, an Arrow schema or a JSON schema, not <class 'int'>"),
        (7, "a schema is a Pydantic model, a dataclass, an Arrow schema or a JSON schema, not 7"),
    ],
)
def test_a_class_that_describes_no_record_is_one_line(given: Any, says: str) -> None:
    """Each names the class and its field."""
    with pytest.raises(UsageError) as error:
        read_declared(given)
    assert str(error.value).startswith(says)


def test_files_hold_records(tmp_path: Path) -> None:
    """A class by its name, the only class without, a file beside it, and a JSON schema."""
    (tmp_path / "parts.py").write_text("import enum\nclass Kind(enum.Enum):\n    A = 'a'\n    B = 'b'\n")
    (tmp_path / "ticket.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom parts import Kind\n"
        "@dataclass\nclass Ticket:\n    name: str\n    kind: Kind | None = None\n"
    )
    for given in ("ticket.py", "ticket.py:Ticket"):
        record = read_option(str(tmp_path / given))
        assert isinstance(record, Record)
        assert record.sql == """STRUCT("name" VARCHAR, "kind" ENUM('a', 'b'))"""
    (tmp_path / "schema.json").write_text('\ufeff {"type": "object"}')
    assert json.loads(str(read_option(str(tmp_path / "schema.json")))) == {"type": "object"}
    assert read_option("name VARCHAR") == read_fields("name VARCHAR")


@pytest.mark.parametrize(
    ("code", "name", "says"),
    [
        ("x = ", ":T", "cannot be loaded: SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", ":T", "cannot be loaded: SystemExit: 3"),
        ("import nowhere_at_all", ":T", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("T = 3", ":T", "a schema is a Pydantic model, a dataclass, an Arrow schema or a JSON schema, not 3"),
        ("T = 3", ":U", "has no 'U'; it has no Pydantic model and no dataclass"),
        ("T = 3", "", "the file has no Pydantic model and no dataclass"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: str\n@dataclass\nclass B:\n    b: str",
            "",
            "the file has A, B",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: 'Unknown'",
            ":A",
            "A: its types cannot be read: name 'Unknown' is not defined",
        ),
    ],
)
def test_a_file_without_a_record_is_one_line(tmp_path: Path, code: str, name: str, says: str) -> None:
    """Whatever the file does, it is one line."""
    (tmp_path / "ticket.py").write_text(code)
    with pytest.raises(UsageError) as error:
        read_option(f"{tmp_path / 'ticket.py'}{name}")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", ["nowhere.py:T", "nowhere.py", "nowhere.json"])
def test_a_missing_file_is_one_line(given: str) -> None:
    """It is named."""
    with pytest.raises(UsageError, match="the schema nowhere.*cannot be read: No such file"):
        read_option(given)
