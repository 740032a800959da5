"""Each SQL function on the embedded local pool: a whole statement against one request for each row.

    python bench/jobs/functions.py [--rows 48] [--only NAME ...]

Rows are reviews put together from parts, all different. Both ways run in one process, one after the other, each with an
empty answer store and the model loaded. A line has the requests and the rows per second of both, and the ratio of the
rates. For one row a function is called in a statement of its own. The other way to summarize a group is to shorten each
text; that to join, rank or compare by meaning is a condition for each pair or row.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import leeroo
from leeroo.udfs.connection import Connection

_PRODUCTS = ("phone", "kettle", "lamp", "chair")
_OPENINGS = ("I bought it in May.", "It was a present.", "My second one.", "It came late.", "I use it every day.")
_VERDICTS = ("It works well.", "It broke after a week.", "I want my money back.", "The colour is lovely.")
_SPENT = "SELECT coalesce(sum(answers), 0)::BIGINT FROM leeroo_spend()"
_DECISIONS = "{{'good': ['yes', 'no'], 'topic': ['quality', 'price', 'other'], 'stars': [1, 2, 3, 4, 5]}}"


class Way(NamedTuple):
    """The two ways to one result: a statement over the table `reviews`, and one with a text as parameter."""

    whole: str
    each: str


def _scalar(call: str) -> Way:
    """Return the ways of a function that takes one text, {} in its call."""
    return Way(f"SELECT count({call.format('text')}) FROM reviews", f"SELECT {call.format('$1::VARCHAR')}")


FUNCTIONS = {
    "leeroo_answer": _scalar("leeroo_answer('Is this review good? ' || {}, max_tokens := 8)"),
    "leeroo_choice": _scalar("leeroo_choice({}, ['good', 'bad'])"),
    "leeroo_label": _scalar("leeroo_label({}, ['good', 'bad'])"),
    "leeroo_extract": _scalar("""leeroo_extract({}, '{{"type": "string"}}', max_tokens := 16)"""),
    "leeroo_record": _scalar("leeroo_record({}, {{'product': 'VARCHAR', 'number': 'INTEGER'}})"),
    "leeroo_decide": _scalar(f"leeroo_decide({{}}, {_DECISIONS})"),
    "leeroo_filter": _scalar("leeroo_filter({}, 'the writer is content')"),
    "leeroo_score": _scalar("leeroo_score({}, 'how content the writer is')"),
    "leeroo_embed": _scalar("leeroo_embed({})"),
    "leeroo_agg": Way(
        "SELECT leeroo_agg(text, 'What do people say of it?', max_tokens := 32) FROM reviews GROUP BY product",
        "SELECT leeroo_answer('What does the writer say of it? ' || $1::VARCHAR, max_tokens := 32)",
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--only", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS))
    given = parser.parse_args()
    columns = ("function", "rows", "requests", "rows/s", "one by one: requests", "rows/s", "ratio")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name in given.only:
        rows = reviews(given.rows)
        requests, seconds = measured(rows, _whole(FUNCTIONS[name].whole))
        requests_alone, seconds_alone = measured(rows, _one_by_one(FUNCTIONS[name].each, rows))
        rates = f"{len(rows) / seconds:.2f}", f"{len(rows) / seconds_alone:.2f}"
        cells = (name, len(rows), requests, rates[0], requests_alone, rates[1], f"{seconds_alone / seconds:.1f}")
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def reviews(n: int) -> list[tuple[str, str]]:
    """Return n products with a review each, all reviews different."""
    parts = itertools.cycle(itertools.product(_OPENINGS, _VERDICTS, _PRODUCTS))
    made = zip(range(n), parts, strict=False)
    return [(product, f"{opening} A {product}. {verdict} Order {i}.") for i, (opening, verdict, product) in made]


def _whole(statement: str) -> Callable[[Connection], None]:
    def run(con: Connection) -> None:
        con.execute(statement).fetchall()

    return run


def _one_by_one(statement: str, rows: list[tuple[str, str]]) -> Callable[[Connection], None]:
    def run(con: Connection) -> None:
        for _, text in rows:
            con.execute(statement, [text]).fetchall()

    return run


def measured(rows: list[tuple[str, str]], run: Callable[[Connection], None]) -> tuple[int, float]:
    """Return the requests and the seconds of a run with an empty answer store, the model loaded before."""
    with tempfile.TemporaryDirectory() as store, leeroo.connect(store=store, on_warning=lambda _: None) as con:
        con.execute("CREATE TABLE reviews (product VARCHAR, text VARCHAR)")
        con.executemany("INSERT INTO reviews VALUES (?, ?)", rows)
        con.execute("SELECT leeroo_choice('The capital of France?', ['Paris', 'Rome'])").fetchall()
        ((before,),) = con.execute(_SPENT).fetchall()
        began = time.perf_counter()
        run(con)
        seconds = time.perf_counter() - began
        ((after,),) = con.execute(_SPENT).fetchall()
        return after - before, seconds


if __name__ == "__main__":
    main()
