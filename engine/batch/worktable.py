"""The worktable: the scratch database of one run, and all SQL on it.

Stages hand in and receive Arrow; the names of the tables are known in this module alone. It knows nothing of experts'
quality, money or models.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from leeroo.engine import locks
from leeroo.engine.effort import LEVELS
from leeroo.engine.errors import OutputError, PoolError
from leeroo.engine.images.kept import KEPT
from leeroo.engine.images.marks import mark_in_sql
from leeroo.engine.schema import ANSWERS, ASK, CONSTRAINTS, LATER, REQUESTS, SAMPLING
from leeroo.engine.store.batches import BatchLine
from leeroo.engine.tables.values import quote_text

# Errors that say that the working files find no room.
NO_ROOM = (OSError, duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException, duckdb.FatalException)

MEMORY_LIMIT = "2GiB"  # with 1, a run of ten million different rows ended without its table
_READ_ROWS = 50_000
_WRITE_ROWS = 65_536
# Room for text around the choice that an expert names, in tokens.
AROUND_A_CHOICE = 16

# The columns of the input that a run reads.
INPUT = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("question", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("category", pa.string()),
        pa.field("private", pa.bool_()),
        # The arguments of a row; its images have been read.
        pa.field("ask", pa.struct([pa.field("images", pa.list_(KEPT)) if f.name == "images" else f for f in ASK])),
    ]
)

# An expert for a question, by position; costs are in USD.
ASSIGNED = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("expert", pa.int32()),
        pa.field("expected", pa.float64()),
        pa.field("at_most", pa.float64()),
        pa.field("predicted_score", pa.float64()),
        pa.field("parked", pa.bool_()),  # it is in an open batch of that expert already
    ]
)

# The answer or the error of a distinct question. `expert` is a position, NULL when nothing was sent; costs are in USD
# for one request.
RESULTS = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("expert", pa.int32()),
        ANSWERS.field("predicted_score"),
        *(field for field in ANSWERS if field.name not in ("expert", "predicted_score")),
        pa.field("recorded_score", pa.float64()),
        pa.field("choice_logprobs", pa.list_(pa.float64())),
        pa.field("logprobs", pa.string()),
        pa.field("reasoning", pa.string()),
    ]
)

# Task and fields change how a question is laid out, not what it asks.
_ARGUMENTS = [name for name in ASK.names if name not in ("task", "fields")]
# What rows with the same key may differ in: that of the first row which has it.
_FIRST = ("subject", "category", "task", "fields")
# Constraints came later than the keys of stored runs, which do not have them: they follow the JSON of the others.
_KEYED = ", ".join(name for name in _ARGUMENTS if name not in (*CONSTRAINTS, *LATER))
_CONSTRAINTS = ", ".join(CONSTRAINTS)
_CONSTRAINED = " OR ".join(f"{name} IS NOT NULL" for name in CONSTRAINTS)
_LATER = ", ".join(f"CASE WHEN {name} IS NOT NULL THEN to_json(struct_pack({name})) END" for name in LATER)

# The key is a hash of JSON, in which no two different rows read alike. A row sampled at a temperature is its own
# question: the same words may bring another answer. A blank question asks nothing, as NULL does.
_ROWS = rf"""
CREATE TABLE rows AS
SELECT row, CASE WHEN NOT regexp_full_match(question, '[\s\p{{Z}}\p{{C}}]*') THEN md5_number(concat(
           to_json(struct_pack(question, private, sampled := CASE WHEN temperature > 0 THEN row END, {_KEYED})),
           {_LATER},
           CASE WHEN {_CONSTRAINED} THEN to_json(struct_pack({_CONSTRAINTS})) END)) END AS key,
       *EXCLUDE (row)
FROM (SELECT row, question, subject, category, coalesce(private, false) AS private,
             ask.* REPLACE (coalesce(ask.raw, false) AS raw, nullif(ask.temperature, 0) AS temperature)
      FROM input)
"""

# All rows with a key have the same arguments: those of the first are read once, when the rows are counted.
_QUESTIONS = f"""
CREATE TABLE questions AS
SELECT *,
       CASE WHEN raw THEN NULL
            WHEN choices IS NOT NULL
            THEN 'Answer with exactly one of these, and nothing else: ' || array_to_string(choices, ', ')
            WHEN json_schema IS NOT NULL
            THEN 'Answer with JSON that is valid under this JSON schema, and nothing else: ' || json_schema
            WHEN decisions IS NOT NULL
            THEN 'Answer with a JSON object of these with one choice for each, and nothing else: ' || decisions
       END AS form,
       NULL::VARCHAR AS laid_out
FROM (SELECT (row_number() OVER (ORDER BY first_row) - 1)::BIGINT AS id, *
      FROM (SELECT min(row) AS first_row, count(*) AS rows,
                   {", ".join(f"arg_min({name}, row) AS {name}" for name in _FIRST)}
            FROM rows WHERE key IS NOT NULL GROUP BY key))
     JOIN (SELECT row AS first_row, key, question, private, {", ".join(_ARGUMENTS)} FROM rows) USING (first_row)
"""

_UNKNOWN = """
SELECT q.expert, (SELECT string_agg(name, ', ' ORDER BY expert) FROM experts)
FROM questions q WHERE q.expert NOT IN (SELECT name FROM experts) ORDER BY q.id LIMIT 1
"""
_FACTS = """
SELECT q.rows, q.private, coalesce(q.max_cost_usd, 'inf'::DOUBLE) AS most, coalesce(e.expert, -1) AS named,
       q.images IS NOT NULL AS pictured
FROM questions q LEFT JOIN experts e ON q.expert = e.name ORDER BY q.id
"""
_EXCLUDED = """
SELECT q.id, list(e.expert) FROM (SELECT id, unnest(excluded) AS name FROM questions) q JOIN experts e USING (name)
GROUP BY q.id
"""

_NO_IMAGE = """
SELECT id, 'image ' || number || ': ' || images[number].why
FROM (SELECT id, images, list_position([each.why IS NOT NULL for each in images], true) AS number FROM questions)
WHERE number > 0
"""

# The most tokens of thoughts, NULL where a row leaves them to the expert. They come on top of the answer's limit,
# unless the row sets both, as with OpenAI's API.
_OWN_THINKING = f"""
CASE WHEN q.reasoning_effort IS NOT NULL AND q.max_tokens IS NOT NULL THEN 0
     ELSE coalesce(map {LEVELS}[q.reasoning_effort], try_cast(q.reasoning_effort AS INTEGER)) END
"""

# The bytes of the longest choice, or of all decisions with the longest choice of each.
_CHOSEN = """
coalesce(list_max([strlen(each) for each in q.choices]),
         list_sum([strlen(each.key) + list_max([strlen(choice) for choice in each.value]) + 6
                   for each in map_entries(try_cast(try_cast(q.decisions AS JSON) AS MAP(VARCHAR, JSON[])))]))::BIGINT
"""

# Lengths are in bytes. `form` counts all text that is sent beside the question and the system text.
_TO_PREDICT = f"""
SELECT question, subject, category, coalesce(strlen(system), 0) AS system, max_tokens, raw,
       {_OWN_THINKING} AS thinking,
       coalesce(strlen(form), 0) + coalesce(strlen(turns), 0) + coalesce(strlen(after), 0)
       + greatest(coalesce(strlen(laid_out), strlen(prompt), 0) - strlen(question), 0) AS form,
       coalesce(strlen(json_schema), 0) AS schema, images,
       {_CHOSEN} AS choice
FROM questions q ORDER BY id
"""

_SAMPLING = [field.name for field in SAMPLING]

# Raw text is continued, without a thought.
_EFFORT = "coalesce(q.reasoning_effort, CASE WHEN NOT q.raw THEN e.effort END)"

# The most tokens of an answer: those of the longest choice, where there are choices (a byte a token). An expert that
# thinks has room for it before it chooses.
_MAX_TOKENS = f"""
(CASE WHEN e.thinks THEN coalesce(q.max_tokens, e.max_tokens)
      ELSE least(coalesce(q.max_tokens, e.max_tokens),
                 {_CHOSEN} + {AROUND_A_CHOICE}) END
 + coalesce({_OWN_THINKING}, CASE WHEN q.raw THEN 0 ELSE e.thinking END))::INTEGER
"""

# A request for each question in `assigned`, with the columns of that.
_ASKED = f"""
SELECT a.*, e.wave, e.fingerprint, hex(q.key) AS asked, q.question, unhex(md5(q.question)) AS question_hash,
       q.private, q.rows, q.raw, coalesce(q.prompt, q.question) AS own,
       CASE WHEN q.raw THEN own ELSE concat(e.before, own, e.after) END AS plain,
       CASE WHEN q.laid_out IS NULL THEN plain ELSE concat(e.before, q.laid_out, e.after) END AS prompt,
       CASE WHEN NOT q.raw THEN nullif(concat_ws(chr(10) || chr(10), coalesce(q.system, e.system), q.form), '')
       END AS system,
       q.turns, q.after, {_MAX_TOKENS} AS max_tokens,
       coalesce(q.temperature, 0)::DOUBLE AS temperature,
       {", ".join("q." + name for name in _SAMPLING if name != "reasoning_effort")},
       {_EFFORT} AS reasoning_effort,
       q.choices, q.json_schema, q.decisions, e.adapter, NULL::INTEGER AS shared_chars, q.images
FROM assigned a JOIN questions q USING (id) JOIN experts e ON a.expert = e.expert
"""

# The key of a stored answer: all that made it, but for the layout of fields, which depends on the other rows. It is a
# hash of JSON, in which no two different requests read alike. A sampled answer belongs to its run and row alone. Keys
# are written in hexadecimal: as a decimal number one takes DuckDB 0.2 ms. Texts are not kept in the plan: they are
# written again for the requests that are sent.
_PLAN = f"""
CREATE OR REPLACE TABLE plan AS
SELECT {", ".join(ASSIGNED.names)}, wave, rows, private,
       unhex(sha256(concat(to_json(struct_pack(fingerprint, plain, system, turns, after, max_tokens, temperature,
             sampled := CASE WHEN temperature > 0 THEN concat($run, '-', id) END,
             {", ".join(_SAMPLING)}, choices, json_schema, raw)), {_LATER}))) AS key
FROM ({_ASKED})
"""

# Questions that differ only in what does not reach the expert (private or not, pinned or chosen) are one request; the
# others read its answer from the store.
_DUPLICATES = """
CREATE OR REPLACE TABLE duplicates AS
SELECT id, key FROM plan QUALIFY row_number() OVER (PARTITION BY key ORDER BY id) > 1
"""

# The columns of requests; the file of an image is named by its hash.
_REQUESTED = ", ".join(REQUESTS.names).replace(
    "images",
    f"""[struct_pack(mark := {mark_in_sql("each.digest")}, width := each.width, height := each.height,
         path := {{images}} || each.digest, data := NULL::BLOB) for each in images] AS images""",
)

# In the order of their prompts, so that rows that begin alike lie beside each other, those of each adapter together;
# lines of open batches first. Recorded answers gain nothing by that, and come in the order of their keys.
_OPEN = f"""
SELECT {", ".join(ASSIGNED.names)}, key FROM plan ANTI JOIN results USING (id) ANTI JOIN duplicates USING (id)
WHERE wave = {{wave}}
"""
_SENT = f"expert, expected, at_most, predicted_score, parked, asked, question_hash, private, key, {_REQUESTED}"
_BY_PROMPT, _BY_KEY = "adapter, system, turns, prompt, id", "key"

# In the order of keys, in which they are found beside each other in their index.
_WANTED = """
SELECT id, key, expert, predicted_score, private
FROM plan {which} JOIN duplicates USING (id) ANTI JOIN results USING (id) ORDER BY key
"""

_LEFT = """
SELECT expert, sum(expected), count(*)
FROM plan ANTI JOIN results USING (id) ANTI JOIN duplicates USING (id) GROUP BY expert
"""

_STORED = """
SELECT w.id, w.expert, w.predicted_score, f.answer, f.prompt_tokens, f.completion_tokens, f.reasoning_tokens,
       0.0::DOUBLE AS cost_usd,
       f.list_cost_usd, f.latency_ms, f.finish_reason, NULL::VARCHAR AS error, f.recorded_score, f.choice_logprobs,
       f.logprobs, f.reasoning
FROM found f JOIN wanted w USING (key)
"""

# Answers of this job: those of the same expert as now, and of this run alone where an answer is sampled. The latest
# counts.
_PAID_BEFORE = """
SELECT q.id, e.expert, NULL::DOUBLE AS predicted_score, o.answer, o.prompt_tokens, o.completion_tokens,
       o.reasoning_tokens,
       CASE WHEN o.run = '{run}' THEN o.list_cost_usd ELSE 0 END AS cost_usd, o.list_cost_usd, o.latency_ms,
       o.finish_reason, NULL::VARCHAR AS error, o.recorded_score, o.choice_logprobs, o.logprobs,
       o.reasoning
FROM own o JOIN questions q ON hex(q.key) = o.asked
     JOIN experts e ON e.name = o.expert AND e.fingerprint = o.fingerprint
WHERE o.run = '{run}' OR q.temperature IS NULL
QUALIFY row_number() OVER (PARTITION BY q.id ORDER BY o.number DESC) = 1
"""

_PARKED = """
SELECT q.id, e.expert FROM lines l JOIN questions q ON hex(q.key) = l.asked
     JOIN experts e ON e.name = l.expert AND e.fingerprint = l.fingerprint
"""

_ESTIMATED = """
SELECT p.id, p.expert, p.expected, p.at_most, p.rows, p.key, d.id IS NOT NULL AS duplicate
FROM plan p LEFT JOIN duplicates d USING (id)
"""

# The first row with a distinct question pays for it.
_ANSWERS = """
SELECT s.answer, e.name AS expert, s.predicted_score, s.prompt_tokens, s.completion_tokens,
       s.reasoning_tokens, CASE WHEN q.first_row = r.row THEN s.cost_usd ELSE 0 END AS cost_usd,
       coalesce(s.list_cost_usd, 0) AS list_cost_usd, s.latency_ms, s.finish_reason, s.error, s.recorded_score,
       CASE WHEN q.decisions IS NULL THEN
           1 / list_sum([exp(each - list_max(s.choice_logprobs)) for each in s.choice_logprobs]) END AS confidence,
       s.choice_logprobs, s.logprobs, s.reasoning
FROM row_keys r LEFT JOIN questions q USING (key) LEFT JOIN results s ON q.id = s.id
     LEFT JOIN experts e ON s.expert = e.expert
ORDER BY r.row
"""

_ROUTES = """
SELECT e.name AS expert, a.predicted_score, a.expected AS expected_cost_usd
FROM row_keys r LEFT JOIN questions q USING (key) LEFT JOIN assigned a ON q.id = a.id
     LEFT JOIN experts e ON a.expert = e.expert
ORDER BY r.row
"""


@dataclass(frozen=True)
class Facts:
    """Known facts of each distinct question, arrays [n] in the order of their ids.

    Attributes:
        rows: Rows of the input that have it.
        private: Whether it must not leave local experts.
        max_cost_usd: The most that it may be expected to cost, `inf` without a limit.
        named: Position of the expert that it names, -1 for none.
        excluded: By id, the positions of the experts that may not answer it.
        pictured: Whether it has images.
        no_image: By id, why one of its images cannot be shown.
    """

    rows: np.ndarray
    private: np.ndarray
    max_cost_usd: np.ndarray
    named: np.ndarray
    excluded: Mapping[int, Sequence[int]]
    pictured: np.ndarray
    no_image: Mapping[int, str]


class Worktable:
    """A working folder with a DuckDB database that spills to it; removed on `close`.

    Its lock lives as long as its process: `locks.sweep` removes what a killed process leaves behind.

    Raises:
        OutputError: the folder cannot be made.

    """

    def __init__(self, parent: Path) -> None:
        self.folder = parent / uuid.uuid4().hex
        try:
            # Locked before it exists: at no moment does it look like an abandoned folder.
            parent.mkdir(parents=True, exist_ok=True)
            self._lock = locks.take(self.folder.with_suffix(".lock"))
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise OutputError(f"cannot make a working folder in {parent}: {error.strerror or error}") from error
        self._con = duckdb.connect(str(self.folder / "rows.duckdb"))
        # ORDER BY gives the order of rows where it matters; keeping it elsewhere only costs memory.
        self._con.execute(f"SET memory_limit = '{MEMORY_LIMIT}'; SET preserve_insertion_order = false")
        self._con.execute("SET temp_directory = $folder", {"folder": str(self.folder / "spill")})
        # Rows come in and go out as Arrow: whatever text they hold, it opens no file and reaches no other host.
        self._con.execute("SET enable_external_access = false; SET lock_configuration = true")

    @property
    def images(self) -> Path:
        """The folder for the images of the questions."""
        return self.folder / "images"

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Make a float32 array in a file of the folder, so that a table of any length fits."""
        if 0 in shape:  # there is nothing to map
            return np.zeros(shape, np.float32)
        return np.memmap(self.folder / name, mode="w+", dtype=np.float32, shape=shape)

    # -- Input and questions ----------------------------------------------------------------------------------------

    def read(self, rows: pa.RecordBatchReader) -> None:
        """Take in all rows (`INPUT`) and number their distinct questions."""
        self._con.register("input", rows)
        self._con.execute(_ROWS)
        self._con.unregister("input")
        self._con.execute(_QUESTIONS)
        # The text of every row has done its work; the distinct ones are in `questions`.
        self._con.execute("CREATE TABLE row_keys AS SELECT row, key, hash(subject, category) AS context FROM rows")
        self._con.execute("DROP TABLE rows")

    def counts(self) -> tuple[int, int]:
        """Return the number of distinct questions, and a hash of question and arguments of every row, in order."""
        query = (
            "SELECT (SELECT count(*) FROM questions),"
            " (SELECT coalesce(bit_xor(hash(row, key, context)), 0) FROM row_keys)"
        )
        distinct, digest = self._con.execute(query).fetchall()[0]
        return int(distinct), int(digest)

    def facts(self) -> Facts:
        """Return what is known of the distinct questions before anything is predicted; experts are described.

        Raises:
            PoolError: a row names an expert that is none of the candidates.

        """
        unknown = self._con.execute(_UNKNOWN).fetchone()
        if unknown is not None:
            raise PoolError(f"no expert is called {unknown[0]!r}; those that can be asked are: {unknown[1]}")
        columns = self._con.execute(_FACTS).fetchnumpy()
        return Facts(
            np.asarray(columns["rows"]),
            np.asarray(columns["private"], bool),
            np.asarray(columns["most"], np.float64),
            np.asarray(columns["named"], np.int32),
            dict(self._con.execute(_EXCLUDED).fetchall()),
            np.asarray(columns["pictured"], bool),
            dict(self._con.execute(_NO_IMAGE).fetchall()),
        )

    def to_predict(self, rows: int) -> pa.RecordBatchReader:
        """Return the distinct questions and the lengths of what is sent with them, that many at a time."""
        return self._sql(_TO_PREDICT).to_arrow_reader(rows)

    def ids_of_rows(self) -> np.ndarray:
        """Return the id of each row's question, -1 for a blank one [rows]."""
        query = "SELECT coalesce(q.id, -1) AS id FROM row_keys r LEFT JOIN questions q USING (key) ORDER BY r.row"
        return np.asarray(self._con.execute(query).fetchnumpy()["id"])

    # -- Layout of fields -------------------------------------------------------------------------------------------

    def tasks(self) -> list[str]:
        """Return the tasks whose questions have fields."""
        found = self._con.execute("SELECT DISTINCT task FROM questions WHERE fields IS NOT NULL").fetchall()
        return [task for (task,) in found]

    def open_fields(self, task: str, names: Sequence[str]) -> int:
        """Put the fields of a task into columns, and return the bytes of all of them.

        A name is letters, digits and underscores; as a path into JSON, text comes without its quotes. The columns have
        numbers for names: a field may be called as a column of the questions is.
        """
        values = ", ".join(f"json_extract_string(fields, '$.{name}') AS field_{i}" for i, name in enumerate(names))
        self._con.execute(
            f"CREATE OR REPLACE TEMP TABLE laying AS SELECT id, {values} FROM questions WHERE task = ?", [task]
        )
        bytes_of = " + ".join(f"strlen(field_{i})" for i in range(len(names)))
        return int(self._con.execute(f"SELECT sum({bytes_of}) FROM laying").fetchall()[0][0])

    def shared_bytes(self, fields: Sequence[int]) -> int:
        """Count the bytes of the last of these open fields that follow a beginning which another row has too."""
        alike = ", ".join(f"field_{i}" for i in fields)
        query = f"SELECT any_value(strlen(field_{fields[-1]})) AS bytes, count(*) AS n FROM laying GROUP BY {alike}"
        return int(self._con.execute(f"SELECT sum(bytes * (n - 1)) FROM ({query})").fetchall()[0][0])

    def lay_out(self, beginning: str, lines: Sequence[tuple[str, int]]) -> None:
        """Write the prompts of the questions with open fields: a beginning, then a line for each name and field."""
        written = ", ".join(f"chr(10) || '{{{name}}}: ' || field_{i}" for name, i in lines)
        self._con.execute(
            f"UPDATE questions SET laid_out = concat(?, chr(10), {written}) FROM laying WHERE laying.id = questions.id",
            [beginning],
        )

    # -- Plan and results -------------------------------------------------------------------------------------------

    def describe(self, experts: Sequence[tuple[object, ...]]) -> None:
        """Note how the prompt of each candidate is written, and its limits.

        Args:
            experts: Position, name, number of the wave, fingerprint, text before and after the question, system text,
                `max_tokens`, whether it has room to think, its effort, the tokens of that, and its adapter.

        """
        self._con.execute(
            "CREATE TABLE experts (expert INTEGER, name VARCHAR, wave INTEGER, fingerprint VARCHAR, before VARCHAR,"
            " after VARCHAR, system VARCHAR, max_tokens INTEGER, thinks BOOLEAN, effort VARCHAR,"
            " thinking INTEGER, adapter VARCHAR)"
        )
        self._con.executemany("INSERT INTO experts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", experts)
        self._run("CREATE TABLE results AS SELECT * FROM empty_results", empty_results=RESULTS.empty_table())

    def plan(self, assigned: pa.Table, run: str) -> None:
        """Plan a request for each question in `assigned` (`ASSIGNED`); duplicates of another wait for its answer."""
        self._run(_PLAN, {"run": run}, assigned=assigned)
        self._con.execute(_DUPLICATES)

    def keep_assigned(self, assigned: pa.Table) -> None:
        """Keep a choice (`ASSIGNED`) that nothing will be generated for."""
        self._run("CREATE TABLE assigned AS SELECT * FROM chosen", chosen=assigned)

    def planned_ids(self) -> np.ndarray:
        """Return the ids of the planned questions."""
        return np.asarray(self._con.execute("SELECT id FROM plan").fetchnumpy()["id"])

    def estimated_plan(self) -> pa.RecordBatchReader:
        """Return the plan with its costs, and which questions are the same request as another."""
        return self._sql(_ESTIMATED).to_arrow_reader(_READ_ROWS)

    def pending_requests(self, wave: int, rows: int, *, by_key: bool) -> pa.RecordBatchReader:
        """Return the requests of a wave that have no result yet, with what is needed to keep their answers.

        Args:
            wave: Its number.
            rows: How many at a time.
            by_key: In the order of the keys of their answers, and not of their prompts.

        """
        sent = _SENT.format(images=quote_text(f"{self.images}{os.sep}"))
        order = _BY_KEY if by_key else _BY_PROMPT
        query = (
            f"WITH assigned AS ({_OPEN.format(wave=wave)}) SELECT {sent} FROM ({_ASKED}) ORDER BY parked DESC, {order}"
        )
        return self._sql(query).to_arrow_reader(rows)

    def wanted_questions(self, *, duplicates: bool) -> pa.RecordBatchReader:
        """Return planned questions without a result: all but the duplicates of others, or these."""
        which = "SEMI" if duplicates else "ANTI"
        return self._sql(_WANTED.format(which=which)).to_arrow_reader(_READ_ROWS)

    def stored_results(self, found: pa.Table, wanted: pa.RecordBatch) -> pa.Table:
        """Return the results (`RESULTS`) of wanted questions whose stored answers were found."""
        return self._join(_STORED, found=found, wanted=pa.Table.from_batches([wanted]))

    def paid_results(self, answers: Iterable[pa.Table], run: str) -> Iterator[pa.RecordBatch]:
        """Yield the results (`RESULTS`) of answers that a run, or others of its job, have paid for (`runs.PAID`)."""
        pages = iter(answers)
        first = next(pages, None)
        if first is None:
            return
        self._run("CREATE OR REPLACE TABLE own AS SELECT * FROM page", page=first)
        for page in pages:
            self._run("INSERT INTO own SELECT * FROM page", page=page)
        for batch in self._sql(_PAID_BEFORE.format(run=run)).to_arrow_reader(_READ_ROWS):
            yield batch.cast(RESULTS)

    def ids_of(self, asked: str) -> list[int]:
        """Return the id of the question with this name in the store; none where the input does not have it."""
        return [
            found for (found,) in self._con.execute("SELECT id FROM questions WHERE hex(key) = ?", [asked]).fetchall()
        ]

    def parked(self, lines: Sequence[BatchLine]) -> dict[int, int]:
        """Return the experts that have questions in open batches, by question."""
        names = ("asked", "expert", "fingerprint")
        columns = {name: pa.array([getattr(line, name) for line in lines], pa.string()) for name in names}
        cursor = self._con.cursor()
        cursor.register("lines", pa.table(columns))
        return dict(cursor.execute(_PARKED).fetchall())

    def left(self) -> list[tuple[int, float, int]]:
        """Return the planned requests without a result: by expert, their expected cost, and how many they are."""
        return list(self._sql(_LEFT).fetchall())

    def append(self, results: pa.Table) -> None:
        """Keep results (`RESULTS`)."""
        self._run("INSERT INTO results SELECT * FROM chunk", chunk=results)

    def first_failure(self) -> tuple[int, str]:
        """Return the first row, from 0, whose question has an error, and the error."""
        row, error = self._con.execute(
            "SELECT q.first_row, s.error FROM results s JOIN questions q USING (id) WHERE s.error IS NOT NULL"
            " ORDER BY q.first_row LIMIT 1"
        ).fetchall()[0]
        return int(row), str(error)

    # -- Output -----------------------------------------------------------------------------------------------------

    def answers(self) -> pa.RecordBatchReader:
        """Return the answer of every row, in the order of the input."""
        return self._sql(_ANSWERS).to_arrow_reader(_WRITE_ROWS)

    def routes(self) -> pa.RecordBatchReader:
        """Return the choice for every row (`keep_assigned`), in the order of the input."""
        return self._sql(_ROUTES).to_arrow_reader(_WRITE_ROWS)

    def close(self) -> None:
        """Remove the folder and all in it."""
        self._con.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            locks.give_back(self._lock)

    def _sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Run a query on a connection of its own, so that one result is read while another is written.

        DuckDB 2 keeps all rows of an `execute` in memory before they become Arrow, and loses their order where
        insertion order is not preserved; 1.5 keeps all rows of a `sql` with parameters in memory.
        """
        return self._con.cursor().sql(query)

    def _run(self, statement: str, given: Mapping[str, object] | None = None, **tables: pa.Table) -> None:
        """Run a statement that reads these tables, on a connection of its own, which forgets them."""
        cursor = self._con.cursor()
        for name, table in tables.items():
            cursor.register(name, table)
        cursor.execute(statement, given)

    def _join(self, query: str, **tables: pa.Table) -> pa.Table:
        cursor = self._con.cursor()
        for name, table in tables.items():
            cursor.register(name, table)
        return cursor.sql(query).to_arrow_table().cast(RESULTS)
