"""Learn a router from recorded outcomes, see what its choices bring, and answer new questions with it."""

from pathlib import Path

import pyarrow.parquet as pq

import leeroo

HERE = Path(__file__).parent
OUT = HERE / "out"

router = leeroo.train(HERE / "local" / "data", out=OUT / "router")
print(f"learned from {router.summary.questions} questions: {', '.join(router.experts)}")

questions = pq.read_table(HERE / "questions.parquet")  # none of them was learned from
for budget in (0.00005, 0.0001, 0.00015):
    answers = leeroo.answer(
        questions, pool=HERE / "replay.toml", router=OUT / "router", store=OUT / f"store-{budget}", max_cost_usd=budget
    )
    right = sum(answers["recorded_score"].to_pylist()) / answers.num_rows
    reasoned = answers["expert"].to_pylist().count("smollm2-reason")
    print(f"budget ${budget:.5f}: {right:.0%} right, {reasoned} of {answers.num_rows} rows went to smollm2-reason")
