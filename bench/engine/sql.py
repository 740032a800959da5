"""SQL: a statement as one batch, beside vectors, beside the engine alone, beside one request for every row.

    python bench/engine/sql.py [--rows 5000] [--repeats 5] [--vllm 64] [--statements 10000]

On recorded outcomes (questions of `mmlu_pro` in LEEROO_DATA, answered by one expert) every way answers the same
distinct questions, each time into a new store, in turns; medians. With `--vllm N` also N short questions of our own on
a real vLLM engine, beside a function that sends one request per row to vLLM's OpenAI-compatible server: how other SQL
extensions ask. With `--statements N`, N statements on one connection, and what they add to the memory of the process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

import leeroo
from bench.routing.data import DATA
from leeroo.engine import weights
from leeroo.engine.answer import Criteria, open_engine

RECORDED = """
[[expert]]
name = "mixtral-8x7b"
model = "{data}"
backend = "replay"
usd_per_m_input = 0.6
usd_per_m_output = 0.6
"""
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
VLLM = f"""
[[expert]]
name = "smollm2"
model = "{SMOLLM2}"
backend = "vllm"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
max_tokens = 32
[expert.engine]
max_model_len = 4096
"""
ANSWER = "CREATE OR REPLACE TABLE answered AS SELECT leeroo_answer(question) AS a FROM t"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vllm", type=int, default=0, help="questions; 0 leaves it out")
    parser.add_argument("--statements", type=int, default=0)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, DuckDB {duckdb.__version__}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pool.toml").write_text(RECORDED.format(data=DATA / "mmlu_pro"))
        (folder / "vllm.toml").write_text(VLLM)
        questions = _questions(asked.rows)
        _table(f"{asked.rows:,} recorded answers", measure(folder, "pool.toml", questions, asked.repeats), asked.rows)
        look_ups(folder, questions)
        limits(folder, questions)
        interrupts(folder)
        if asked.vllm:
            few = _short_questions(asked.vllm)
            seconds = measure(folder, "vllm.toml", few, 1, warm=True)
            seconds["one request per row"] = [by_row(few)]
            _table(f"{asked.vllm:,} questions to vLLM (SmolLM2-135M, up to 32 tokens)", seconds, asked.vllm)
        if asked.statements:
            leaks(folder, asked.statements)


def measure(
    folder: Path, pool: str, questions: list[str], repeats: int, *, warm: bool = False
) -> dict[str, list[float]]:
    """Measure the seconds of each way, which take turns; loading the model is not counted."""
    ways: dict[str, Callable[[Path, Path, list[str]], float]] = {
        "engine alone": engine_alone,
        "statement mode": statement_mode,
        "leeroo.sql on a plain connection": sql_function,
        "vectors of a plain connection": vectors,
    }
    if warm:
        del ways["leeroo.sql on a plain connection"]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats):
        for name, way in ways.items():
            seconds[name].append(way(folder / pool, folder / f"store-{pool}-{name}-{number}", questions))
    return seconds


def engine_alone(pool: Path, store: Path, questions: list[str]) -> float:
    """Time the engine alone, table in and table out."""
    with open_engine(pool, store=store) as engine:
        engine.answer_table(pa.table({"question": questions[:1]}).to_reader(), Criteria())
        table = pa.table({"question": questions})

        def answer() -> None:
            with engine.answer(table.to_reader(), Criteria()) as answers:
                _consume(answers)

        return _time(answer)


def statement_mode(pool: Path, store: Path, questions: list[str]) -> float:
    """Time a connection of leeroo.connect."""
    with leeroo.connect(pool=pool, store=store) as con:
        _fill(con, questions)
        return _time(lambda: con.execute(ANSWER))


def sql_function(pool: Path, store: Path, questions: list[str]) -> float:
    """Measure leeroo.sql on a plain connection."""
    with _open_plain(pool, store, questions) as con:
        return _time(lambda: leeroo.sql(con, ANSWER))


def vectors(pool: Path, store: Path, questions: list[str]) -> float:
    """Time a plain connection: DuckDB hands over up to 2,048 rows at a time."""
    with _open_plain(pool, store, questions) as con:
        return _time(lambda: con.execute(ANSWER))


def by_row(questions: list[str]) -> float:
    """Measure one request for every row, sent to vLLM's server on this machine when DuckDB reads the row."""
    import openai

    with _server() as url:
        client = openai.OpenAI(base_url=url, api_key="none")

        def ask(question: str) -> str:
            reply = client.chat.completions.create(
                model=SMOLLM2, messages=[{"role": "user", "content": question}], max_tokens=32, temperature=0
            )
            return reply.choices[0].message.content or ""

        con = duckdb.connect()
        con.create_function("ask", ask, ["VARCHAR"], "VARCHAR")
        con.execute("CREATE TABLE t (question VARCHAR)")
        con.executemany("INSERT INTO t VALUES (?)", [[question] for question in questions])
        ask(questions[0])
        return _time(lambda: con.execute("CREATE TABLE answered AS SELECT ask(question) AS a FROM t"))


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """Yield the server of vLLM with the same model and the options that our backend gives it."""
    import openai

    port = "8765"
    options = ["--max-model-len", "4096", "--served-model-name", SMOLLM2, "--port", port, "--host", "127.0.0.1"]
    options += ["--enforce-eager", "--dtype", "float32"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights.locate(SMOLLM2))]
    environment = {**os.environ, "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_KVCACHE_SPACE": "2"}
    url = f"http://127.0.0.1:{port}/v1"
    with subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(300):
                with contextlib.suppress(openai.APIConnectionError):
                    openai.OpenAI(base_url=url, api_key="none", max_retries=0).models.list()
                    break
                time.sleep(1)
            yield url
        finally:
            server.terminate()


def look_ups(folder: Path, questions: list[str], rows: int = 2_000_000) -> None:
    """Measure rows/s where every answer is known. A statement reads each twice: in its rehearsal, and as it runs."""
    pool, store = folder / "pool.toml", folder / "known"
    copies = rows // len(questions)
    many = f"CREATE TABLE many AS SELECT question FROM t, range({copies})"
    asked = "SELECT count(leeroo_answer(question)) FROM many"
    seconds = {}
    with leeroo.connect(pool=pool, store=store) as con:
        _fill(con, questions)
        con.execute(ANSWER)
        con.execute(many)
        seconds["statement mode"] = [_time(lambda: con.execute(asked).fetchall()) for _ in range(5)]
    with _open_plain(pool, store, questions) as plain:
        plain.execute(ANSWER)
        plain.execute(many)
        seconds["vectors of a plain connection"] = [_time(lambda: plain.execute(asked).fetchall()) for _ in range(5)]
    count = copies * len(questions)
    print(f"{count:,} rows of {len(questions):,} answered questions:")
    for way, each in seconds.items():
        print(f"- {way}: {count / statistics.median(each):,.0f} rows/s, at best {count / min(each):,.0f}")
    print()


def limits(folder: Path, questions: list[str], rows: int = 1_000_000) -> None:
    """Measure a LIMIT behind a condition on an answer, over a million rows of these questions."""
    with leeroo.connect(pool=folder / "pool.toml", store=folder / "limits") as con:
        _fill(con, questions)
        con.execute(f"CREATE TABLE many AS SELECT question, i FROM t, range({rows // len(questions)}) r(i)")
        asked = "SELECT question FROM many WHERE leeroo_answer(question) LIKE 'A%' AND i % 7 = 0 LIMIT 10"
        count = "SELECT sum(answers)::INT FROM leeroo_spend()"
        before = con.execute(count).fetchall()[0][0]
        seconds = _time(lambda: con.execute(asked).fetchall())
        sent = con.execute(count).fetchall()[0][0] - before
        found = len(con.execute(asked).fetchall())
    print(f"LIMIT 10 behind an answer, {rows:,} rows: {sent} questions, {found} rows, {seconds:.2f} s\n")


def interrupts(folder: Path, after_s: float = 1.0) -> None:
    """Measure how long after con.interrupt() a long statement ends."""
    pool = folder / "slow.toml"
    pool.write_text(RECORDED.format(data=DATA / "mmlu_pro") + "[expert.engine]\ntokens_per_second = 1\n")
    with leeroo.connect(pool=pool, store=folder / "slow") as con:
        _fill(con, _questions(500))
        began: list[float] = []

        def stop() -> None:
            began.append(time.perf_counter())
            con.interrupt()

        threading.Timer(after_s, stop).start()
        with contextlib.suppress(duckdb.InterruptException):
            con.execute(ANSWER)
        print(f"con.interrupt() ends a statement after {time.perf_counter() - began[0]:.2f} s\n")


def leaks(folder: Path, statements: int) -> None:
    """Measure what many small statements on one connection add to the memory of the process."""
    process = psutil.Process()
    with leeroo.connect(pool=folder / "pool.toml", store=folder / "leaks") as con:
        _fill(con, _questions(1000))
        for number in range(statements + 1):
            row = number % 1000
            con.execute(f"SELECT leeroo_answer(question) FROM t LIMIT 1 OFFSET {row}").fetchall()
            if number % (statements // 5) == 0:
                print(f"after {number:,} statements: {process.memory_info().rss / 2**20:,.0f} MiB", flush=True)


def _questions(rows: int) -> list[str]:
    """Distinct questions of MMLU-Pro, with their choices."""
    file = DATA / "mmlu_pro" / "queries.parquet"
    found = (
        duckdb.connect()
        .execute(f"SELECT prompt FROM '{file}' GROUP BY prompt HAVING count(*) = 1 ORDER BY hash(prompt)")
        .fetchall()
    )
    assert len(found) >= rows, f"{file} has {len(found)} questions"
    return [prompt for (prompt,) in found[:rows]]


def _short_questions(rows: int) -> list[str]:
    """Return distinct questions of our own, of a dozen words."""
    file = Path(__file__).parents[2] / "examples" / "local" / "data" / "queries.parquet"
    found = duckdb.connect().execute(f"SELECT question FROM '{file}' ORDER BY hash(question) LIMIT {rows}").fetchall()
    return [question for (question,) in found]


def _fill(con: Any, questions: list[str]) -> None:
    """Write the questions into a table, and load the model."""
    asked = pa.table({"question": questions})
    con.register("asked", asked)
    con.execute("CREATE TABLE t AS FROM asked")
    con.execute("SELECT leeroo_answer(question) FROM t LIMIT 1").fetchall()


@contextlib.contextmanager
def _open_plain(pool: Path, store: Path, questions: list[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        registered = leeroo.register(con, pool=pool, store=store)
        _fill(con, questions)
        yield con
        registered.calls.engine.close()


def _consume(reader: pa.RecordBatchReader) -> None:
    for _ in reader:
        pass


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _table(title: str, seconds: dict[str, list[float]], rows: int) -> None:
    alone = statistics.median(seconds["engine alone"])
    print(f"| {title} | seconds | rows/s | of the engine alone |\n|---|---|---|---|")
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"| {name} | {median:.3f} | {rows / median:,.0f} | {alone / median:.2f} |")
    print(flush=True)


if __name__ == "__main__":
    main()
