"""Rows through a provider that limits requests and tokens a minute: the share of the limits used, and refusals.

    python bench/engine/limits.py [--rows 1000] [--requests 300] [--tokens 60000] [--minute 6]

The fake provider of the tests counts as real ones do; its minutes last `--minute` seconds. A request has 200 tokens on
average, so that both limits bind, and is answered in 1/60 of a minute. Limits are in the pool file, or only the
provider knows them and says so in the headers of its replies, in those of refusals, or not at all.

The rate is what was let through, as a share of what the limits allow between the first request and the last. A bucket
is full when the run begins, which gives up to a minute's worth more than that.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the names `bench` and `tests` are

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.api.limits import pace
from leeroo.engine.pool import Expert, Pool
from tests.provider import Provider, running
from tests.rate_limits import RateLimit, Says

_PROMPT_TOKENS, _MOST_ANSWER_TOKENS = 100, 256
# Limits in the pool file; whether no minute has more than its limit, wherever it begins; what replies say.
_CASES: tuple[tuple[bool, bool, Says], ...] = (
    (True, False, "openai"),
    (True, True, "nothing"),
    (False, False, "openai"),
    (False, True, "openai"),
    (False, False, "anthropic"),
    (False, False, "retry-after"),
    (False, True, "retry-after"),
    (False, False, "nothing"),
    (False, True, "nothing"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--minute", type=float, default=6.0)
    options = parser.parse_args()
    for name in ("_MINUTE_S", "_FIRST_PAUSE_S", "_LONGEST_PAUSE_S"):  # time runs as fast for us as for the provider
        setattr(pace, name, getattr(pace, name) * options.minute / 60)
    limits = f"{options.requests} requests and {options.tokens:,} tokens in a minute of {options.minute:g} s"
    print(f"{os.cpu_count()} cores; {options.rows:,} rows, {limits}\n")
    print("| limits in the pool file | the provider counts by | its replies say | answered | s | rate | refused |")
    print("|---|---|---|---|---|---|---|")
    for known, sliding, says in _CASES:
        print(f"| {'yes' if known else 'no'} | {'a sliding minute' if sliding else 'a bucket'} | {says} | ", end="")
        print(_measure(options, known, sliding, says), flush=True)


def _measure(options: argparse.Namespace, known: bool, sliding: bool, says: Says) -> str:
    """Run the rows once; return the end of a line of the table."""
    limit = RateLimit(options.requests, options.tokens, options.minute, sliding=sliding, says=says)
    with running() as provider, tempfile.TemporaryDirectory() as store:
        provider.limit, provider.delay_s, provider.usage = limit, options.minute / 60, _usage
        engine: dict[str, Any] = {"timeout": 60.0}
        if known:
            engine |= {"requests_per_minute": options.requests, "tokens_per_minute": options.tokens}
        with Engine(Pool(default="m", experts=(_expert(provider, engine),)), store=Path(store)) as opened:
            answers = opened.answer_table(_questions(options.rows), Criteria()).column("answer")
        seconds = limit.admitted[-1] - limit.admitted[0]
        used = max(len(provider.bills) / options.requests, _billed_tokens(provider) / options.tokens)
    share = used / (seconds / options.minute)
    return f"{len(answers) - answers.null_count:,} | {seconds:.1f} | {share:.0%} | {limit.refused:,} |"


def _expert(provider: Provider, engine: dict[str, Any]) -> Expert:
    return Expert(
        name="m",
        model="m",
        backend="openai",
        base_url=provider.url,
        usd_per_m_input=1,
        usd_per_m_output=2,
        max_tokens=_MOST_ANSWER_TOKENS,
        engine=engine,
    )


def _questions(rows: int) -> pa.RecordBatchReader:
    """Return questions of about 100 tokens each."""
    texts = [f"{i:06} ".ljust(_PROMPT_TOKENS * 4, "x") for i in range(rows)]
    return pa.table({"question": texts}).to_reader()


def _usage(prompt: str, _: dict[str, Any]) -> tuple[int, int]:
    """Return the tokens of a call: answers have 20 to 180, as the prompt decides."""
    return _PROMPT_TOKENS, random.Random(prompt).randint(20, 180)


def _billed_tokens(provider: Provider) -> int:
    return sum(bill.prompt_tokens + bill.completion_tokens for bill in provider.bills)


if __name__ == "__main__":
    main()
