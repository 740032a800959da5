"""The two threads behind the endpoint: a clerk for what surrounds a batch, and one that rides the waves.

The clerk checks input files and writes output files. The rider takes lines of all open batches, the same number of
each, has the engine answer them together, and keeps what became of them; then it takes the next. Who is in a wave is
written down before it starts, so that a server that was killed in it starts with the same one, whose answers are in
the engine's store as far as it had come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import Interrupted, LeerooError
from leeroo.engine.schema import ANSWERS, ASK
from leeroo.serve import batches, files
from leeroo.serve.batches import Batch, Waiting
from leeroo.serve.database import Database
from leeroo.serve.lines import (
    FAILED,
    OK,
    Limits,
    Line,
    Refused,
    read_jsonl,
    read_parquet,
)
from leeroo.serve.metrics import Metrics
from leeroo.serve.results import result_line

# A wave takes about so long: as long as a new batch may have to wait for the first of its lines to be answered.
_WAVE_S = 20.0
_LEAST_ROWS, _FIRST_ROWS, _MOST_ROWS = 64, 1000, 20_000
# The clerk looks around at least so often; after trouble with the disk the rider waits so long.
_LOOK_S, _TROUBLE_S = 1.0, 5.0

_LINE = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("question", "subject", "category")),
        pa.field("private", pa.bool_()),
        pa.field("ask", pa.struct(list(ASK))),
    ]
)


Rows = list[tuple[Batch, Waiting]]


class Works:
    """Both threads; `start` them and, at the end, `stop` them.

    Args:
        db: Of the server.
        engine: With the pool.
        limits: Of the input files.
        metrics: Are told what was done.

    """

    def __init__(self, db: Database, engine: Engine, limits: Limits, metrics: Metrics) -> None:
        self._db, self._engine, self._limits, self._metrics = db, engine, limits, metrics
        self._models = frozenset(engine.pool.names)
        self._askable = {None, *self._models}
        self._rows_per_s: float | None = None
        self._ending = threading.Event()
        self._to_clerk, self._to_rider = threading.Event(), threading.Event()
        self._log = structlog.get_logger("leeroo.serve")
        self._threads = [
            threading.Thread(target=self._run, args=(step, news, name), name=f"leeroo-{name}", daemon=True)
            for step, news, name in ((self._clerk, self._to_clerk, "clerk"), (self._rider, self._to_rider, "rider"))
        ]

    def start(self) -> None:
        """Go on with what is there, and wait for more."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End at once: a wave under way is taken up at the next start."""
        self._ending.set()
        self._to_clerk.set()
        self._to_rider.set()
        clerk, rider = self._threads
        while rider.is_alive():
            if rider.ident is not None:
                self._engine.interrupt(rider.ident)
            rider.join(timeout=0.2)
        clerk.join()

    def alive(self) -> bool:
        """Whether both are at work."""
        return all(thread.is_alive() for thread in self._threads)

    def news(self) -> None:
        """A batch is new, or to be cancelled."""
        self._to_clerk.set()

    def _run(self, step: Callable[[], bool], news: threading.Event, name: str) -> None:
        """Take steps while they come to something, else wait for news."""
        while not self._ending.is_set():
            news.clear()
            try:
                moved = step()
            except Interrupted:
                break
            except LeerooError as error:
                self._log.error(f"{name}_in_trouble", reason=str(error))
                self._ending.wait(_TROUBLE_S)
                continue
            except Exception:  # noqa: BLE001 - a mistake of ours in one step must not end the thread
                self._log.exception(f"{name}_failed")
                self._ending.wait(_TROUBLE_S)
                continue
            if not moved:
                news.wait(timeout=_LOOK_S)

    def _clerk(self) -> bool:
        """Check what is new, and finish what is answered, cancelled or past its time."""
        moved = False
        for batch in batches.in_state(self._db, *batches.OPEN):
            try:
                moved |= self._attend(batch)
            except (LeerooError, OSError):
                raise
            except Exception:  # noqa: BLE001 - what we cannot do for one batch costs no other
                self._log.exception("batch_failed", batch=batch.id)
                why = "the server could not work with this file"
                batches.refuse(self._db, batch, [{"code": "server_error", "line": None, "message": why, "param": None}])
        return moved

    def _attend(self, batch: Batch) -> bool:
        """Do what there is to do for an open batch; tells whether that was anything."""
        if batch.status == "validating":
            self._validate(batch)
            self._to_rider.set()
        elif batch.status == "in_progress":
            if batch.completed + batch.failed < batch.total and batch.expires_at >= time.time():
                return False
            batches.finalizing(self._db, batch)
        elif batches.rides(self._db, batch):
            return False
        else:
            self._finish(batch)
        return True

    def _validate(self, batch: Batch) -> None:
        path = files.path_of(self._db, batch.input_file_id)
        try:
            batches.admit(self._db, batch, self._lines(batch, path))
        except FileNotFoundError:
            refused = Refused("missing_file", "the input file was deleted")
        except Refused as error:
            refused = error
        else:
            return
        told = {name: getattr(refused, name) for name in ("code", "line", "message", "param")}
        batches.refuse(self._db, batch, [told])
        self._metrics.ended("failed")
        self._log.info("batch_refused", batch=batch.id, **told)

    def _lines(self, batch: Batch, path: Path) -> Iterator[Line]:
        if batch.form == "parquet":
            return read_parquet(path, self._limits)
        return read_jsonl(path, batch.endpoint, self._models, self._limits)

    def _rider(self) -> bool:
        """Ride one wave."""
        rate = self._rows_per_s
        room = _FIRST_ROWS if rate is None else int(min(max(rate * _WAVE_S, _LEAST_ROWS), _MOST_ROWS))
        wave = batches.embark(self._db, room)
        if wave is None:
            return False
        began, rows = time.monotonic(), 0
        for budget, together in self._groups(batches.riding(self._db, wave)):
            self._ride(together, budget)
            rows += len(together)
            self._to_clerk.set()
        rate = rows / max(time.monotonic() - began, 1e-3)
        self._rows_per_s = rate if self._rows_per_s is None else (self._rows_per_s + rate) / 2
        return True

    def _groups(self, riding: dict[int, list[Waiting]]) -> Iterator[tuple[float | None, Rows]]:
        """Rows for one call of the engine: of batches with the same weights; those of one with a budget alone."""
        together: dict[tuple[float, float], Rows] = {}
        for number, lines in riding.items():
            batch = batches.by_number(self._db, number)
            rows = [(batch, line) for line in lines]
            if batch.max_cost_usd is None:
                together.setdefault((batch.cost_weight, batch.latency_weight), []).extend(rows)
                continue
            # Lines ride in a random order, so that a part of them is worth that part of what is left.
            left = max(0.0, batch.max_cost_usd - batch.cost_usd)
            yield left * len(rows) / max(1, batches.waiting(self._db, number)), rows
        yield from ((None, rows) for rows in together.values())

    def _ride(self, rows: Rows, budget: float | None) -> None:
        """Have rows answered and keep what became of them."""
        try:
            told = self._answers(rows, budget)
        except (LeerooError, OSError):
            raise
        except Exception:  # noqa: BLE001 - a row that we cannot work with costs no other
            self._log.exception("rows_failed", rows=len(rows))
            if len(rows) > 1:
                half = len(rows) // 2
                for part in (rows[:half], rows[half:]):
                    self._ride(part, None if budget is None else budget * len(part) / len(rows))
                return
            told = [_nothing("the server could not work with this line")]
        settled = zip(rows, told, strict=True)
        batches.settle(self._db, [(batch.number, line.line, answer) for (batch, line), answer in settled])
        self._engine.delivered()
        self._metrics.answered(told)

    def _answers(self, rows: Rows, budget: float | None) -> list[dict[str, Any]]:
        """A row of the answers table for each."""
        criteria = Criteria(
            column="question",
            private_column="private",
            ask_column="ask",
            max_cost_usd=budget,
            cost_weight=rows[0][0].cost_weight,
            latency_weight=rows[0][0].latency_weight,
        )
        # The pool may be another than when the batch was checked.
        known = [line.asked.get("expert") in self._askable for _, line in rows]
        table = _table([row for row, there in zip(rows, known, strict=True) if there])
        answered = self._engine.answer(table.to_reader(), criteria).read_all().select(ANSWERS.names)
        answers = iter(answered.to_pylist())
        return [
            next(answers) if there else _nothing(f"there is no model {line.asked['expert']!r} any more")
            for (_, line), there in zip(rows, known, strict=True)
        ]

    def _finish(self, batch: Batch) -> None:
        """Write the files of a batch, and end it."""
        undone = {
            "cancelling": ("batch_cancelled", "the batch was cancelled before this line was come to"),
        }.get(batch.status, ("batch_expired", "the batch was past its completion window before this line was come to"))
        if batch.form == "parquet":
            output, errors, whole = self._write_parquet(batch, undone)
        else:
            output, errors, whole = self._write_jsonl(batch, undone)
        status = "cancelled" if batch.status == "cancelling" else "completed" if whole else "expired"
        batches.finish(self._db, batch, status, output, errors)
        self._metrics.ended(status)
        self._log.info("batch_ended", batch=batch.id, status=status, rows=batch.total, cost_usd=batch.cost_usd)

    def _write_jsonl(self, batch: Batch, undone: tuple[str, str]) -> tuple[str | None, str | None, bool]:
        code, reason = undone
        counts = {True: 0, False: 0}
        whole = True
        with files.writing(self._db) as output, files.writing(self._db) as errors:
            for line, custom_id, status, told in batches.results(self._db, batch):
                if status is None or told is None:
                    status, told, whole = FAILED, {"code": code, "error": reason}, False
                elif status == FAILED:
                    told = {"code": "request_failed", "error": told["error"]}
                created = batch.in_progress_at or batch.created_at
                text = result_line(batch.id, batch.endpoint, created, line, custom_id, status, told)
                into = output.file if status == OK else errors.file
                into.write(text.encode("utf-8", "replace") + b"\n")
                counts[status == OK] += 1
            return (
                files.keep(self._db, output, batch, f"{batch.id}_output.jsonl") if counts[True] else None,
                files.keep(self._db, errors, batch, f"{batch.id}_errors.jsonl") if counts[False] else None,
                whole,
            )

    def _write_parquet(self, batch: Batch, undone: tuple[str, str]) -> tuple[str | None, str | None, bool]:
        """The input with the columns of the answers after its own."""
        source = files.path_of(self._db, batch.input_file_id)
        whole, rows = True, []
        for _, _, status, told in batches.results(self._db, batch):
            if status is None or told is None:
                told, whole = _nothing(undone[1]), False
            elif "answer" not in told:
                told = _nothing(told["error"])
            rows.append(told)
        if not source.exists() or not rows:
            return None, None, whole
        table = pq.read_table(source)
        prefix = ""
        while {prefix + name for name in ANSWERS.names} & set(table.column_names):
            prefix += "leeroo_"
        answers = pa.Table.from_pylist(rows, schema=ANSWERS)
        for name in ANSWERS.names:
            table = table.append_column(prefix + name, answers.column(name))
        with files.writing(self._db) as output:
            output.file.close()
            pq.write_table(table, output.path, compression="zstd")
            return files.keep(self._db, output, batch, f"{batch.id}_output.parquet"), None, whole


def _table(rows: Rows) -> pa.Table:
    """Lines of several batches as rows for the engine."""
    told = [
        {
            **{name: line.asked.get(name) for name in ("question", "subject", "category")},
            "private": batch.private,
            "ask": {name: line.asked.get(name) for name in ASK.names},
        }
        for batch, line in rows
    ]
    return pa.Table.from_pylist(told, schema=_LINE)


def _nothing(error: str) -> dict[str, Any]:
    """A row of the answers table without an answer."""
    return {
        **dict.fromkeys(ANSWERS.names),
        "cost_usd": 0.0,
        "list_cost_usd": 0.0,
        "finish_reason": "error",
        "error": error,
    }
