"""Open batches, for people and programs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from leeroo.reports.report import Table, columns
from leeroo.reports.terminal import print_table


def print_batches(batches: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print the open batches (`Store.batches`): as one JSON object, or as a table."""
    shown = [_facts(batch) for batch in batches]
    if as_json:
        print(json.dumps({"batches": shown}))
        return
    if not shown:
        print("no open batches")
        return
    names = columns("expert | batch | lines: count | done: count | to collect: count | submitted (UTC) | age | status")
    rows = [
        (
            each["expert"],
            each["batch"] or "-",
            each["lines"],
            each["done"],
            each["left"],
            "-" if each["submitted"] is None else each["submitted"][:16].replace("T", " "),
            "-" if each["age_s"] is None else _age(each["age_s"]),
            each["status"],
        )
        for each in shown
    ]
    print_table(Table("", names, rows))


def _facts(batch: dict[str, Any]) -> dict[str, Any]:
    submitted = batch["submitted"]
    at = None if submitted is None else datetime.fromtimestamp(submitted, UTC).isoformat(timespec="seconds")
    return {
        "expert": batch["expert"],
        "batch": batch["remote"],
        "lines": batch["lines"],
        "done": batch["done"],
        "left": batch["left"],
        "submitted": at,
        "age_s": None if submitted is None else round(time.time() - submitted),
        "status": batch["status"] or ("submitted" if batch["remote"] else "being submitted"),
    }


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
