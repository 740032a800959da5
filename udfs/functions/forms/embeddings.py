"""Vectors of texts, as lists of numbers; the macros cast them to FLOAT[n]."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.udfs.functions.forms.form import TEXT, Columns, Form, RowQuestions, arguments_of, as_known, distinct


def read_texts(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_embed`: text, the expert that embeds (NULL: the router's encoder), and its arguments.

    A blank text has no vector.
    """
    texts, models, *given = columns
    codes, rows = distinct([models, *given], len(texts))
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    arguments = [arguments_of("embeddings", row, model=model) for model, *row in rows]
    return RowQuestions(pc.if_else(blank, None, texts), codes, arguments)


FORMS = {
    "embeddings": Form("embeddings", read_texts, as_known, (TEXT, TEXT), pa.list_(pa.float32()), "embeddings", "vector")
}
