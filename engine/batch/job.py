"""What one run knows while it is under way: the state that the stages after the forecast share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from leeroo.engine.batch.budget import Ledger
from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.forecast import Forecast
from leeroo.engine.batch.plan import Wave
from leeroo.engine.batch.price import floats
from leeroo.engine.batch.progress import ExpertTotals, Meter
from leeroo.engine.batch.prompts import Spool
from leeroo.engine.batch.scratch import Scratch
from leeroo.engine.errors import ExpertUnavailable, Interrupted
from leeroo.engine.pool import Expert
from leeroo.engine.store.runs import Run
from leeroo.engine.store.store import Store

# What is known of a distinct question once it has its answer or its error. `expert` is the candidate's
# position, NULL when nobody was asked; costs are in USD for asking once.
SETTLED = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("expert", pa.int32()),
        pa.field("predicted_score", pa.float64()),
        pa.field("answer", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("cost_usd", pa.float64()),
        pa.field("list_cost_usd", pa.float64()),
        pa.field("latency_ms", pa.float64()),
        pa.field("finish_reason", pa.string()),
        pa.field("error", pa.string()),
        pa.field("recorded_score", pa.float64()),
        pa.field("choice_logprobs", pa.list_(pa.float64())),
        pa.field("logprobs", pa.string()),
    ]
)

# Settled rows gather in memory up to this many before they go to the scratch database.
_FLUSH_ROWS = 8192
# How often the store is looked at for answers that other runs have asked for.
_OTHERS_S = 0.5


@dataclass
class Job:
    """One run. Arrays over distinct questions have length n, over candidates length e."""

    criteria: Criteria
    scratch: Scratch
    store: Store
    run: Run
    spool: Spool
    experts: tuple[Expert, ...]
    fingerprints: tuple[str, ...]
    waves: list[Wave]
    usd_per_m: np.ndarray  # [e, 3] `price.prices`
    forecast: Forecast
    ledger: Ledger
    meter: Meter
    rows: np.ndarray  # [n] input rows with this question
    private: np.ndarray  # [n] bool
    pinned: np.ndarray  # [n] position of the expert the row asks for itself, -1 for none
    open: np.ndarray  # [n] bool: without answer or error yet
    down: dict[int, str] = field(default_factory=dict)  # candidates that cannot answer now, and why
    bounced: dict[int, dict[int, str]] = field(default_factory=dict)  # question: who could not take it, and why
    answered: set[int] = field(default_factory=set)  # candidates that have answered
    billed: dict[int, float] = field(default_factory=dict)  # question: USD for requests that brought it no end
    binding: bool = False  # whether more money would have bought better answers, when last chosen
    taken_up: bool = False  # what a killed attempt had paid for is settled
    stop: threading.Event = field(default_factory=threading.Event)  # set by whoever wants the run to stop
    halt: threading.Event = field(default_factory=threading.Event)  # tells the lanes to hand out nothing more
    anew: bool = False  # what is open should be chosen anew, before more is handed out
    sent: int = 0  # requests handed out since the last choice
    refused: int = 0  # and those that another run is asking already
    lock: threading.RLock = field(default_factory=threading.RLock)  # held by the lane that changes what they share
    _buffer: list[pa.Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.back = threading.Condition(self.lock)  # notified when answers come back

    def look(self) -> None:
        """Look whether to go on.

        Raises:
            Interrupted: somebody wants the run to stop.

        """
        if self.stop.is_set():
            raise Interrupted

    def wait_for_others(self) -> None:
        """Wait a moment where all that is open is being asked by other runs: their answers will be in the store."""
        if self.refused and not self.sent:
            self.meter.warn("another run is asking for some of the rows: its answers are awaited")
            self.meter.report()
            self.stop.wait(_OTHERS_S)

    def lose(self, experts: tuple[int, ...], why: str) -> None:
        """These candidates cannot answer any more; their rows go to others."""
        names = ", ".join(self.experts[i].name for i in experts)
        with self.lock:
            self.down.update(dict.fromkeys(experts, why))
            self.meter.lose({self.experts[i].name: why for i in experts if i not in self.answered})
            if self.criteria.on_expert_down == "fail":
                raise ExpertUnavailable(f"{names} cannot answer: {why}")
            self.meter.warn(f"{names} cannot answer, its rows go to the next best: {why}")

    def bill(self, ids: list[int], costs: list[float]) -> None:
        """Requests were billed and brought these questions no end: whatever does costs so much more, in USD."""
        for question, usd in zip(ids, costs, strict=True):
            self.billed[question] = self.billed.get(question, 0.0) + usd

    def settle(self, table: pa.Table, *, stored: bool = False) -> None:
        """These questions have their answer or their error (`SETTLED`)."""
        ids = table.column("id").to_numpy()
        self.open[ids] = False
        self._buffer.append(self._with_billed(table, ids))
        if sum(chunk.num_rows for chunk in self._buffer) >= _FLUSH_ROWS:
            self.flush()
        self._count(table, self.rows[ids], stored)

    def _with_billed(self, table: pa.Table, ids: np.ndarray) -> pa.Table:
        """The same with what earlier requests for these questions have cost."""
        if not self.billed:
            return table
        more = np.array([self.billed.pop(question, 0.0) for question in ids.tolist()])
        cost = pa.array(np.nan_to_num(floats(table, "cost_usd")) + more)
        return table.set_column(SETTLED.get_field_index("cost_usd"), SETTLED.field("cost_usd"), cost)

    def _count(self, table: pa.Table, rows: np.ndarray, stored: bool) -> None:
        asked = table.column("expert").fill_null(-1).to_numpy()
        failed = table.column("error").is_valid().to_numpy()
        if failed.any():
            errors = table.column("error").filter(pa.array(failed)).to_pylist()
            self.meter.fail(zip(errors, rows[failed].tolist(), strict=True))
        names = ("prompt_tokens", "completion_tokens", "cost_usd", "list_cost_usd")
        values = {name: np.nan_to_num(floats(table, name)) for name in names}
        values["list_cost_usd"] = values["list_cost_usd"] * rows
        for expert in np.unique(asked).tolist():
            of = asked == expert
            free = of & (values["cost_usd"] == 0) & ~failed if stored else np.zeros(len(of), bool)
            self.meter.settle(
                self.experts[expert].name if expert >= 0 else None,
                ExpertTotals(
                    int(rows[of].sum()),
                    int(values["prompt_tokens"][of].sum()),
                    int(values["completion_tokens"][of].sum()),
                    float(values["cost_usd"][of].sum()),
                    float(values["list_cost_usd"][of].sum()),
                ),
                stored=int(rows[free].sum()),
                fresh=not stored,
            )

    def fail(self, ids: np.ndarray, reasons: list[str], expert: np.ndarray | None = None) -> None:
        """These questions end with an error and no answer."""
        n = len(ids)
        columns = {
            "id": pa.array(ids, pa.int64()),
            "expert": pa.array(expert, pa.int32()) if expert is not None else pa.nulls(n, pa.int32()),
            "cost_usd": pa.array(np.zeros(n)),
            "list_cost_usd": pa.array(np.zeros(n)),
            "finish_reason": pa.array(["error"] * n),
            "error": pa.array(reasons, pa.string()),
        }
        self.settle(
            pa.Table.from_arrays(
                [columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in SETTLED],
                schema=SETTLED,
            )
        )

    def flush(self) -> None:
        """Write what gathered to the table `settled` of the scratch database."""
        if self._buffer:
            chunk = pa.concat_tables(self._buffer)
            self._buffer.clear()
            cursor = self.scratch.cursor()
            cursor.register("chunk", chunk)
            cursor.execute("INSERT INTO settled SELECT * FROM chunk")
            cursor.unregister("chunk")
