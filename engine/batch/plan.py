"""Plan: which rows go to which engine, in which order.

Rows of experts that share an engine ride in one wave, ordered by system text and prompt, so that shared
prefixes lie beside each other and are computed once. Waves run from the cheapest engine to the dearest: what
the cheap ones cost more or less than expected is made up for by moving rows of the dear ones, which always
have somewhere cheaper to go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from leeroo.engine.backends.identity import engine_key, fingerprint
from leeroo.engine.backends.residency import Engines
from leeroo.engine.pool import Expert
from leeroo.engine.schema import SAMPLING

_SAMPLING = [field.name for field in SAMPLING]

# Room for what an expert may write around the choice that it names, in tokens.
AROUND_A_CHOICE = 16


def max_tokens(question: str, expert: str) -> str:
    """SQL for the most tokens of an answer: those of the longest choice, where there are choices (a byte a token).

    An expert whose `max_tokens` is above the default has room to think before it chooses.
    """
    asked = f"coalesce({question}.max_tokens, {expert}.max_tokens)"
    longest = f"list_max([strlen(each) for each in {question}.choices]) + {AROUND_A_CHOICE}"
    return f"(CASE WHEN {expert}.thinks THEN {asked} ELSE least({asked}, {longest}) END)::INTEGER"


# The key of a stored answer: all that made it, but for the layout of fields, which depends on the other rows. It is a
# hash of JSON, in which no two different requests read alike. A sampled answer belongs to its run and row alone. Keys
# are told in hexadecimal: as a decimal number one takes DuckDB 0.2 ms.
_PLAN = f"""
CREATE OR REPLACE TABLE plan AS
SELECT *, unhex(sha256(to_json(struct_pack(fingerprint, plain, system, turns, after, max_tokens, temperature,
                  sampled := CASE WHEN temperature > 0 THEN concat(run, '-', id) END,
                  {", ".join(_SAMPLING)}, choices, json_schema, raw))::VARCHAR)) AS key
FROM (SELECT a.id, a.expert, a.expected, a.at_most, a.predicted_score, e.wave, e.fingerprint, $run AS run,
             hex(q.key) AS asked, q.question, unhex(md5(q.question)) AS question_hash, q.private, q.rows, q.raw,
             coalesce(q.prompt, q.question) AS own,
             CASE WHEN q.raw THEN own ELSE concat(e.before, own, e.after) END AS plain,
             CASE WHEN q.laid_out IS NULL THEN plain ELSE concat(e.before, q.laid_out, e.after) END AS prompt,
             CASE WHEN NOT q.raw THEN nullif(concat_ws(chr(10) || chr(10), coalesce(q.system, e.system), q.form), '')
             END AS system,
             q.turns, q.after, {max_tokens("q", "e")} AS max_tokens,
             coalesce(q.temperature, 0)::DOUBLE AS temperature, {", ".join("q." + name for name in _SAMPLING)},
             q.choices, q.json_schema
      FROM assigned a JOIN questions q USING (id) JOIN experts e ON a.expert = e.expert)
"""

# Questions that differ only in what does not reach the expert (private or not, pinned or chosen) are one
# request; the others read its answer from the store.
_TWINS = """
CREATE OR REPLACE TABLE twins AS
SELECT id, key FROM plan QUALIFY row_number() OVER (PARTITION BY key ORDER BY id) > 1
"""

ASSIGNED = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("expert", pa.int32()),
        pa.field("expected", pa.float64()),  # USD
        pa.field("at_most", pa.float64()),  # USD
        pa.field("predicted_score", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Wave:
    """The rows of one engine; `experts` are positions in the list of candidates."""

    number: int
    experts: tuple[int, ...]


def waves(experts: tuple[Expert, ...]) -> list[Wave]:
    """One wave for each engine, from the cheapest to the dearest."""
    engines: dict[str, list[int]] = {}
    for position, expert in enumerate(experts):
        engines.setdefault(engine_key(expert), []).append(position)

    def dearest(group: list[int]) -> float:
        return max(experts[i].usd_per_m_input + experts[i].usd_per_m_output for i in group)

    groups = sorted(engines.values(), key=dearest)
    return [Wave(number, tuple(group)) for number, group in enumerate(groups)]


def order_waves(waves: list[Wave], experts: Sequence[Expert], engines: Engines, *, in_turn: bool) -> list[Wave]:
    """The order in which engines are visited: loaded ones first, unless the waves are to come in turn."""
    return waves if in_turn else sorted(waves, key=lambda wave: not engines.loaded(experts[wave.experts[0]]))


def describe(con: duckdb.DuckDBPyConnection, experts: tuple[Expert, ...], order: list[Wave]) -> None:
    """Make the table `experts` of the scratch database: how each candidate is asked, and in which wave."""
    wave_of = {position: wave.number for wave in order for position in wave.experts}
    rows = [
        (i, e.name, wave_of[i], fingerprint(e), *_around_the_question(e.template), e.system, e.max_tokens, thinks(e))
        for i, e in enumerate(experts)
    ]
    con.execute(
        "CREATE TABLE experts (expert INTEGER, name VARCHAR, wave INTEGER, fingerprint VARCHAR, before VARCHAR,"
        " after VARCHAR, system VARCHAR, max_tokens INTEGER, thinks BOOLEAN)"
    )
    con.executemany("INSERT INTO experts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def thinks(expert: Expert) -> bool:
    """Whether it is given more tokens than the default, and so may think before it names a choice."""
    return bool(expert.max_tokens > Expert.model_fields["max_tokens"].default)


def _around_the_question(template: str | None) -> tuple[str, str]:
    """The text before the question, and that after it."""
    before, _, after = (template or "{question}").partition("{question}")
    return before, after


def plan(con: duckdb.DuckDBPyConnection, assigned: pa.Table, run: str) -> None:
    """Make the tables `plan` (one row for each question in `assigned`, with `ASSIGNED`) and `twins`."""
    con.register("assigned", assigned)
    con.execute(_PLAN, {"run": run})
    con.unregister("assigned")
    con.execute(_TWINS)
