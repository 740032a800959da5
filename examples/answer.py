"""Answer a table of questions within a budget, and see what each answer cost."""

from pathlib import Path

import pyarrow.parquet as pq

import leeroo

HERE = Path(__file__).parent

questions = pq.read_table(HERE / "questions.parquet")
answers = leeroo.answer(questions, pool=HERE / "replay.toml", store=HERE / "out" / "store", max_cost_usd=0.0001)

for row in answers.slice(0, 8).to_pylist():
    print(f"{row['question']}\n    {row['answer']}   [{row['expert']}, ${row['list_cost_usd']:.8f}]")
# The second time the answers come from the store, and nothing is paid.
paid, listed = (sum(answers[name].to_pylist()) for name in ("cost_usd", "list_cost_usd"))
print(f"{answers.num_rows} rows: ${listed:.8f} by list price, ${paid:.8f} paid now")
