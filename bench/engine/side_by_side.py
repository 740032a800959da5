"""Four API experts at work at the same time: seconds together, against the longest of them alone, and what is spent.

    python bench/engine/side_by_side.py [--scale 0.1]

The experts have 45, 78, 70 and 19 s of work each, times `--scale`: every request takes half a second at the fake
provider of the tests, and each expert has sixteen in flight. Rows name their expert. Answers have 20 to 180 tokens, of
256 at most. One budget is a little more than all answers cost, the other four fifths of that: rows are then left out.
Then the expert with the least work refuses a fifth of its rows, which another answers. At last the API with the most
work is asked beside a local model, which is loaded before and has 600 short rows of its own, times `--scale`.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `tests` is

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.pool import Expert, Pool
from tests.provider import BEHAVIOURS, Call, Provider, Reply, running

WORK_S = {"first": 45, "second": 78, "third": 70, "fourth": 19}
_CONCURRENCY, _DELAY_S, _PROMPT_TOKENS, _MOST_ANSWER_TOKENS = 16, 0.5, 100, 256
_REFUSED = "refuse"
_LOCAL, _LOCAL_ROWS = "HuggingFaceTB/SmolLM2-135M-Instruct", 600


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    scale = parser.parse_args().scale
    rows = {name: round(seconds * scale * _CONCURRENCY / _DELAY_S) for name, seconds in WORK_S.items()}
    _measure(dict.fromkeys(rows, 1), None)  # imports what the first run would
    longest, *_ = _measure({"second": rows["second"]}, None)
    print(f"{os.cpu_count()} cores; {sum(rows.values()):,} rows; the longest alone: {longest:.1f} s\n")
    print("| case | s | times the longest | CPU s | answered | USD | budget |\n|---|---|---|---|---|---|---|")
    usd = _line("no budget", rows, longest, None)
    _line("a budget of 1.02 times the cost", rows, longest, 1.02 * usd)
    _line("a budget of 0.8 times the cost", rows, longest, 0.8 * usd)
    _line("a fifth of `fourth` refused", rows, longest, None, refused=0.2)
    ours, apis = {"local": round(_LOCAL_ROWS * scale)}, {"second": rows["second"]}
    alone, *_ = _measure(ours, None)
    _line(f"`second` beside a local model, which takes {alone:.1f} s alone", ours | apis, max(alone, longest), None)


def _line(case: str, rows: dict[str, int], longest: float, budget: float | None, refused: float = 0.0) -> float:
    """Measure a case and print its line; return what the provider billed, in USD."""
    seconds, cpu, answered, usd = _measure(rows, budget, refused)
    limit = "none" if budget is None else f"{budget:.4f}"
    figures = (f"{seconds:.1f}", f"{seconds / longest:.2f}", f"{cpu:.1f}", f"{answered:,}", f"{usd:.4f}", limit)
    print(f"| {case} | {' | '.join(figures)} |", flush=True)
    return usd


def _measure(rows: dict[str, int], budget: float | None, refused: float = 0.0) -> tuple[float, float, int, float]:
    """Answer these rows of each expert; return wall and CPU seconds, answers, and the USD of the provider's invoice."""
    with running() as provider, tempfile.TemporaryDirectory() as store:
        provider.delay_s, provider.usage = _DELAY_S, _usage
        provider.replies = _reply
        local = (_local(),) if "local" in rows else ()
        pool = Pool(default="fourth", experts=(*(_expert(provider, name) for name in WORK_S), *local))
        with Engine(pool, store=Path(store)) as engine:
            if local:
                engine.answer_table(_questions({"local": 1}, 0.0), Criteria(ask_column="ask"))
            began, cpu = time.monotonic(), time.process_time()
            criteria = Criteria(ask_column="ask", max_cost_usd=budget)
            answers = engine.answer_table(_questions(rows, refused), criteria).column("answer")
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        return seconds, cpu, len(answers) - answers.null_count, provider.account_usd


def _expert(provider: Provider, name: str) -> Expert:
    return Expert(
        name=name,
        model=name,
        backend="openai",
        base_url=provider.url,
        usd_per_m_input=1,
        usd_per_m_output=2,
        max_tokens=_MOST_ANSWER_TOKENS,
        engine={"concurrency": _CONCURRENCY, "timeout": 60.0},
    )


def _local() -> Expert:
    return Expert(
        name="local", model=_LOCAL, backend="transformers", usd_per_m_input=0, usd_per_m_output=0, max_tokens=24
    )


def _questions(rows: dict[str, int], refused: float) -> pa.RecordBatchReader:
    """Return the questions of all experts, mixed; some of the last API's are refused by it."""
    texts: list[str] = []
    asks: list[dict[str, str | None]] = []
    for name, count in rows.items():
        for i in range(count):
            texts.append(f"{name} {i} ")
            asks.append({"expert": name})
    if refused:
        last = [at for at, ask in enumerate(asks) if ask["expert"] == "fourth"]
        for at in last[: round(refused * len(last))]:
            texts[at], asks[at] = f"{texts[at]}{_REFUSED} ", {"expert": None}
    order = random.Random(0).sample(range(len(texts)), len(texts))
    table = {
        "question": [texts[at].ljust(0 if asks[at]["expert"] == "local" else _PROMPT_TOKENS * 4, "x") for at in order],
        "ask": pa.array([asks[at] for at in order], pa.struct([("expert", pa.string())])),
    }
    return pa.table(table).to_reader()


def _reply(call: Call) -> Reply:
    """Refuse some prompts where the expert with the least work is asked."""
    refused = call.body["model"] == "fourth" and _REFUSED in call.prompt
    return BEHAVIOURS["context_openai" if refused else "ok"](call)


def _usage(prompt: str, _: dict[str, Any]) -> tuple[int, int]:
    """Return the tokens of a call: answers have 20 to 180, as the prompt decides."""
    return _PROMPT_TOKENS, random.Random(prompt).randint(20, 180)


if __name__ == "__main__":
    main()
