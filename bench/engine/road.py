"""Everything but generation on a table of millions: rows/s and peak memory of `leeroo run`.

    python bench/engine/road.py [--rows 1000000] [--distinct 1000000] [--held 0]

Writes a data folder of `distinct` short questions with recorded answers of two experts, and a table of `rows` rows that
ask them, over and over where there are more. `leeroo run` goes over it in a process of its own, whose peak resident
memory is measured: with one expert pinned, and a store that holds `held` answers to other questions; the same again,
where every answer comes from the store; and with a router on the default encoder under a budget that reaches for half
of the dear expert's answers, the vectors of all questions cached. To encode a million questions takes an hour here, so
those vectors are random ones: they are read, and made into predictions, as real ones are. How fast questions are
encoded and routed is measured beside it, on 1,000 of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from leeroo.engine.orchestrator.encoders.batching import Passes

POOL = """
default = "large"
[[expert]]
name = "small"
model = "data"
backend = "replay"
usd_per_m_input = 0.2
usd_per_m_output = 0.2
[[expert]]
name = "large"
model = "data"
backend = "replay"
usd_per_m_input = 2
usd_per_m_output = 2
"""
# USD of the dear expert's answer to each question: 14 tokens in, 8 out.
LARGE_USD = 22 * 2 / 1e6
_LEARNED, _ROUTED = 2000, 1000
# Answers kept at a time.
_PART = 50_000


def make_tables(folder: Path, rows: int, distinct: int) -> None:
    """Write the data folder, the pool file and the input."""
    (folder / "data").mkdir()
    (folder / "pool.toml").write_text(POOL)
    con = duckdb.connect()
    con.execute("SET preserve_insertion_order = false")
    con.execute(
        f"""
        CREATE VIEW asked AS SELECT i, printf('q-%07d', i) AS query_id,
            'In which year was the bridge number ' || i || ' of the river opened?' AS question
            FROM range({distinct}) t(i);
        COPY (SELECT query_id, 'bench' AS dataset, CASE WHEN i < {_LEARNED} THEN 'train' ELSE 'test' END AS split,
                     NULL::VARCHAR AS subject,
                     NULL::VARCHAR AS category, question, NULL::VARCHAR[] AS choices,
                     NULL::VARCHAR AS answer, question AS prompt FROM asked)
        TO '{folder}/data/queries.parquet';
        COPY (SELECT query_id, expert, (expert = 'large' OR i % 2 = 0)::DOUBLE AS score,
                     'It was opened in ' || (1700 + i % 300) AS response, NULL::VARCHAR AS prediction,
                     14::INTEGER AS prompt_tokens, 8::INTEGER AS completion_tokens,
                     NULL::DOUBLE AS cost_usd FROM asked, (VALUES ('small'), ('large')) e(expert))
        TO '{folder}/data/outcomes.parquet';
        COPY (SELECT expert, expert AS model, NULL::DOUBLE AS params_b, true AS license_open, usd AS usd_per_m_input,
                     usd AS usd_per_m_output, NULL::VARCHAR AS note FROM (VALUES ('small', 0.2), ('large', 2))
                     e(expert, usd))
        TO '{folder}/data/experts.parquet';
        COPY (SELECT row AS id, question FROM (SELECT row, (row * 7919) % {distinct} AS i FROM range({rows}) r(row))
              JOIN asked USING (i) ORDER BY row)
        TO '{folder}/input.parquet';
        """
    )


def leeroo(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run one command; return its wall seconds and peak GiB."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "leeroo", *arguments], cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, arguments
    return time.perf_counter() - started, used.ru_maxrss / 2**20


def measure_routing(folder: Path) -> float:
    """Measure how many questions a second are encoded and routed, when all is loaded."""
    from leeroo.engine.answer import Criteria, open_engine

    rows = pq.read_table(folder / "input.parquet").slice(_LEARNED, _ROUTED)
    with open_engine(folder / "pool.toml", folder / "router", folder / "routed") as engine:
        engine.scores(["Is everything loaded?"])
        started = time.perf_counter()
        engine.route(rows.to_reader(), Criteria()).read_all()
        return _ROUTED / (time.perf_counter() - started)


def cache_vectors(folder: Path) -> None:
    """Keep a random vector for every question that has none."""
    from leeroo.engine.orchestrator.encoders import encode, sentence

    def made_up(name: str, folder: Path, weights_hash: str, texts: Sequence[str]) -> Passes:  # noqa: ARG001
        vectors = np.random.default_rng(len(texts)).standard_normal((len(texts), 384), dtype=np.float32)
        yield np.arange(len(texts)), [vectors / np.linalg.norm(vectors, axis=1, keepdims=True)]

    sentence.passes = made_up
    for batch in pq.ParquetFile(folder / "data" / "queries.parquet").iter_batches(100_000, columns=["question"]):
        encode.encode(batch.column("question").to_pylist())


def fill(folder: Path, held: int) -> None:
    """Keep that many answers to other questions in the store, their keys spread evenly."""
    from leeroo.engine.store.answers import KEPT
    from leeroo.engine.store.store import Store

    rng, store = np.random.default_rng(0), Store(folder / "store")
    for start in range(0, held, _PART):
        n = min(_PART, held - start)
        keys = rng.integers(0, 256, (n, 32), np.uint8)
        keys[:, :8] = (np.arange(start, start + n) * (2**64 / held)).astype(">u8").view(np.uint8).reshape(n, 8)
        answers = {
            "key": pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), n, [None, pa.py_buffer(keys)]),
            "run": pa.repeat("0" * 32, n),
            "asked": [each.tobytes().hex() for each in keys[:, :16]],
            "expert": pa.repeat("large", n),
            "fingerprint": pa.repeat("0" * 64, n),
            "answer": pa.repeat("It was opened in 1800", n),
            "prompt_tokens": pa.repeat(14, n),
            "completion_tokens": pa.repeat(8, n),
            "list_cost_usd": pa.repeat(LARGE_USD, n),
            "finish_reason": pa.repeat("stop", n),
            "question_hash": [each.tobytes() for each in keys[:, 16:]],
        }
        columns = [pa.array(answers[f.name]).cast(f.type) if f.name in answers else pa.nulls(n, f.type) for f in KEPT]
        store.append(pa.Table.from_arrays(columns, schema=KEPT))
    store.close()


def check(folder: Path, rows: int) -> None:
    """Check that every row has its own answer, in the order of the input."""
    wrong = duckdb.execute(
        f"""SELECT count(*) FROM '{folder}/out.parquet' WHERE error IS NOT NULL OR answer != 'It was opened in ' ||
            (1700 + regexp_extract(question, '[0-9]+')::INTEGER % 300)"""
    ).fetchall()[0][0]
    count, ordered = duckdb.execute(
        f"SELECT count(*), bool_and(id = file_row_number)"
        f" FROM read_parquet('{folder}/out.parquet', file_row_number = true)"
    ).fetchall()[0]
    assert (wrong, count, ordered) == (0, rows, True), (wrong, count, ordered)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=1_000_000)
    parser.add_argument("--held", type=int, default=0, help="answers to other questions in the store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["LEEROO_CACHE"] = name
        os.environ["LEEROO_VECTORS_GIB"] = str(max(4, 2 * options.distinct // 1_000_000))
        make_tables(folder, options.rows, options.distinct)
        command = ("run", "input.parquet", "--out", "out.parquet", "--pool", "pool.toml", "--no-progress", "--store")
        pinned = (*command, "store", "--expert", "large")
        leeroo(folder, "train", "--data", "data", "--out", "router")
        budget = ("--max-cost-usd", str(LARGE_USD * options.distinct * 0.55))
        print(f"{os.cpu_count()} cores; encoded and routed: {measure_routing(folder):.0f} questions a second\n")
        print("| what | rows | distinct | seconds | rows/s | peak GiB |\n|---|---|---|---|---|---|")

        def measure(what: str, rows: int, distinct: int, *arguments: str) -> None:
            seconds, peak = leeroo(folder, *arguments)
            print(
                f"| {what} | {rows:,} | {distinct:,} | {seconds:.1f} | {rows / seconds:,.0f} | {peak:.2f} |", flush=True
            )

        fill(folder, options.held)
        measure("one expert", options.rows, options.distinct, *pinned)
        check(folder, options.rows)
        measure("the same, from the store", options.rows, options.distinct, *pinned)
        check(folder, options.rows)
        cache_vectors(folder)
        measure(
            "two experts, vectors cached",
            options.rows,
            options.distinct,
            *command,
            "other",
            "--router",
            "router",
            *budget,
        )
        check(folder, options.rows)


if __name__ == "__main__":
    main()
