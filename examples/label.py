"""Give every support ticket one of four labels, and compare them with those of people."""

from pathlib import Path

import duckdb

import leeroo

HERE = Path(__file__).parent

# A label with a description is easier to recognise.
TEAMS = {
    "billing": "payments, invoices, refunds and prices",
    "bug": "something in the program does not work",
    "account": "logging in, users, and personal data",
    "other": "everything else",
}

tickets = duckdb.read_csv(HERE / "tickets.csv").to_arrow_table()
# Without `pool`, the embedded model of 135 million parameters labels. It is wrong often; see `confidence`.
labelled = leeroo.label(tickets, TEAMS, store=HERE / "out" / "store")

rows = labelled.to_pylist()
for row in sorted(rows, key=lambda row: -row["confidence"]):
    mark = " " if row["label"] == row["team"] else "x"
    print(f"{mark} {row['label']:8} {row['confidence']:.2f}  {row['text'][:80]}")
print(f"{sum(row['label'] == row['team'] for row in rows)} of {len(rows)} labels are those of people")
