"""Results of semantic operations, in one form for all of them, and the limit on candidates."""

from __future__ import annotations

import pyarrow as pa

from leeroo.engine.errors import UsageError

# The most candidates of one operation: more would take days to decide.
MOST_CANDIDATES = 10_000_000

# A join has the rows of a pair on both sides. Of duplicates the right one is the representative, and `number` is the
# group. A ranking has a row on the left, and `number` is its rank.
MATCHES = pa.schema(
    [
        pa.field("left", pa.string()),
        pa.field("right", pa.string()),
        pa.field("number", pa.int64()),
        pa.field("similarity", pa.float64()),
        pa.field("confidence", pa.float64()),
        pa.field("expert", pa.string()),
        pa.field("cost_usd", pa.float64()),
        pa.field("recall", pa.float64()),
    ]
)


def check_candidates(count: int, made: str) -> None:
    """Check that an operation has not too many candidates.

    Raises:
        UsageError: it has.

    """
    if count > MOST_CANDIDATES:
        raise UsageError(
            f"up to {count:,} candidates ({made}) are more than the {MOST_CANDIDATES:,} that one statement may decide:"
            " give a smaller k, or fewer rows with a view that filters them first"
        )
