"""Search, filter, summarize and deduplicate tickets by what they mean, in SQL."""

from pathlib import Path

import leeroo

HERE = Path(__file__).parent

with leeroo.connect(store=HERE / "out" / "store") as con:
    con.sql(f"CREATE TABLE tickets AS FROM '{HERE / 'tickets.csv'}' LIMIT 8")

    print("The tickets nearest to a search, by embeddings: no model is asked.")
    con.sql("CREATE TABLE near AS SELECT *, leeroo_similarity(text, 'I want my money back') AS near FROM tickets")
    print(con.sql("SELECT id, round(near, 2) AS near, text FROM near ORDER BY near DESC LIMIT 3"))

    print("A condition in WHERE. LIMIT stops asking when two are found.")
    print(
        con.sql(
            "SELECT id, text FROM tickets WHERE leeroo_filter(text, 'is about a payment', threshold := 0.3) LIMIT 2"
        )
    )

    print("One answer for the texts of each team, beside an ordinary aggregate.")
    asked = "leeroo_agg(text, 'What do these customers want? One sentence.', max_tokens := 32)"
    print(con.sql(f"SELECT team, count(*) AS tickets, {asked} AS wanted FROM tickets GROUP BY team ORDER BY team"))

    print("Tickets that say the same thing: near ones by embeddings, decided by the model.")
    twice = "(9, 'I was charged twice for the subscription this month. Please refund one payment.', 'billing')"
    con.sql(f"CREATE TABLE more AS FROM tickets UNION ALL VALUES {twice}")
    found = "leeroo_dedupe('more', 'text', similarity := 0.8)"
    groups = f"SELECT id, representative, text FROM {found} QUALIFY count(*) OVER (PARTITION BY group_id) > 1"
    print(con.sql(f"{groups} ORDER BY id"))
