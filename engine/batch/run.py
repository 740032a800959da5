"""A run: its plan, which never changes, and its state, which every stage after the forecast reads and changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from leeroo.engine.batch.budget import Ledger
from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.forecast import Forecast
from leeroo.engine.batch.plan import Wave
from leeroo.engine.batch.price import floats
from leeroo.engine.batch.progress import ExpertTotals, Meter
from leeroo.engine.batch.prompts import Input
from leeroo.engine.batch.worktable import RESULTS, Worktable
from leeroo.engine.errors import ExpertUnavailable, Interrupted
from leeroo.engine.pool import Expert
from leeroo.engine.store.runs import Run
from leeroo.engine.store.store import Store

# Results gather in memory up to this many before they go to the worktable.
_FLUSH_ROWS = 8192
# Seconds between two looks at the store for answers that other runs have requested.
_OTHERS_S = 0.5


@dataclass(frozen=True)
class RunPlan:
    """All that is fixed before the first choice; arrays have length n (distinct questions) or e (candidates).

    Attributes:
        experts: The candidates; everywhere else an expert is its position here.
        fingerprints: Of the candidates.
        waves: One for each engine, from the cheapest to the most expensive.
        usd_per_m: [e, 3] `price.prices`.
        rows: [n] rows of the input with this question.
        private: [n] bool.
        named: [n] position of the expert that the row names, -1 for none.
        excluded: By question, the experts that may not answer it.
        limit_usd: [n] the most that an answer may be expected to cost; None where nothing limits it.

    """

    criteria: Criteria
    input: Input
    experts: tuple[Expert, ...]
    fingerprints: tuple[str, ...]
    waves: list[Wave]
    usd_per_m: np.ndarray
    forecast: Forecast
    rows: np.ndarray
    private: np.ndarray
    named: np.ndarray
    excluded: dict[int, set[int]]
    limit_usd: np.ndarray | None


@dataclass
class RunState:
    """All that changes while a run is under way, and the store, worktable and ledger that it works with.

    Attributes:
        open: [n] bool: questions without an answer or error.
        down: Experts that cannot answer, and why.
        bounced: By question, the experts that could not take it, and why.
        answered: Experts that have answered.
        billed: By question, USD for requests that brought no result.
        binding: Whether more money would have bought better answers, at the last choice.
        resumed: Whether answers paid for earlier were taken in.
        stop: Set by whoever wants the run to stop.
        halt: Set to keep lanes from sending more.
        anew: Whether open questions should be chosen for anew before more is sent.
        sent: Requests sent since the last choice.
        refused: Requests since then that another run has under way.
        lock: Held by the lane that changes what lanes share.
        back: Notified when answers come back.

    """

    plan: RunPlan
    worktable: Worktable
    store: Store
    run: Run
    ledger: Ledger
    meter: Meter
    open: np.ndarray
    stop: threading.Event
    down: dict[int, str] = field(default_factory=dict)
    bounced: dict[int, dict[int, str]] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    billed: dict[int, float] = field(default_factory=dict)
    binding: bool = False
    resumed: bool = False
    halt: threading.Event = field(default_factory=threading.Event)
    anew: bool = False
    sent: int = 0
    refused: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    _buffer: list[pa.Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.back = threading.Condition(self.lock)

    def check_stop(self) -> None:
        """Raise `Interrupted` when somebody wants the run to stop."""
        if self.stop.is_set():
            raise Interrupted

    def wait_for_others(self) -> None:
        """Wait a moment where other runs have all open requests under way: their answers will be in the store."""
        if self.refused and not self.sent:
            self.meter.warn("another run is asking for some of the rows: its answers are awaited")
            self.meter.report()
            self.stop.wait(_OTHERS_S)

    def lose(self, experts: Sequence[int], why: str) -> None:
        """Note that these experts cannot answer any more; their rows go to others.

        Raises:
            ExpertUnavailable: the criteria say that the run then fails.

        """
        named = self.plan.experts
        names = ", ".join(named[i].name for i in experts)
        with self.lock:
            self.down.update(dict.fromkeys(experts, why))
            self.meter.lose({named[i].name: why for i in experts if i not in self.answered})
            if self.plan.criteria.on_expert_down == "fail":
                raise ExpertUnavailable(f"{names} cannot answer: {why}")
            self.meter.warn(f"{names} cannot answer, its rows go to the next best: {why}")

    def bill(self, ids: Sequence[int], costs: Sequence[float]) -> None:
        """Add USD to these questions for requests that brought no result; their next result costs that much more."""
        for question, usd in zip(ids, costs, strict=True):
            self.billed[question] = self.billed.get(question, 0.0) + usd

    def resolve(self, results: pa.Table, *, stored: bool = False) -> None:
        """Keep the answers or errors of questions (`RESULTS`), which are open no more."""
        ids = results.column("id").to_numpy()
        self.open[ids] = False
        self._buffer.append(self._with_billed(results, ids))
        if sum(chunk.num_rows for chunk in self._buffer) >= _FLUSH_ROWS:
            self.flush()
        self._count(results, self.plan.rows[ids], stored)

    def fail_all(self, reasons: Mapping[int, str]) -> None:
        """End these questions with an error and no answer."""
        if not reasons:
            return
        n = len(reasons)
        columns = {
            "id": pa.array(reasons, pa.int64()),
            "cost_usd": pa.array(np.zeros(n)),
            "list_cost_usd": pa.array(np.zeros(n)),
            "finish_reason": pa.array(["error"] * n),
            "error": pa.array(reasons.values(), pa.string()),
        }
        results = [columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in RESULTS]
        self.resolve(pa.Table.from_arrays(results, schema=RESULTS))

    def flush(self) -> None:
        """Write the results gathered so far to the worktable."""
        if self._buffer:
            chunk = pa.concat_tables(self._buffer)
            self._buffer.clear()
            self.worktable.append(chunk)

    def _with_billed(self, results: pa.Table, ids: np.ndarray) -> pa.Table:
        """Return results with the cost of earlier requests for the same questions added."""
        if not self.billed:
            return results
        more = np.array([self.billed.pop(question, 0.0) for question in ids.tolist()])
        cost = pa.array(np.nan_to_num(floats(results, "cost_usd")) + more)
        return results.set_column(RESULTS.get_field_index("cost_usd"), RESULTS.field("cost_usd"), cost)

    def _count(self, results: pa.Table, rows: np.ndarray, stored: bool) -> None:
        experts = results.column("expert").fill_null(-1).to_numpy()
        failed = results.column("error").is_valid().to_numpy()
        if failed.any():
            errors = results.column("error").filter(pa.array(failed)).to_pylist()
            self.meter.fail(zip(errors, rows[failed].tolist(), strict=True))
        names = ("prompt_tokens", "completion_tokens", "cost_usd", "list_cost_usd")
        values = {name: np.nan_to_num(floats(results, name)) for name in names}
        values["list_cost_usd"] = values["list_cost_usd"] * rows
        for expert in np.unique(experts).tolist():
            of = experts == expert
            free = of & (values["cost_usd"] == 0) & ~failed if stored else np.zeros(len(of), bool)
            self.meter.resolve(
                self.plan.experts[expert].name if expert >= 0 else None,
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
