"""A run: its plan, which never changes, and its state, which every stage after the forecast reads and changes."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from leeroo.engine.backends.select import capabilities
from leeroo.engine.batch.budget import Ledger
from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.forecast import Forecast
from leeroo.engine.batch.plan import Wave
from leeroo.engine.batch.price import Prices, floats
from leeroo.engine.batch.progress import ExpertTotals, Meter
from leeroo.engine.batch.prompts import Input
from leeroo.engine.batch.worktable import RESULTS, Facts, Worktable
from leeroo.engine.errors import ExpertUnavailable, Interrupted
from leeroo.engine.pool import Expert
from leeroo.engine.store.caps import Cap, beyond
from leeroo.engine.store.runs import Run
from leeroo.engine.store.store import Store

# Results gather in memory up to this many before they go to the worktable.
_FLUSH_ROWS = 8192
# Seconds between two looks at the store for answers that other runs have requested.
_OTHERS_S = 0.5
# Looks at the store without any progress, after which money that other runs hold under a spending cap counts as spent.
_PATIENCE = 20


@dataclass(frozen=True)
class RunPlan:
    """All that is fixed before the first choice; arrays have length n (distinct questions) or e (candidates).

    Attributes:
        experts: The candidates; everywhere else an expert is its position here.
        fingerprints: Of the candidates.
        waves: One for each engine, from the cheapest to the most expensive.
        prices: Of the candidates.
        facts: Of the questions.

    """

    criteria: Criteria
    input: Input
    experts: tuple[Expert, ...]
    fingerprints: tuple[str, ...]
    waves: list[Wave]
    prices: Prices
    forecast: Forecast
    facts: Facts


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
        caps: The spending caps that count what this run spends, as they stood at the last look; empty before the first.
        leaves: [e] USD that they leave for each expert.
        withheld: Whether requests were held back since the last choice, because other runs hold money under a cap.
        lock: Held by the lane that changes what lanes share.
        back: Notified when answers come back.
        due: When no answer is awaited from a batch any more, in seconds of the epoch.
        detached: Whether the run hands its batches in, and does not wait for them.
        parked: By question, the expert that has it in an open batch of this run.
        fresh: Requests sent since the last choice that were in no open batch.
        passed_on: Requests since then that bounced: their questions are open again.

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
    due: float | None = None
    detached: bool = False
    parked: dict[int, int] = field(default_factory=dict)
    fresh: int = 0
    passed_on: int = 0
    caps: Sequence[Cap] = ()
    withheld: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)
    _buffer: list[pa.Table] = field(default_factory=list)
    _waits: int = 0  # for others, one after the other

    def __post_init__(self) -> None:
        self.back = threading.Condition(self.lock)
        self.leaves = np.full(len(self.plan.experts), np.inf)

    def check_stop(self) -> None:
        """Raise `Interrupted` when the run shall stop."""
        if self.stop.is_set():
            raise Interrupted

    def wait_for_others(self) -> None:
        """Wait a moment where other runs have all open requests, or the money for them, under way."""
        self._waits = self._waits + 1 if self.withheld and not self.sent else 0
        if self.sent or not (self.refused or self.withheld):
            return
        if self.refused:
            self.meter.warn("another run is asking for some of the rows: its answers are awaited")
        if self.withheld:
            self.meter.warn("other runs hold what a spending cap leaves: their answers are awaited")
        self.meter.report()
        self.stop.wait(_OTHERS_S)

    @property
    def impatient(self) -> bool:
        """Whether money that other runs hold under a spending cap counts as spent."""
        return self._waits >= _PATIENCE

    def read_caps(self) -> None:
        """Read what the spending caps of the store leave; nothing is in flight meanwhile."""
        used = math.fsum(cap.used for cap in self.caps)
        self.caps = self.store.caps(self.run.owner)
        if math.fsum(cap.used for cap in self.caps) != used:
            self._waits = 0
        left = [cap.room if self.impatient else cap.left for cap in self.caps]
        for i, expert in enumerate(self.plan.experts):
            counting = [most for cap, most in zip(self.caps, left, strict=True) if cap.counts(expert.name)]
            self.leaves[i] = min(counting, default=np.inf)
        for_all = [most for cap, most in zip(self.caps, left, strict=True) if not cap.expert]
        self.ledger.ceiling = self.ledger.spent + min(for_all, default=np.inf)

    def beyond_caps(self, expected: np.ndarray) -> list[str]:
        """Return a line for each cap that leaves less than what is planned is expected to cost, float64 [e]."""
        names = [expert.name for expert in self.plan.experts]
        return beyond(self.caps, dict(zip(names, expected.tolist(), strict=True)))

    def lose(self, experts: Sequence[int], why: str) -> None:
        """Note that these experts cannot answer any more; their rows go to others.

        Raises:
            ExpertUnavailable: the criteria say that the run then fails.

        """
        named = self.plan.experts
        names = ", ".join(named[i].name for i in experts)
        with self.lock:
            self.passed_on += 1
            self.down.update(dict.fromkeys(experts, why))
            self.meter.lose({named[i].name: why for i in experts if i not in self.answered})
            if self.plan.criteria.on_expert_down == "fail":
                raise ExpertUnavailable(f"{names} cannot answer: {why}")
            self.meter.warn(f"{names} cannot answer, its rows go to the next best: {why}")

    def find_parked(self) -> None:
        """Find the open questions that open batches of this run have, and hold what these can cost.

        Whoever has them is asked for them again, and nobody else, until it turns out that nothing comes of them.
        """
        if not any(capabilities(expert).waits_hours for expert in self.plan.experts):
            return
        lines = self.store.lines_of_run(self.run.run)
        found = self.worktable.parked(lines) if lines else {}
        self.parked = {
            question: expert for question, expert in found.items() if self.open[question] and expert not in self.down
        }
        ids, experts = (np.array(list(each), np.int64) for each in (self.parked.keys(), self.parked.values()))
        self.ledger.park(experts, self.plan.forecast.at_most[ids, experts].astype(np.float64))

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
        self._count(results, self.plan.facts.rows[ids], stored)

    def fail_all(self, reasons: Mapping[int, str]) -> None:
        """End these questions with an error and no answer."""
        if not reasons:
            return
        nothing = {"cost_usd": 0.0, "list_cost_usd": 0.0, "finish_reason": "error"}
        rows = [{"id": question, **nothing, "error": why} for question, why in reasons.items()]
        self.resolve(pa.Table.from_pylist(rows, schema=RESULTS))

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
        prompt, completion, cost, list_cost = (np.nan_to_num(floats(results, name)) for name in names)
        free = rows * ((cost == 0) & ~failed) if stored else np.zeros(len(rows))
        facts = np.stack([rows, prompt, completion, cost, list_cost * rows, free])
        for expert in np.unique(experts).tolist():
            n, prompts, completions, usd, list_usd, n_free = facts[:, experts == expert].sum(axis=1).tolist()
            self.meter.resolve(
                self.plan.experts[expert].name if expert >= 0 else None,
                ExpertTotals(int(n), int(prompts), int(completions), usd, list_usd),
                stored=int(n_free),
                fresh=not stored,
            )
