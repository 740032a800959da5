"""The engine: a table of questions in, the same table with answers and their cost out.

Everything that answers questions calls `Engine.answer`: SQL, command line, server and jobs. The whole batch is known
before the first token is generated. So experts are chosen for all rows at once, equal rows are sent once, and every
model is loaded once.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from leeroo.engine.backends.identity import engine_key, fingerprint
from leeroo.engine.backends.protocol import Backend, Batching
from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities, connect, start_ahead, unavailable
from leeroo.engine.backends.workers.launch import close_ahead
from leeroo.engine.batch import plan as planning
from leeroo.engine.batch.assign import assign, compare_half
from leeroo.engine.batch.budget import Ledger
from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.execute import execute_all
from leeroo.engine.batch.explain import Estimate, estimate
from leeroo.engine.batch.forecast import forecast
from leeroo.engine.batch.keep import plan_left, read_stored, take_in
from leeroo.engine.batch.price import prices
from leeroo.engine.batch.progress import ExpertTotals, Listener, Meter, Progress
from leeroo.engine.batch.prompts import Input, check_columns, first_line, read_input
from leeroo.engine.batch.run import RunPlan, RunState
from leeroo.engine.batch.worktable import NO_ROOM, Worktable
from leeroo.engine.batch.write import append_columns, check_names
from leeroo.engine.errors import (
    Detached,
    ExpertUnavailable,
    Interrupted,
    OutputError,
    PoolError,
    RouterError,
    RowsFailed,
    UsageError,
)
from leeroo.engine.images.held import HeldImages
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.prior import Prior, prior_for
from leeroo.engine.paths import default_store
from leeroo.engine.pool import Expert, Pool, default_pool, default_router, load_pool
from leeroo.engine.schema import ANSWERS, ROUTES
from leeroo.engine.store.answers import ANSWERS_COUNTED
from leeroo.engine.store.runs import Run, release
from leeroo.engine.store.store import Store

__all__ = ["NO_ROUTER", "Criteria", "Engine", "Estimate", "Expected", "ExpertTotals", "Progress", "open_engine"]

Place = Literal["local", "ray"]

# The name of a router that stands for none: rows go to the pool's default.
NO_ROUTER = "none"

_RECORDED = pa.field("recorded_score", pa.float64())
_REASONING = pa.field("reasoning", pa.string())
# The probability of the answer among its choices, the log probability of each choice, and the tokens of the answer.
_CHOSEN = [
    pa.field("confidence", pa.float64()),
    pa.field("choice_logprobs", pa.list_(pa.float64())),
    pa.field("logprobs", pa.string()),
]


def answer_fields(experts: Sequence[Expert], criteria: Criteria) -> pa.Schema:
    """Return the columns that a run appends: `ANSWERS`, and those of replays, own arguments and kept reasoning."""
    replayed = any(capabilities(expert).recorded for expert in experts)
    chosen = _CHOSEN if criteria.ask_column is not None or criteria.decisions is not None else []
    thought = [_REASONING] if criteria.keep_reasoning else []
    return pa.schema([*ANSWERS, *([_RECORDED] if replayed else []), *chosen, *thought])


class _Delivering(threading.local):
    """The runs of a thread that are not finished yet, None outside of a delivery, and who pays for them."""

    runs: list[RunState] | None = None
    owner: str = ""


# Seconds that a batch takes, as long as none of its expert has ended: most providers name a day, and need an hour.
_BATCH_S = 3600.0

# The error of a row that had no answer when its call was stopped.
STOPPED = "not reached: the run was stopped"


class Engine:
    """A pool of experts with a router and an answer store; loaded models stay loaded until `close`.

    Threads may share an engine, and their calls run side by side. Models that hold memory of this device take turns.

    Args:
        pool: The experts.
        router: Predicts how well each answers; without one and without a prior, rows go to the pool's default.
        store: Folder of the answer store; made when it does not exist.
        on_progress: Called a few times a second with a `Progress`.
        place: Where models run: 'local', or 'ray' for the actors of a Ray cluster.
        prior: Stands in for a router; the first run that it chooses for says so in a warning.
        stop: Stops every call when another thread sets it, as `interrupt` does.

    Raises:
        OutputError: the store cannot be made or written.
        UsageError: the place is Ray, which is not installed.

    """

    def __init__(
        self,
        pool: Pool,
        router: Router | None = None,
        store: Path | None = None,
        on_progress: Listener | None = None,
        place: Place = "local",
        prior: Prior | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.pool = pool
        self.prior = prior if router is None else None
        self.router = self.prior.router if self.prior else router
        self._remarks = [self.prior.remark] if self.prior else []
        self.store = Store(store or default_store())
        self.images = HeldImages(self.store.scratch)
        self.on_progress = on_progress
        self._place = place
        self._stop = stop
        if place == "ray":
            from leeroo.engine.backends.ray import check_ray

            check_ray()
            self._engines = Engines(self.store.engine, _on_ray, alone=True)
        else:
            self._engines = Engines(self.store.engine)
        self._lock = threading.Lock()
        # The calls under way, each with the event that stops it.
        self._calls: list[tuple[threading.Thread, threading.Event]] = []
        self._delivering = _Delivering()

    @contextlib.contextmanager
    def answer(
        self,
        reader: pa.RecordBatchReader,
        criteria: Criteria,
        stop: threading.Event | None = None,
        *,
        partial: bool = False,
        send: bool = True,
        detach: bool = False,
    ) -> Iterator[pa.RecordBatchReader]:
        """Answer every row of a table.

        Use it as `with engine.answer(reader, criteria) as answers`. Everything is generated when the block begins; the
        rows then stream from disk, in the order and number of the input. Leaving the block without an error says that
        they are where they should be. Until then the run counts as unfinished, and the next one of the same job
        resumes it. See `delivery` for jobs that answer several times.

        Args:
            reader: The table.
            criteria: Columns, budget, weights and other conditions of the run.
            stop: Stops this call alone when another thread sets it, as `interrupt` does.
            partial: Return what is answered when the call is stopped; the other rows have the error `STOPPED`.
            send: Default: true. Otherwise nothing is sent, and the call counts as stopped once stored answers are read.
            detach: Hand in the batches of batch experts, answer all other rows, and do not wait; the next call of the
                same job collects.

        Yields:
            The table with the columns of `schema.ANSWERS` after its own. `recorded_score` comes too when recorded
            outcomes are replayed; `confidence`, `choice_logprobs` and `logprobs` when rows carry arguments of their
            own, which may be choices, or the criteria have decisions; `reasoning`, the text of thoughts, when the
            criteria keep it.

        Raises:
            Interrupted: the call was stopped; what was answered is in the store.
            InputError: the input lacks what the criteria name.
            PoolError: no expert that may be used can run here.
            OutputError: the store or the disk is full.
            Detached: `detach`, and rows are in open batches.
            RowsFailed: rows failed and `criteria.on_error` is "fail"; the answers are in the store.

        """
        with self.delivery() as finished:
            with self._call(stop) as stop, _workers_ahead():
                state = self._start(reader, criteria, stop)
                state.detached = detach
                with _clean_up(state.worktable, state.meter, stop, state.run):
                    answers = self._generate(state, partial=partial, send=send)
            finished.append(state)
            with contextlib.closing(state.worktable):
                yield answers

    def answer_table(self, reader: pa.RecordBatchReader, criteria: Criteria) -> pa.Table:
        """Answer every row of a table that fits into memory, as `answer` does."""
        with self.answer(reader, criteria) as answers:
            return answers.read_all()

    @contextlib.contextmanager
    def delivery(self, owner: str = "") -> Iterator[list[RunState]]:
        """Finish the runs of this thread together, when the outermost such block ends without an error.

        A job that answers several times enters it, so that a job which is killed resumes all of its runs.

        Args:
            owner: Who pays for the runs: the id of a server's key. The outermost block says it.

        """
        if self._delivering.runs is not None:
            yield self._delivering.runs
            return
        runs: list[RunState] = []
        self._delivering.runs, self._delivering.owner = runs, owner
        try:
            yield runs
        except BaseException:
            for state in runs:
                release(state.run)
            raise
        finally:
            self._delivering.runs, self._delivering.owner = None, ""
        for state in runs:
            self.store.finish(state.run, state.meter.now.cost_usd, state.meter.now.list_cost_usd)

    def _generate(self, state: RunState, *, partial: bool, send: bool) -> pa.RecordBatchReader:
        """Generate all answers, and return them as a reader."""
        try:
            self._resolve(state, send=send)
        except Interrupted:
            if not partial:
                raise
            state.fail_all(dict.fromkeys(np.flatnonzero(state.open).tolist(), STOPPED))
        state.flush()
        if state.plan.criteria.on_error == "fail" and state.meter.now.failed:
            row, error = state.worktable.first_failure()
            raise RowsFailed(f"{state.meter.now.failed} rows failed, the first of them row {row + 1}: {error}")
        return self._write(state)

    def _resolve(self, state: RunState, *, send: bool) -> None:
        """Choose experts and generate until no question is open."""
        plan = state.plan
        if self.on_progress is not None:
            state.meter.compare(compare_half(state))
        in_turn = plan.criteria.max_cost_usd is not None
        while state.open.any():
            state.check_stop()
            failed = self._plan(state)
            state.meter.stage("generate")
            take_in(state)
            # What earlier runs of the same job have paid for is there, whoever may answer now.
            state.fail_all({question: why for question, why in failed.items() if state.open[question]})
            plan_left(state)
            if not send:
                raise Interrupted
            if self._is_beyond_caps(state):
                continue
            execute_all(
                state, planning.order_waves(plan.waves, plan.experts, self._engines, in_turn=in_turn), self._engines
            )
            read_stored(state, duplicates=True)
            if state.detached and not state.fresh and state.open.any():
                raise Detached(state.store.batches(state.run.run), int(state.open.sum()))
            state.wait_for_others()
            state.read_caps()

    def _is_beyond_caps(self, state: RunState) -> bool:
        """Read the spending caps for the first time; return whether they leave too little for what is planned.

        Stored answers cost nothing: they are chosen and read as if there were no caps.
        """
        if state.caps:
            return False
        state.read_caps()
        beyond = state.beyond_caps(state.ledger.waiting)
        for line in beyond:
            state.meter.warn(line)
        return bool(beyond)

    def _plan(self, state: RunState) -> dict[int, str]:
        """Choose an expert for every open question, and plan its request; return why some have none."""
        state.find_parked()
        chosen = assign(state)
        state.binding = chosen.binding
        state.worktable.plan(chosen.table, state.run.run)
        return chosen.failed

    def route(self, reader: pa.RecordBatchReader, criteria: Criteria) -> pa.RecordBatchReader:
        """Choose an expert for every row and generate nothing.

        The columns of `schema.ROUTES` come after the input's own; they are NULL where there is no question
        and where the budget does not reach.

        Raises:
            InputError, PoolError, OutputError: as `answer`.

        """
        with self._plan_only(reader, criteria, ROUTES, as_if_able=True) as state:
            chosen = assign(state)
            state.fail_all(chosen.failed)
            state.worktable.keep_assigned(chosen.table)
            state.meter.stage("write")
            routes = state.worktable.routes()
            return append_columns(state.plan.input, routes, ROUTES, criteria.prefix, lambda: _done(state))

    def explain(self, reader: pa.RecordBatchReader, criteria: Criteria) -> Estimate:
        """Estimate what answering every row would take, and generate nothing.

        Raises:
            InputError, PoolError, OutputError: as `answer`.

        """
        with self._plan_only(reader, criteria, pa.schema([]), keep_tokens=True, as_if_able=True) as state:
            state.fail_all(self._plan(state))
            estimated = estimate(state, self._engines)
            _done(state)
            return estimated

    def expect(self, reader: pa.RecordBatchReader, criteria: Criteria, *, as_if_able: bool = False) -> Expected:
        """Predict scores, costs and times of every expert on every row, and generate nothing.

        Args:
            reader: The table.
            criteria: How it would be answered.
            as_if_able: Predict where no expert can run here, too, as `explain` and `route` do.

        Raises:
            InputError, PoolError, OutputError: as `answer`.

        """
        with self._plan_only(reader, criteria, as_if_able=as_if_able) as state:
            forecast = state.plan.forecast
            ids, e = state.worktable.ids_of_rows(), len(state.plan.experts)
            # A blank row has the id -1: the row of NaN below those of the questions, of which there may be none.
            scores, costs, at_most, seconds = (
                np.vstack([table, np.full(e, np.nan, table.dtype)])[ids]
                for table in (forecast.scores, forecast.costs, forecast.at_most, forecast.seconds)
            )
            _done(state)
            names = tuple(e.name for e in state.plan.experts)
            return Expected(names, scores, costs, at_most, seconds, forecast.known)

    def scores(self, questions: Sequence[str]) -> list[dict[str, float]]:
        """Predict the score of every expert of the pool that the router knows, for each question.

        Raises:
            RouterError: the engine has neither a router nor a prior.

        """
        if self.router is None:
            raise RouterError("scores need a router: train one with 'leeroo train' and give it with router=")
        learned = self.prior.known if self.prior else self.pool.names
        known = [(i, name) for i, name in enumerate(self.router.experts) if name in learned]
        predicted = self.router.predict(questions).scores
        return [{name: float(row[i]) for i, name in known} for row in predicted]

    def cancel_batch(self, batch: Mapping[str, Any]) -> None:
        """Have an open batch end early (a row of `Store.batches`); the next run of its command keeps what it brought.

        Raises:
            PoolError: no expert of the pool has asked for it.
            ExpertUnavailable: the provider refuses.
            UsageError: nothing is known of it at the provider.

        """
        asked = [e for e in self.pool.experts if capabilities(e).waits_hours and engine_key(e) == batch["engine"]]
        if not asked:
            raise PoolError(
                f"the pool has no expert that asked for the batches of {batch['expert']!r}: give the pool= of their run"
            )
        if batch["remote"] is None:
            raise UsageError(f"a batch of {batch['expert']!r} is being submitted: run its command again, or wait")
        with self._engines.lend(asked[0]) as lent:
            assert isinstance(lent, Batching)
            lent.cancel(batch["remote"])

    def interrupt(self, thread: int) -> None:
        """Stop what another thread is being answered: `Interrupted` is raised there, as Ctrl-C is in the first one.

        What was answered is in the store. Without effect where nothing is being answered.

        Args:
            thread: Its `threading.get_ident()`.

        """
        with self._lock:
            for caller, stop in self._calls:
                if caller.ident == thread:
                    stop.set()

    @contextlib.contextmanager
    def _call(self, stop: threading.Event | None = None) -> Iterator[threading.Event]:
        """Register a call of this thread, which `interrupt` stops."""
        call = threading.current_thread(), stop or self._stop or threading.Event()
        with self._lock:
            self._calls.append(call)
        try:
            yield call[1]
        finally:
            with self._lock:
                self._calls.remove(call)

    def close(self) -> None:
        """Close all loaded models and the store."""
        self._engines.close()
        self.images.close()
        self.store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _plan_only(
        self,
        reader: pa.RecordBatchReader,
        criteria: Criteria,
        added: pa.Schema = ANSWERS,
        *,
        keep_tokens: bool = False,
        as_if_able: bool = False,
    ) -> Iterator[RunState]:
        """Begin a run that generates nothing."""
        with self._call() as stop:
            state = self._start(
                reader, criteria, stop, added, to_generate=False, keep_tokens=keep_tokens, as_if_able=as_if_able
            )
            with _clean_up(state.worktable, state.meter, stop):
                yield state

    def _start(
        self,
        reader: pa.RecordBatchReader,
        criteria: Criteria,
        stop: threading.Event,
        added: pa.Schema = ANSWERS,
        *,
        to_generate: bool = True,
        keep_tokens: bool = False,
        as_if_able: bool = False,
    ) -> RunState:
        """Read the input, predict for all of it, and begin or resume the run, if there is something to generate."""
        check_columns(reader.schema, criteria)
        check_names(reader.schema, added, criteria.prefix)
        meter = Meter(self.on_progress)
        experts, down = self._candidates(criteria, meter, as_if_able=as_if_able)
        worktable = Worktable(self.store.scratch)
        with _clean_up(worktable, meter, stop):
            meter.stage("read")
            source = read_input(reader, criteria, worktable, stop, self.images.folder)
            for remark in source.remarks:
                meter.warn(remark)
            waves = planning.waves(experts)
            planning.describe(worktable, experts, waves)
            facts = worktable.facts()
            rows = int(facts.rows.sum())
            if not criteria.expert:
                self._say_prior(meter)
            sources = {e.name: e.price_source for e in experts}
            meter.stage("predict", rows=source.rows, duplicates=rows - source.distinct, price_sources=sources)
            fingerprints = tuple(fingerprint(e) for e in experts)
            lengths = list(map(self.store.lengths(fingerprints).get, fingerprints))
            stored = sum(each.answers for each in lengths if each)
            if to_generate and stored < min(source.distinct, ANSWERS_COUNTED):  # then something is to be generated
                self._start_ahead(experts)
            expected = forecast(
                worktable,
                experts,
                self.pool.default,
                None if criteria.expert else self.router,
                source.distinct,
                meter,
                stop,
                lengths,
                [self._wait_s(expert) for expert in experts],
                keep_tokens=keep_tokens,
            )
            run = Run("", resumed=False, lock=None)
            if to_generate:
                said = "; ".join(f"{name}: {source}" for name, source in sources.items())
                name = self._name(criteria, source, experts)
                run = self.store.begin(name, source.rows, said, owner=self._delivering.owner)
            plan = RunPlan(criteria, source, experts, fingerprints, waves, prices(experts), expected, facts)
            meter.stage("choose", rows_done=source.rows - rows)
            ledger = Ledger(criteria.max_cost_usd, len(experts))
            still_open = np.ones(source.distinct, bool)
            due = None if criteria.deadline_s is None else (run.started or time.time()) + criteria.deadline_s
            return RunState(plan, worktable, self.store, run, ledger, meter, still_open, stop, down, due=due)

    def _start_ahead(self, experts: Sequence[Expert]) -> None:
        """Have the process of a model start while the run is planned, where it will certainly load one."""
        if self._place == "local" and not any(self._engines.is_loaded(expert) for expert in experts):
            start_ahead(experts)

    def _wait_s(self, expert: Expert) -> float:
        """Return the seconds that a batch of an expert is expected to take, 0 for one that answers at once."""
        return (self.store.batch_seconds(engine_key(expert)) or _BATCH_S) if expert.batch else 0.0

    def with_expert(self, expert: Expert) -> Engine:
        """Return this engine with one expert and no router: the same store, loaded models and deliveries."""
        view = copy.copy(self)
        view.pool = Pool(default=expert.name, experts=(expert,))
        view.prior = view.router = None
        view._remarks = []
        return view

    def take_remarks(self) -> list[str]:
        """Return what the next run would say of the prior; it is not said any more."""
        with self._lock:
            remarks, self._remarks = self._remarks, []
        return remarks

    def _say_prior(self, meter: Meter) -> None:
        """Say once that a prior chooses, however many runs there are."""
        for remark in self.take_remarks():
            meter.warn(remark)

    def _candidates(
        self, criteria: Criteria, meter: Meter, *, as_if_able: bool
    ) -> tuple[tuple[Expert, ...], dict[int, str]]:
        """Return the candidates, and by position why some of them cannot run here.

        Where none can, a run fails. With `as_if_able` all are candidates then: people want to know what an API would
        cost before they have a key for it.
        """
        experts = (self.pool[criteria.expert],) if criteria.expert else self.pool.experts
        # Machines of a cluster say themselves what cannot run on them.
        looked = enumerate(experts) if self._place == "local" else ()
        down = {i: reason for i, e in looked if (reason := unavailable(e)) is not None}
        if len(down) == len(experts):
            reasons = "; ".join(f"the expert {experts[i].name!r} cannot run here: {why}" for i, why in down.items())
            if not as_if_able:
                raise PoolError(reasons)
            meter.warn(f"planned all the same: {reasons}")
            return experts, {}
        for i, why in down.items():
            if criteria.on_expert_down == "fail":
                raise ExpertUnavailable(f"{experts[i].name} cannot run here: {why}")
            meter.warn(f"{experts[i].name} cannot run here, others take its rows: {why}")
        meter.lose({experts[i].name: why for i, why in down.items()})
        return experts, down

    def _name(self, criteria: Criteria, source: Input, experts: tuple[Expert, ...]) -> str:
        """Return the name of the job: the same questions with the same criteria, pool and router."""
        router = self.router.fingerprint if self.router else ""
        parts = [source.digest, repr(criteria), router, self.pool.default, *(e.description for e in experts)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _write(self, state: RunState) -> pa.RecordBatchReader:
        """Return the answers as a reader; the worktable goes when it is exhausted."""
        plan = state.plan
        state.meter.warn_of_guesses()
        state.meter.stage("write")
        added = answer_fields(plan.experts, plan.criteria)
        answers = state.worktable.answers()
        return append_columns(plan.input, answers, added, plan.criteria.prefix, lambda: _done(state))


@dataclass(frozen=True)
class Expected:
    """The predictions for each expert (axis 1) on each row (axis 0), float32 [n, e].

    Of rows without a question it is NaN. Without a router (`known` is false), the pool's default has the score 1 and
    the others 0.
    """

    experts: tuple[str, ...]
    scores: np.ndarray
    costs: np.ndarray  # USD for asking once
    at_most: np.ndarray  # the most USD that asking once can cost, as far as that can be known beforehand
    seconds: np.ndarray  # of one answer, 0 where nothing is known
    known: bool


@contextlib.contextmanager
def _workers_ahead() -> Iterator[None]:
    """End the workers that were started ahead in here and not used."""
    try:
        yield
    finally:
        close_ahead()


def _done(state: RunState) -> None:
    state.worktable.close()
    state.meter.stage("done")


@contextlib.contextmanager
def _clean_up(worktable: Worktable, meter: Meter, stop: threading.Event, run: Run | None = None) -> Iterator[None]:
    """Remove the working files when the block fails, and leave the run to the next of its job.

    Raises:
        Interrupted: it failed because the call was stopped.
        OutputError: the working files found no room.
    """
    try:
        yield
    except BaseException as error:
        if run is not None:
            release(run)
        worktable.close()
        meter.stage("stopped")
        if stop.is_set() and isinstance(error, Exception):
            raise Interrupted from error
        if isinstance(error, NO_ROOM):
            raise OutputError(f"no room for the working files beside the answer store: {first_line(error)}") from error
        raise


def _on_ray(expert: Expert, stop: threading.Event | None) -> Backend | Batching:
    """Open the engine of an expert on a Ray cluster; what only waits for a provider needs none."""
    from leeroo.engine.backends.ray import RayBackend

    return connect(expert, stop) if capabilities(expert).waits_hours else RayBackend(expert)


def open_engine(
    pool: str | Path | None = None,
    router: str | Path | None = None,
    store: str | Path | None = None,
    on_progress: Listener | None = None,
    place: Place = "local",
    stop: threading.Event | None = None,
) -> Engine:
    """Open an engine from paths.

    Where none are named, LEEROO_POOL and LEEROO_ROUTER count, and then the embedded local pool with its own router.
    A pool without a router gets the shipped router that knows its models as a prior, see `prior_for`. The router
    'none' leaves all rows to the pool's default. The other arguments are those of `Engine`.

    Raises:
        PoolError: the pool file is wrong.
        RouterError: the router folder is wrong.
        OutputError: the store cannot be made or written.

    """
    file = Path(pool or default_pool())
    named, routed = load_pool(file), router or default_router(file)
    return Engine(
        named,
        Router.load(Path(routed)) if routed and str(routed) != NO_ROUTER else None,
        Path(store) if store else None,
        on_progress,
        place,
        prior_for(named) if routed is None else None,
        stop,
    )
