"""Write a replay pool over a data folder, and questions to ask of it.

    python bench/engine/replay_pool.py ../shared/data/mmlu_pro out/ [--limit 1000]

Makes out/pool.toml, with every expert of the folder at its list price, and out/questions.parquet: the test queries
whose full responses were recorded where the folder has such, else the first ones, with subject, category and answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb


def main() -> None:
    """Write the pool file and the questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--limit", type=int, default=1000)
    options = parser.parse_args()
    data, out = options.data.resolve(), options.out
    out.mkdir(parents=True, exist_ok=True)
    experts = duckdb.execute(
        "SELECT expert, usd_per_m_input, usd_per_m_output, license_open FROM read_parquet($f) ORDER BY ALL",
        {"f": str(data / "experts.parquet")},
    ).fetchall()
    (out / "pool.toml").write_text("".join(_entry(data, *expert) for expert in experts))
    responses = list(data.glob("responses*.parquet"))
    recorded = f"query_id IN (SELECT query_id FROM '{responses[0]}')" if responses else "split = 'test'"
    duckdb.sql(
        f"""COPY (SELECT query_id, subject, category, prompt, answer AS gold FROM '{data}/queries.parquet'
                  WHERE {recorded} ORDER BY query_id LIMIT {options.limit})
            TO '{out}/questions.parquet'"""
    )
    print(f"{len(experts)} experts: {out / 'pool.toml'}; questions: {out / 'questions.parquet'}")


def _entry(data: Path, name: str, usd_in: float, usd_out: float, is_open: bool) -> str:
    return (
        f'[[expert]]\nname = "{name}"\nmodel = "{data}"\nbackend = "replay"\n'
        f"usd_per_m_input = {usd_in}\nusd_per_m_output = {usd_out}\n"
        f'location = "{"local" if is_open else "remote"}"\n\n'
    )


if __name__ == "__main__":
    main()
