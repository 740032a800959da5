"""Images as fields of a question in SQL, by kind of statement: one batch for a statement, every image sent once."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import UsageError
from leeroo.engine.images.marks import mark_of
from leeroo.engine.schema import OUTCOMES, QUERIES
from leeroo.udfs.connection import Connection
from leeroo.udfs.functions.images import image_fields
from leeroo.udfs.register import connect
from tests.pictures import picture, save_seeing_model
from tests.provider import Provider

DidSince = Callable[[], Any]

COLORS = ["red", "blue", "green", "black"]
PICTURES = [picture(color) for color in COLORS]
TASK = "'Which color? {photo}'"
ASK = f"leeroo_answer({TASK}, t)"


@pytest.fixture
def con(tmp_path: Path, store: Path) -> Iterator[Connection]:
    """Return a connection over recorded answers about four pictures, in a table `t` where each is there twice."""
    folder = tmp_path / "data"
    folder.mkdir()
    base = {"dataset": "toy", "split": "test"}
    texts = [f"Which color? {mark_of(hashlib.sha256(each).hexdigest())}" for each in PICTURES]
    queries = [{"query_id": str(i), "question": text, "prompt": text, **base} for i, text in enumerate(texts)]
    queries.append({"query_id": "9", "question": "How do you like red?", "prompt": "How do you like red?", **base})
    pq.write_table(pa.Table.from_pylist(queries, schema=QUERIES), folder / "queries.parquet")
    said = [*COLORS, "much"]
    rows = [
        {"query_id": query["query_id"], "expert": "eyes", "score": 1.0, "response": response}
        for query, response in zip(queries, said, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=OUTCOMES), folder / "outcomes.parquet")
    pool = tmp_path / "pool.toml"
    pool.write_text(
        f'[[expert]]\nname = "eyes"\nmodel = "{folder}"\nbackend = "replay"\nimages = true\n'
        "usd_per_m_input = 0\nusd_per_m_output = 0\n"
    )
    with connect(pool=pool, store=store) as con:
        photos = pa.table({"id": list(range(9)), "photo": pa.array([*PICTURES, *PICTURES, None], pa.binary())})
        con.register("photos", photos)
        con.execute("CREATE TABLE t AS SELECT id, id % 2 AS part, photo FROM photos")
        yield con


# For each kind of statement: itself, its result, how many batches it takes, how many questions are sent.
STATEMENTS = {
    "projection": (f"SELECT {ASK} FROM t ORDER BY id", [*COLORS, *COLORS, None], 1, 4),
    "a struct": (f"SELECT leeroo({TASK}, t).answer FROM t WHERE id < 2 ORDER BY id", COLORS[:2], 1, 2),
    "one field": (f"SELECT leeroo_answer({TASK}, {{'photo': photo}}) FROM t WHERE id = 2", ["green"], 1, 1),
    "WHERE": (f"SELECT id FROM t WHERE {ASK} = 'blue' ORDER BY id", [1, 5], 1, 4),
    "JOIN": (
        f"SELECT a.id FROM t a JOIN (VALUES ('red'), ('pink')) v(c) ON leeroo_answer({TASK}, a) = v.c ORDER BY a.id",
        [0, 4],
        1,
        4,
    ),
    "GROUP BY": (f"SELECT {ASK} AS c FROM t GROUP BY c ORDER BY c NULLS LAST", [*sorted(COLORS), None], 1, 4),
    "window": (
        f"SELECT max({ASK}) OVER (PARTITION BY part) FROM t WHERE id < 4 ORDER BY id",
        ["red", "blue"] * 2,
        1,
        4,
    ),
    "CTE": (f"WITH c AS (SELECT id, {ASK} AS c FROM t WHERE id < 2) SELECT c FROM c ORDER BY id", COLORS[:2], 1, 2),
    "nested": (
        f"SELECT leeroo_answer('How do you like {{c}}?', {{'c': {ASK}}}) FROM t WHERE id = 0",
        ["much"],
        2,
        2,
    ),
    "constant": (
        f"SELECT leeroo_answer({TASK}, {{'photo': (SELECT photo FROM t WHERE id = 3)}})",
        ["black"],
        1,
        1,
    ),
    "NULL": (f"SELECT {ASK} FROM t WHERE id = 8", [None], 0, 0),
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_every_kind_of_statement_is_one_batch(con: Connection, did: DidSince, kind: str) -> None:
    """Equal images are one question, however often they occur; asked again, nothing is sent."""
    statement, result, batches, sent = STATEMENTS[kind]
    assert [value for (value,) in con.execute(statement).fetchall()] == result
    assert did() == (batches, sent)
    assert [value for (value,) in con.execute(statement).fetchall()] == result
    assert did().generated == 0


def test_tables_and_views_keep_the_answers(con: Connection, did: DidSince) -> None:
    """CREATE TABLE AS is one batch, and so is what reads a view."""
    con.execute(f"CREATE TABLE made AS SELECT id, {ASK} AS c FROM t")
    assert did() == (1, 4)
    con.execute(f"CREATE VIEW seen AS SELECT {ASK} AS c FROM t WHERE id < 3")
    assert con.execute("SELECT count(c) FROM seen").fetchall() == [(3,)]
    assert did().generated == 0
    assert con.execute("SELECT count(c) FROM made").fetchall() == [(8,)]


def test_what_a_statement_would_cost_is_seen_with_its_images(con: Connection, did: DidSince) -> None:
    """The estimate counts the questions and sends none."""
    assert "4 distinct prompts" in str(con.explain(f"SELECT {ASK} FROM t"))
    assert did().generated == 0


def test_paths_are_read_below_one_folder_where_the_task_says_so(con: Connection, tmp_path: Path) -> None:
    """The folder is a variable; a text that a row holds is no image by itself, nor one that the engine holds."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(PICTURES[0])
    (tmp_path / "b.png").write_bytes(PICTURES[1])
    con.execute(f"SET VARIABLE leeroo_image_folder = '{folder}'")
    con.execute(f"SELECT {ASK} FROM t WHERE id = 0")  # this image is held from now on
    held = f"leeroo-held:{hashlib.sha256(PICTURES[0]).hexdigest()}"
    ask = "SELECT leeroo('Which color? {p:image}', {'p': p}) FROM (VALUES (0, 'a.png'), (1, '../b.png'), (2, $held),"
    rows = con.execute(
        f"{ask} (3, 'https://example.com/x.png'), (4, NULL)) v(i, p) ORDER BY i", {"held": held}
    ).fetchall()
    answers = [None if row is None else row["answer"] for (row,) in rows]
    errors = ["" if row is None else row["error"] or "" for (row,) in rows]
    assert answers == ["red", None, None, None, None]
    assert "is outside of" in errors[1]
    assert "there is no file './leeroo-held:" in errors[2]
    assert "none is fetched unless allow_urls is set" in errors[3]
    plain = con.execute("SELECT leeroo('Which color? {p}', {'p': 'a.png'}).error").fetchall()
    assert "is not among those recorded" in plain[0][0]


def test_a_struct_with_an_image_field_is_no_reference(con: Connection, api: Provider, tmp_path: Path) -> None:
    """A value of a row that looks like one of ours stays text."""
    (tmp_path / "seen.toml").write_text(api.entry("eyes", 1, 8, "images = true"))
    (tmp_path / "x.png").write_bytes(PICTURES[0])
    with connect(pool=tmp_path / "seen.toml", store=tmp_path / "other") as con:
        con.execute("SET VARIABLE leeroo_image_folder = $f", {"f": str(tmp_path)})
        con.execute("SELECT leeroo_answer('{a} {b}', {'a': {'image': 'x.png'}, 'b': '\ufffc0\ufffc'})")
    [body] = api.bodies
    assert body["messages"][-1]["content"] == '{"image": "x.png"} \ufffc0\ufffc'


def test_images_go_with_budgets_and_other_fields(api: Provider, tmp_path: Path) -> None:
    """A statement of two images and a text is one request for each row; a broken one is the error of its row."""
    (tmp_path / "pool.toml").write_text(api.entry("eyes", 1, 8, "images = true"))
    with connect(pool=tmp_path / "pool.toml", store=tmp_path / "store") as con:
        table = pa.table({"a": pa.array(PICTURES[:3], pa.binary()), "b": pa.array([*PICTURES[1:3], b"x"], pa.binary())})
        con.register("pairs", table)
        rows = con.execute("SELECT leeroo('Is {a} {how} {b}?', {'a': a, 'b': b, 'how': 'like'}) FROM pairs").fetchall()
        assert [row["error"] is None for (row,) in rows] == [True, True, False]
        assert rows[2][0]["error"].startswith("image 2: it is no image of a known kind")
        kinds = [[part["type"] for part in body["messages"][-1]["content"]] for body in api.bodies]
        assert kinds == [["text", "image_url", "text", "image_url", "text"]] * 2
        con.execute("SET VARIABLE leeroo_max_cost_usd = 0.00001")
        [(row,)] = con.execute("SELECT leeroo('Now {a}', pairs) FROM pairs LIMIT 1").fetchall()
        assert "does not reach this row" in row["error"]
        with pytest.raises(UsageError, match="there is no field 'c'"):
            con.execute("SELECT leeroo_answer('Is {c}?', pairs) FROM pairs")


def test_conditions_and_scores_look_at_images(api: Provider, tmp_path: Path) -> None:
    """A condition with a field of bytes decides about the picture; equal pictures are decided once."""
    (tmp_path / "pool.toml").write_text(api.entry("eyes", 1, 8, "images = true"))
    red = base64.b64encode(PICTURES[0]).decode()
    api.says = lambda _, prompt: (
        ("yes" if red in prompt else "no") if "Is this true?" in prompt else {"5": 0.75, "1": 0.25}
    )
    with connect(pool=tmp_path / "pool.toml", store=tmp_path / "store") as con:
        con.register("t", pa.table({"id": [0, 1, 2], "photo": pa.array([*PICTURES[:2], PICTURES[0]], pa.binary())}))
        where = "SELECT id FROM t WHERE leeroo_filter('{photo} shows something red', t) ORDER BY id"
        assert con.execute(where).fetchall() == [(0,), (2,)]
        assert len(api.bodies) == 2
        [(place,)] = con.execute("SELECT leeroo_score('{photo} is red', t) FROM t WHERE id = 1").fetchall()
        assert 0.5 < place < 1
        text = api.bodies[-1]["messages"][-1]["content"]
        assert [part["type"] for part in text] == ["text", "image_url", "text"]


def test_types_say_which_fields_are_images() -> None:
    """Names may be quoted, and types nested."""
    kind = (
        'STRUCT(id INTEGER, photo BLOB, "my, col" VARCHAR, "a ""b"" BLOB" BLOB, hf STRUCT(bytes BLOB, path VARCHAR), '
    )
    kind += "e ENUM('BLOB', '),'), d DECIMAL(10,2), list BLOB[], nested STRUCT(x STRUCT(bytes BLOB)))"
    assert image_fields(kind) == {"photo": None, 'a "b" BLOB': None, "hf": "bytes"}
    assert image_fields("JSON") == image_fields("STRUCT(a VARCHAR)") == {}


@pytest.mark.parametrize("backend", ["transformers", "vllm"])
def test_a_real_model_sees_the_columns_of_a_table(backend: str, tmp_path: Path, store: Path, did: DidSince) -> None:
    """A tiny model with random weights gives other answers for other pictures, in one batch."""
    model = save_seeing_model(tmp_path / "model")
    engine = "\n[expert.engine]\nmax_model_len = 512\nmax_num_seqs = 8" if backend == "vllm" else ""
    (tmp_path / "pool.toml").write_text(
        f'[[expert]]\nname = "eyes"\nmodel = "{model}"\nbackend = "{backend}"\nmax_tokens = 8\n'
        f"usd_per_m_input = 1\nusd_per_m_output = 1{engine}\n"
    )
    with connect(pool=tmp_path / "pool.toml", store=store) as con:
        con.register("photos", pa.table({"photo": pa.array([*PICTURES, PICTURES[0]], pa.binary())}))
        rows = con.execute(f"SELECT leeroo({TASK}, photos) FROM photos").fetchall()
    assert [row["error"] for (row,) in rows] == [None] * 5
    assert rows[0][0]["answer"] == rows[4][0]["answer"]
    assert len({row["answer"] for (row,) in rows}) == 4
    assert all(row["prompt_tokens"] > 34 for (row,) in rows)
    assert did() == (1, 4)
