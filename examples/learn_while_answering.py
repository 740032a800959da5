"""Answer a table without recorded outcomes: what the first answers show decides who answers the rest."""

from pathlib import Path

import pyarrow.parquet as pq

import leeroo

HERE = Path(__file__).parent

# 469 questions with their right answers, of which the run may see the first hundred.
table = pq.read_table(HERE / "local" / "data" / "queries.parquet").select(["question", "answer"])
known = [answer if row < 100 else None for row, answer in enumerate(table["answer"].to_pylist())]
questions = table.select(["question"]).append_column("known", [known])

answers = leeroo.answer(
    questions, pool=HERE / "replay.toml", store=HERE / "out" / "store", learn=True, gold="known", max_cost_usd=0.0005
)
experts = answers["expert"].to_pylist()
for name in sorted(set(experts)):
    print(f"{name} answered {experts.count(name)} rows")
print(f"expected to be right: {sum(answers['predicted_score'].to_pylist()) / answers.num_rows:.0%}")
print(f"really right:         {sum(answers['recorded_score'].to_pylist()) / answers.num_rows:.0%}")
