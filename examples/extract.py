"""Turn text into JSON that is valid under a schema, and into columns with SQL."""

import leeroo

SCHEMA = """{
    "type": "object",
    "properties": {
        "product": {"type": "string", "maxLength": 20},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5}
    },
    "required": ["product", "stars"]
}"""
REVIEWS = [
    "The kettle boils in a minute and looks lovely. Five stars.",
    "My umbrella broke on the first windy day. One star.",
    None,
]

with leeroo.connect() as con:
    con.sql("CREATE TABLE reviews (id INTEGER, text VARCHAR)")
    con.executemany("INSERT INTO reviews VALUES (?, ?)", list(enumerate(REVIEWS)))
    con.execute("CREATE TABLE extracted AS SELECT *, leeroo_extract(text, ?) AS found FROM reviews", [SCHEMA])
    # Always valid under the schema; whether it is right depends on the model.
    columns = "found ->> 'product' AS product, (found ->> 'stars')::INTEGER AS stars"
    print(con.sql(f"SELECT id, {columns} FROM extracted ORDER BY id"))
