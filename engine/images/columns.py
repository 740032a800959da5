"""Images: which columns of the input hold some, and how a row refers to them until they are read.

A column of bytes holds images. A column of text never does unless the prompt says so, as in `{photo:image}`: no text of
a row can have a file read or sent by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.errors import InputError
from leeroo.engine.images.kept import KEPT, Shelf
from leeroo.engine.images.marks import with_marks
from leeroo.engine.images.references import as_reference, text_reference
from leeroo.engine.schema import ASK
from leeroo.engine.tables.values import as_text, is_text

# Texts that are most likely meant as images.
_LIKE_A_PATH = re.compile(r"data:image/|\S.{0,1000}\.(png|jpe?g|webp|gif|bmp|tiff?)\s*$", re.IGNORECASE)
# Texts in which images have places.
_TEXTS = ("fields", "prompt")


def is_image(kind: pa.DataType) -> bool:
    """Return whether values of this Arrow type are images: bytes, or structs with them as Hugging Face writes."""
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_bytes(kind.field(at).type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(of_this_kind(kind) for of_this_kind in kinds)


def references_of(column: pa.Array) -> pa.Array:
    """Return a column of images as references; text is that already."""
    if is_text(column.type):
        texts = [None if each is None else text_reference(each) for each in as_text(column).to_pylist()]
        return pa.array(texts, pa.string())
    data = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
    given = [None if each is None else as_reference(each) for each in data.to_pylist()]
    return pa.array(given, pa.large_string())


def check_images(schema: pa.Schema, names: Sequence[str]) -> None:
    """Check that columns which a prompt marks as images can be some.

    Raises:
        InputError: one holds neither bytes nor text.

    """
    for name in names:
        kind = schema.field(name).type
        if not is_image(kind) and not is_text(kind):
            raise InputError(f"the column {name!r} is of type {kind}; an image is bytes, or the text of a path")


def looks_like_paths(rows: pa.RecordBatch, names: Sequence[str]) -> Iterator[str]:
    """Yield a line for each of these columns whose texts look like images and are sent as they are written."""
    for name in names:
        column = rows.column(name)
        if is_text(column.type):
            first = next((each for each in as_text(column.slice(0, 16)).to_pylist() if each), "")
            if _LIKE_A_PATH.match(first):
                yield f"the column {name!r} is sent as text: write {{{name}:image}} to show the images that it names"


def with_images(questions: pa.Array, asks: pa.StructArray, shelf: Shelf) -> tuple[pa.Array, pa.StructArray]:
    """Return rows with their images read and kept, and with marks of these in the places of their texts."""
    at = ASK.get_field_index("images")
    columns = [asks.field(i) for i in range(len(ASK))]
    kinds = [f.with_type(pa.list_(KEPT)) if f.name == "images" else f for f in ASK]
    given = columns[at]
    if given.null_count == len(given):
        columns[at] = pa.nulls(len(given), pa.list_(KEPT))
        return questions, pa.StructArray.from_arrays(columns, fields=kinds)
    kept = shelf.keep(given.to_pylist())
    digests = [None if row is None else [image.digest for image in row] for row in kept]
    columns[at] = pa.array([None if row is None else [each._asdict() for each in row] for row in kept], pa.list_(KEPT))
    for name in _TEXTS:
        place = ASK.get_field_index(name)
        columns[place] = _marked(columns[place], digests)
    return _marked(questions, digests), pa.StructArray.from_arrays(columns, fields=kinds)


def _marked(texts: pa.Array, digests: Sequence[list[str] | None]) -> pa.Array:
    """Return texts with the marks of their rows' images."""
    rows: Any = zip(texts.to_pylist(), digests, strict=True)
    return pa.array([text if not text or not own else with_marks(text, own) for text, own in rows], pa.string())
