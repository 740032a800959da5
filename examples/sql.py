"""Call the functions in SQL: a statement is one batch, whatever it joins, filters and groups."""

from pathlib import Path

import leeroo

HERE = Path(__file__).parent

with leeroo.connect(pool=HERE / "replay.toml", store=HERE / "out" / "store", max_cost_usd=0.0001) as con:
    con.sql(f"CREATE TABLE questions AS FROM '{HERE / 'questions.parquet'}'")

    print("What would it take? Nothing is generated for this.")
    print(leeroo.explain(con, "SELECT leeroo_answer(question) FROM questions"))

    con.sql("CREATE TABLE answered AS SELECT *, leeroo(question) AS a FROM questions")
    columns = "subject, count(*) AS questions, round(sum(a.list_cost_usd), 9) AS usd"
    print(con.sql(f"SELECT {columns} FROM answered GROUP BY ALL ORDER BY ALL"))
    print(con.sql("SELECT question, a.answer, a.error FROM answered ORDER BY id LIMIT 5"))
