"""The choices of a table: how many rows go to each expert, and what they are expected to cost."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from leeroo.reports.report import Table, columns


class Routes:
    """Counts of a table with the columns of `schema.ROUTES`, while it is read.

    Attributes:
        experts: By name, the rows of each expert and their expected cost; rows without one are not counted.
    """

    def __init__(self, prefix: str) -> None:
        self.experts: dict[str, dict[str, float]] = {}
        self._expert, self._cost = f"{prefix}expert", f"{prefix}expected_cost_usd"

    def count(self, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return the same rows, which are counted as they are read."""
        return pa.RecordBatchReader.from_batches(rows.schema, self._counted(rows))

    def _counted(self, rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            sums = pa.table(batch).group_by(self._expert).aggregate([(self._cost, "sum"), (self._cost, "count")])
            for row in sums.to_pylist():
                if (name := row[self._expert]) is not None:
                    did = self.experts.setdefault(name, {"rows": 0, "expected_cost_usd": 0.0})
                    did["rows"] += row[f"{self._cost}_count"]
                    did["expected_cost_usd"] += row[f"{self._cost}_sum"] or 0.0
            yield batch

    def table(self) -> Table:
        """Return them as a table, the expert with most rows first."""
        found = sorted(self.experts.items(), key=lambda item: -item[1]["rows"])
        names = columns("expert | rows: count | expected cost USD: usd")
        return Table("", names, [(name, *did.values()) for name, did in found], empty="no row has an expert")
