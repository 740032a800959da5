"""An engine over experts of the fake provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Engine, Progress
from leeroo.engine.pool import Expert, Pool
from tests.provider import Provider


def expert(provider: Provider, name: str = "first", **more: Any) -> Expert:
    """Return an expert of the provider, at $1 and $2 a million tokens unless said otherwise."""
    engine = {"concurrency": 4, "max_retries": 0, "timeout": 30, **more.pop("engine", {})}
    given = {"usd_per_m_input": 1, "usd_per_m_output": 2, "max_tokens": 8, **more}
    return Expert(name=name, model=name, backend="openai", base_url=provider.url, engine=engine, **given)


def opened(store: Path, *experts: Expert, seen: list[Progress] | None = None) -> Engine:
    """Return an engine whose default is the first expert; its snapshots go to `seen`."""
    pool = Pool(default=experts[0].name, experts=experts)
    return Engine(pool, store=store, on_progress=None if seen is None else seen.append)


def questions(*texts: str | None, experts: list[str] | None = None) -> pa.RecordBatchReader:
    """Return a table of questions; each names its expert in `ask` where there are some."""
    table = pa.table({"question": pa.array(texts, pa.string())})
    if experts is not None:
        asks = [{"expert": name} for name in experts]
        table = table.append_column("ask", pa.array(asks, pa.struct([("expert", pa.string())])))
    return table.to_reader()
