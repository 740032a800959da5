"""Single values of records: texts, numbers, dates and times, by the names that DuckDB has for their types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pyarrow as pa

Schema = dict[str, Any]


@dataclass(frozen=True)
class Scalar:
    """Values of one type."""

    sql: str
    arrow: pa.DataType
    schema: Schema
    convert: Callable[[Any], Any]

    def read(self, value: Any) -> Any:
        """Convert a value; raises ValueError."""
        try:
            return self.convert(value)
        except (ValueError, TypeError, ArithmeticError):
            raise ValueError(f"{value!s:.80} is no {self.sql}") from None


def _whole(bits: int, *, signed: bool) -> Callable[[Any], int]:
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)

    def convert(value: Any) -> int:
        number = int(value)
        if not least <= number <= most or number != value:
            raise ValueError
        return number

    return convert


def _date(value: str) -> date:
    # Models may write the time of a date too.
    return date.fromisoformat(value) if len(value) == len("2024-05-31") else datetime.fromisoformat(value).date()


def _timestamp(value: str) -> datetime:
    """Read a time as it is written, without its zone."""
    return datetime.fromisoformat(value).replace(tzinfo=None)


def _instant(value: str) -> datetime:
    read = datetime.fromisoformat(value)
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def decimal(digits: int, places: int) -> Scalar:
    """Return decimal numbers with this many digits, some of them after the point; others are rounded."""

    def convert(value: Any) -> Decimal:
        rounded = Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        if len(rounded.as_tuple().digits) > digits:
            raise ValueError
        return rounded

    return Scalar(f"DECIMAL({digits},{places})", pa.decimal128(digits, places), {"type": "number"}, convert)


def _text(form: str | None = None) -> Schema:
    return {"type": "string"} if form is None else {"type": "string", "format": form}


_INTEGERS: Sequence[tuple[str, pa.DataType, int, bool]] = (
    ("TINYINT", pa.int8(), 8, True),
    ("SMALLINT", pa.int16(), 16, True),
    ("INTEGER", pa.int32(), 32, True),
    ("BIGINT", pa.int64(), 64, True),
    ("UTINYINT", pa.uint8(), 8, False),
    ("USMALLINT", pa.uint16(), 16, False),
    ("UINTEGER", pa.uint32(), 32, False),
    ("UBIGINT", pa.uint64(), 64, False),
)
# By the name that DuckDB has for a type.
SCALARS: dict[str, Scalar] = {
    each.sql: each
    for each in (
        Scalar("VARCHAR", pa.string(), _text(), str),
        Scalar("BOOLEAN", pa.bool_(), {"type": "boolean"}, bool),
        Scalar("FLOAT", pa.float32(), {"type": "number"}, float),
        Scalar("DOUBLE", pa.float64(), {"type": "number"}, float),
        Scalar("DATE", pa.date32(), _text("date"), _date),
        Scalar("TIME", pa.time64("us"), _text("time"), lambda value: time.fromisoformat(value).replace(tzinfo=None)),
        Scalar("TIMESTAMP", pa.timestamp("us"), _text("date-time"), _timestamp),
        Scalar("TIMESTAMP WITH TIME ZONE", pa.timestamp("us", "UTC"), _text("date-time"), _instant),
        *(
            Scalar(name, arrow, {"type": "integer"}, _whole(bits, signed=signed))
            for name, arrow, bits, signed in _INTEGERS
        ),
    )
}
