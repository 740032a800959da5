"""Tell Leeroo which answers were right, and learn the next router from it."""

from pathlib import Path

import pyarrow.parquet as pq

import leeroo

HERE = Path(__file__).parent
STORE = HERE / "out" / "feedback-store"

queries = pq.read_table(HERE / "local" / "data" / "queries.parquet").select(["question", "answer"])
gold = queries.rename_columns(["question", "gold"])
with leeroo.connect(pool=HERE / "replay.toml", store=STORE) as con:
    con.register("gold", gold)
    for expert in ("smollm2-direct", "smollm2-reason"):
        con.execute("CREATE OR REPLACE TABLE answered AS SELECT *, leeroo(question, expert := ?) FROM gold", [expert])
    # A right answer counts for every expert that has answered the question.
    con.sql("INSERT INTO leeroo_feedback (question, gold) SELECT question, gold FROM gold")
    print(con.sql("SELECT expert, count(*) AS judged, avg(score) AS score FROM leeroo_feedback() GROUP BY ALL"))

router = leeroo.train(store=STORE, out=HERE / "out" / "feedback-router")
print(f"a router from {router.summary.questions} judged questions: {', '.join(router.experts)}")
