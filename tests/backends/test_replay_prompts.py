"""The recorded outcome that answers a question, where several share its words."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.answer import Criteria, open_engine
from leeroo.engine.batch.prompts import build_asks


def test_the_prompt_decides_between_questions(tmp_path: Path) -> None:
    """Equal questions have outcomes with and without a prompt, and a prompt that was not recorded is an error."""
    prompts = ["Who?", "Plan this: Who?", "In short: Who?"]
    pq.write_table(
        pa.table({"query_id": ["0", "1", "2"], "question": ["Who?"] * 3, "prompt": prompts}),
        tmp_path / "queries.parquet",
    )
    outcomes = {"query_id": ["0", "1", "2"], "expert": ["e"] * 3, "score": [1.0] * 3, "response": ["I", "a plan", "me"]}
    pq.write_table(pa.table(outcomes), tmp_path / "outcomes.parquet")
    entry = (
        f'[[expert]]\nname = "e"\nmodel = "{tmp_path}"\nbackend = "replay"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    )
    (tmp_path / "pool.toml").write_text(entry)
    shown = [None, *prompts, "Otherwise: Who?"]
    table = pa.table({"question": ["Who?"] * len(shown), "ask": build_asks(len(shown), {"prompt": shown})})
    with open_engine(tmp_path / "pool.toml", None, tmp_path / "store") as engine:
        answers = engine.answer_table(table.to_reader(), Criteria(ask_column="ask"))
    assert answers.column("answer").to_pylist() == ["I", "I", "a plan", "me", None]
    assert "several recorded questions" in answers.column("error")[4].as_py()
