"""Everything but generation on a table of millions: rows/s and peak memory of `leeroo run`.

    python bench/road.py [--rows 5000000] [--distinct 500000]

Writes a data folder of `distinct` short questions with recorded answers of one expert, a table of `rows` rows
that ask them over and over, and runs `leeroo run` on it with the expert pinned, in a process of its own whose
peak resident memory is measured. Then the same command again, where every answer comes from the store.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

POOL = """
[[expert]]
name = "recorded"
model = "data"
backend = "replay"
usd_per_m_input = 0.2
usd_per_m_output = 0.2
"""


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
        COPY (SELECT query_id, 'bench' AS dataset, 'test' AS split, NULL::VARCHAR AS subject,
                     NULL::VARCHAR AS category, question, NULL::VARCHAR[] AS choices,
                     NULL::VARCHAR AS answer, question AS prompt FROM asked)
        TO '{folder}/data/queries.parquet';
        COPY (SELECT query_id, 'recorded' AS expert, 1.0::DOUBLE AS score,
                     'It was opened in ' || (1700 + i % 300) AS response, NULL::VARCHAR AS prediction,
                     14::INTEGER AS prompt_tokens, 8::INTEGER AS completion_tokens,
                     NULL::DOUBLE AS cost_usd FROM asked)
        TO '{folder}/data/outcomes.parquet';
        COPY (SELECT 'recorded' AS expert, 'recorded' AS model, NULL::DOUBLE AS params_b, true AS license_open,
                     0.2 AS usd_per_m_input, 0.2 AS usd_per_m_output, NULL::VARCHAR AS note)
        TO '{folder}/data/experts.parquet';
        COPY (SELECT row AS id, question FROM (SELECT row, (row * 7919) % {distinct} AS i FROM range({rows}) r(row))
              JOIN asked USING (i) ORDER BY row)
        TO '{folder}/input.parquet';
        """
    )


def run(folder: Path) -> tuple[float, float]:
    """Wall seconds and peak GiB of one `leeroo run`."""
    command = [
        sys.executable,
        "-m",
        "leeroo",
        "run",
        "input.parquet",
        "--out",
        "out.parquet",
        "--pool",
        "pool.toml",
    ]
    started = time.perf_counter()
    subprocess.run([*command, "--expert", "recorded", "--store", "store", "--no-progress"], cwd=folder, check=True)
    seconds = time.perf_counter() - started
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def check(folder: Path, rows: int) -> None:
    """Every row has its own answer, in the order of the input."""
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
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--distinct", type=int, default=500_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tables(folder, options.rows, options.distinct)
        for label in ("first run", "from the store"):
            seconds, peak = run(folder)
            check(folder, options.rows)
            print(
                f"{label}: {options.rows:,} rows, {options.distinct:,} distinct: {seconds:.1f} s,"
                f" {options.rows / seconds:,.0f} rows/s, peak {peak:.2f} GiB"
            )


if __name__ == "__main__":
    main()
