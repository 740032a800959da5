"""Recorded answers and what a row wants of its answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.backends.select import load_backend
from leeroo.engine.pool import Expert

Requests = Callable[..., pa.RecordBatch]


def test_arguments_that_a_record_cannot_follow_fail_the_row(tmp_path: Path, requests: Requests) -> None:
    """Sampling changes nothing that was recorded; `stop` and `top_logprobs` fail their rows by name, unbilled."""
    pq.write_table(
        pa.table({"query_id": ["0"], "question": ["Who?"], "prompt": ["Who?"]}), tmp_path / "queries.parquet"
    )
    outcomes = {"query_id": ["0"], "expert": ["e"], "score": [1.0], "response": ["I"], "completion_tokens": [3]}
    pq.write_table(pa.table(outcomes), tmp_path / "outcomes.parquet")
    expert = Expert(name="e", model=str(tmp_path), backend="replay", usd_per_m_input=1, usd_per_m_output=1)
    base = requests("Who?")
    wants: list[dict[str, Any]] = [
        {"seed": 7, "top_p": 0.5, "frequency_penalty": 1.0},
        {"stop": ["x"]},
        {"top_logprobs": 0},
        {"stop": []},
    ]
    asked = [{**base.to_pylist()[0], "id": i, **want} for i, want in enumerate(wants)]
    batch = pa.RecordBatch.from_pylist(asked, schema=base.schema)
    rows = [row for each in load_backend(expert).generate(iter([batch])) for row in each.to_pylist()]
    assert [row["answer"] for row in rows] == ["I", None, None, "I"]
    assert [(row["error"] or "").partition(":")[0] for row in rows] == ["", "stop", "top_logprobs", ""]
    assert [row["bounced"] for row in rows] == [False, True, True, False]
    assert [row["completion_tokens"] for row in rows] == [3, None, None, 3]
