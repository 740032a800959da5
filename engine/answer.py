"""The engine: a table of questions in, the same table with answers and their cost out.

`Engine.answer` is the one road that everything here takes - SQL, command line, jobs. The whole batch is known
before the first token is generated, so that experts are chosen for all rows at once, equal rows are asked
once, and every model is loaded once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import duckdb
import numpy as np
import platformdirs
import pyarrow as pa

from leeroo.engine.backends.identity import fingerprint
from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities, unavailable
from leeroo.engine.batch import plan as planning
from leeroo.engine.batch.assign import assign
from leeroo.engine.batch.budget import Ledger
from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.execute import look_up, take_up
from leeroo.engine.batch.explain import Estimate, estimate
from leeroo.engine.batch.forecast import Forecast, forecast
from leeroo.engine.batch.job import SETTLED, Job
from leeroo.engine.batch.lanes import execute_all
from leeroo.engine.batch.price import prices
from leeroo.engine.batch.progress import ExpertTotals, Listener, Meter, Progress
from leeroo.engine.batch.prompts import Spool, check_columns, first_line, spool
from leeroo.engine.batch.scratch import NO_ROOM, Scratch
from leeroo.engine.batch.write import ANSWERED, ROUTED, beside, check_names
from leeroo.engine.errors import ExpertUnavailable, Interrupted, OutputError, PoolError, RouterError, RowsFailed
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.pool import DEFAULT_POOL, DEFAULT_ROUTER, Expert, Pool, load_pool
from leeroo.engine.schema import ANSWERS, ROUTES
from leeroo.engine.store.answers import Lengths
from leeroo.engine.store.runs import Run, release
from leeroo.engine.store.store import Store

__all__ = ["Criteria", "Engine", "Estimate", "Expected", "ExpertTotals", "Progress", "open_engine"]

Place = Literal["local", "ray"]

_RECORDED = pa.field("recorded_score", pa.float64())
# The probability of the answer among its choices, the log probability of each of them, and the tokens of the answer.
_CHOSEN = [
    pa.field("confidence", pa.float64()),
    pa.field("choice_logprobs", pa.list_(pa.float64())),
    pa.field("logprobs", pa.string()),
]


# The error of a row that had no answer when its call was stopped.
STOPPED = "not reached: the run was stopped"


class Engine:
    """A pool of experts with a router and an answer store; loaded models stay loaded until `close`.

    Threads may share an engine, and their calls run side by side. Models that hold memory of this device take turns.

    Args:
        pool: The experts.
        router: Predicts how well each answers; without one, rows go to the pool's default.
        store: Folder of the answer store; made when it does not exist.
        on_progress: Called a few times a second with a `Progress`.
        place: Where models are asked: 'local', or 'ray' for the actors of a Ray cluster.

    Raises:
        OutputError: the store cannot be made or written.
        UsageError: Ray is asked for and not installed.

    """

    def __init__(
        self,
        pool: Pool,
        router: Router | None = None,
        store: Path | None = None,
        on_progress: Listener | None = None,
        place: Place = "local",
    ) -> None:
        self.pool = pool
        self.router = router
        self.store = Store(store or default_store())
        self.on_progress = on_progress
        self._place = place
        if place == "ray":
            from leeroo.engine.backends.ray import RayBackend, check_ray

            check_ray()
            self._engines = Engines(self.store.engine, lambda expert, _: RayBackend(expert), alone=True)
        else:
            self._engines = Engines(self.store.engine)
        self._lock = threading.Lock()  # of what is below
        self._calls: list[tuple[threading.Thread, threading.Event]] = []  # under way, and what stops each
        self._undelivered: list[tuple[threading.Thread, Run, Progress]] = []

    def answer(
        self,
        reader: pa.RecordBatchReader,
        criteria: Criteria,
        stop: threading.Event | None = None,
        *,
        partial: bool = False,
    ) -> pa.RecordBatchReader:
        """Answer every row of a table.

        Everything is generated when this returns; the rows then stream from disk, in the order and number of
        the input, with the columns of `schema.ANSWERS` after its own; `recorded_score` comes too when recorded
        outcomes are replayed, and `confidence`, `choice_logprobs` and `logprobs` when rows carry arguments of their
        own, which may be choices. Call `delivered` when they are where they should be: until then a run counts as
        unfinished, and the next one of the same job goes on where it stopped.

        Args:
            reader: The table.
            criteria: What is asked of the run.
            stop: Stops this call alone when another thread sets it, as `interrupt` does.
            partial: Return what is answered when the call is stopped; the other rows have the error `STOPPED`.

        Raises:
            Interrupted: the call was stopped; what was answered is in the store.
            InputError: the input lacks what the criteria name.
            PoolError: no expert that may be asked can run here.
            OutputError: the store or the disk is full.
            RowsFailed: rows failed and `criteria.on_error` is "fail"; the answers are in the store.

        """
        with self._call(stop) as stop:
            job = self._start(reader, criteria, stop)
            with _given_up(job.scratch, job.meter, stop, job.run):
                try:
                    self._resolve(job)
                except Interrupted:
                    if not partial:
                        raise
                    left = np.flatnonzero(job.open)
                    job.fail(left, [STOPPED] * len(left))
                job.flush()
                if criteria.on_error == "fail" and job.meter.now.failed:
                    raise RowsFailed(_failure(job))
                return self._write(job)

    def _resolve(self, job: Job) -> None:
        """Choose experts and have them asked until no row is open."""
        while job.open.any():
            job.look()
            planning.plan(job.scratch.con, assign(job), job.run.run)
            job.meter.stage("generate")
            take_up(job)
            look_up(job)
            in_turn = job.criteria.max_cost_usd is not None
            execute_all(
                job, planning.order_waves(job.waves, job.experts, self._engines, in_turn=in_turn), self._engines
            )
            look_up(job, twins=True)
            job.wait_for_others()

    def route(self, reader: pa.RecordBatchReader, criteria: Criteria) -> pa.RecordBatchReader:
        """Choose an expert for every row and generate nothing.

        The columns of `schema.ROUTES` come after the input's own; they are NULL where there is no question
        and where the budget does not reach.

        Raises:
            InputError, PoolError, OutputError: as `answer`.

        """
        with self._call() as stop:
            job = self._start(reader, criteria, stop, ROUTES, to_generate=False)
            with _given_up(job.scratch, job.meter, stop):
                job.scratch.con.register("chosen", assign(job))
                job.scratch.con.execute("CREATE TABLE assigned AS SELECT * FROM chosen")
                job.scratch.con.unregister("chosen")
            job.meter.stage("write")

            def done() -> None:
                job.scratch.close()
                job.meter.stage("done")

            return beside(job.scratch, job.spool, ROUTED, ROUTES, criteria.prefix, done)

    def explain(self, reader: pa.RecordBatchReader, criteria: Criteria) -> Estimate:
        """Tell what answering every row would take, and generate nothing.

        Raises:
            InputError, PoolError, OutputError: as `answer`.

        """
        with self._call() as stop:
            job = self._start(reader, criteria, stop, to_generate=False, keep_tokens=True)
            with _given_up(job.scratch, job.meter, stop):
                planning.plan(job.scratch.con, assign(job), job.run.run)
                told = estimate(job, self._engines)
            job.scratch.close()
            job.meter.stage("done")
            return told

    def expect(self, reader: pa.RecordBatchReader, criteria: Criteria) -> Expected:
        """Tell what to expect of every expert on every row, and generate nothing.

        Raises:
            InputError, PoolError, OutputError: as `answer`.

        """
        with self._call() as stop:
            job = self._start(reader, criteria, stop, to_generate=False)
            with _given_up(job.scratch, job.meter, stop):
                ids = job.scratch.con.execute(
                    "SELECT coalesce(q.id, -1) AS id FROM row_keys r LEFT JOIN questions q USING (key) ORDER BY r.row"
                ).fetchnumpy()["id"]
                told = (job.forecast.scores, job.forecast.costs, job.forecast.seconds)
                # A blank row has the id -1: the row of NaN below those of the questions, of which there may be none.
                scores, costs, seconds = (
                    np.vstack([table, np.full(len(job.experts), np.nan, table.dtype)])[ids] for table in told
                )
            job.scratch.close()
            job.meter.stage("done")
            return Expected(tuple(e.name for e in job.experts), scores, costs, seconds, job.forecast.known)

    def scores(self, questions: Sequence[str]) -> list[dict[str, float]]:
        """The predicted score of every expert of the pool that the router knows, for each question.

        Raises:
            RouterError: the engine has no router.

        """
        if self.router is None:
            raise RouterError("scores need a router: train one with 'leeroo train' and give it with router=")
        known = [(i, name) for i, name in enumerate(self.router.experts) if name in self.pool.names]
        predicted = self.router.predict(questions).scores
        return [{name: float(row[i]) for i, name in known} for row in predicted]

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
        """A call of this thread, which `interrupt` stops."""
        call = threading.current_thread(), stop or threading.Event()
        with self._lock:
            self._calls.append(call)
        try:
            yield call[1]
        finally:
            with self._lock:
                self._calls.remove(call)

    def delivered(self) -> None:
        """The answers that this thread was given are where they should be: their runs are finished."""
        me = threading.current_thread()
        with self._lock:
            mine = [(run, progress) for thread, run, progress in self._undelivered if thread is me]
            self._undelivered = [each for each in self._undelivered if each[0] is not me]
        for run, progress in mine:
            self.store.finish(run, progress.cost_usd, progress.list_cost_usd)

    def close(self) -> None:
        """Close all loaded models and the store."""
        self._engines.close()
        for _, run, _ in self._undelivered:
            release(run)
        self.store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(
        self,
        reader: pa.RecordBatchReader,
        criteria: Criteria,
        stop: threading.Event,
        added: pa.Schema = ANSWERS,
        *,
        to_generate: bool = True,
        keep_tokens: bool = False,
    ) -> Job:
        """Read the input, predict for all of it, and take up or begin the run, if there is something to generate."""
        check_columns(reader.schema, criteria)
        check_names(reader.schema, added, criteria.prefix)
        meter = Meter(self.on_progress)
        experts, down = self._candidates(criteria, meter)
        scratch = Scratch(self.store.scratch)
        with _given_up(scratch, meter, stop):
            meter.stage("read")
            table = spool(_watched(reader, stop), criteria, scratch)
            facts = _facts(scratch, experts)
            meter.stage("predict", rows=table.rows, duplicates=int(facts.rows.sum()) - table.distinct)
            router = None if criteria.expert else self.router
            expected = forecast(
                scratch,
                experts,
                self.pool.default,
                router,
                table.distinct,
                meter,
                stop,
                self._lengths(experts),
                keep_tokens=keep_tokens,
            )
            run = Run("", resumed=False, lock=None)
            if to_generate:
                run = self.store.begin(self._name(criteria, table, experts), table.rows)
            return self._job(criteria, scratch, table, experts, down, facts, expected, meter, run, stop)

    def _job(
        self,
        criteria: Criteria,
        scratch: Scratch,
        table: Spool,
        experts: tuple[Expert, ...],
        down: dict[int, str],
        facts: _Facts,
        expected: Forecast,
        meter: Meter,
        run: Run,
        stop: threading.Event,
    ) -> Job:
        order = planning.waves(experts)
        planning.describe(scratch.con, experts, order)
        _settled_table(scratch.con)
        job = Job(
            criteria=criteria,
            scratch=scratch,
            store=self.store,
            run=run,
            spool=table,
            experts=experts,
            fingerprints=tuple(fingerprint(e) for e in experts),
            waves=order,
            usd_per_m=prices(experts),
            forecast=expected,
            ledger=Ledger(criteria.max_cost_usd, len(experts)),
            meter=meter,
            rows=facts.rows,
            private=facts.private,
            pinned=facts.pinned,
            open=np.ones(table.distinct, bool),
            down=down,
            stop=stop,
        )
        meter.stage("choose", rows_done=table.rows - int(facts.rows.sum()))
        return job

    def _lengths(self, experts: tuple[Expert, ...]) -> list[Lengths | None]:
        """How long the stored answers of each expert are."""
        names = [fingerprint(e) for e in experts]
        known = self.store.lengths(names)
        return [known.get(name) for name in names]

    def _candidates(self, criteria: Criteria, meter: Meter) -> tuple[tuple[Expert, ...], dict[int, str]]:
        """The experts that may be asked, and which of them cannot run here, by position, with the reason."""
        experts = (self.pool[criteria.expert],) if criteria.expert else self.pool.experts
        # What can run on the machines of a cluster is told by those that try.
        looked = enumerate(experts) if self._place == "local" else ()
        down = {i: reason for i, e in looked if (reason := unavailable(e)) is not None}
        if len(down) == len(experts):
            raise PoolError(
                "; ".join(f"the expert {experts[i].name!r} cannot run here: {why}" for i, why in down.items())
            )
        for i, why in down.items():
            if criteria.on_expert_down == "fail":
                raise ExpertUnavailable(f"{experts[i].name} cannot run here: {why}")
            meter.warn(f"{experts[i].name} cannot run here, others take its rows: {why}")
        meter.lose({experts[i].name: why for i, why in down.items()})
        return experts, down

    def _name(self, criteria: Criteria, table: Spool, experts: tuple[Expert, ...]) -> str:
        """Names the job: the same questions asked in the same way of the same pool and router."""
        router = self.router.fingerprint if self.router else ""
        parts = [
            table.digest,
            repr(criteria),
            router,
            self.pool.default,
            *(e.model_dump_json() for e in experts),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _write(self, job: Job) -> pa.RecordBatchReader:
        """The answers as a reader; the scratch folder goes when it is exhausted."""
        job.meter.warn_of_guesses()
        job.meter.stage("write")
        replayed = any(capabilities(e).recorded for e in job.experts)
        chosen = job.criteria.ask_column is not None
        caller = threading.current_thread()
        added = pa.schema([*ANSWERS, *([_RECORDED] if replayed else []), *(_CHOSEN if chosen else [])])

        def done() -> None:
            job.scratch.close()
            job.meter.stage("done")
            with self._lock:
                self._undelivered.append((caller, job.run, job.meter.now))

        return beside(job.scratch, job.spool, ANSWERED, added, job.criteria.prefix, done)


@dataclass(frozen=True)
class Expected:
    """What the orchestrator expects of each expert (axis 1) on each row (axis 0), float32 [n, e].

    Of rows without a question it is NaN. Without a router (`known` is false), the pool's default has the score 1 and
    the others 0.
    """

    experts: tuple[str, ...]
    scores: np.ndarray
    costs: np.ndarray  # USD for asking once
    seconds: np.ndarray  # of one answer, 0 where nothing is known
    known: bool


@dataclass(frozen=True)
class _Facts:
    """What is known of each distinct question before anything is predicted; arrays [n]."""

    rows: np.ndarray  # how many rows of the input ask it
    private: np.ndarray
    pinned: np.ndarray  # position of the expert it asks for, -1 for none


def _facts(scratch: Scratch, experts: tuple[Expert, ...]) -> _Facts:
    """Read the facts of the distinct questions.

    Raises:
        PoolError: a row asks for an expert that is not there.

    """
    con = scratch.con
    columns = con.execute("SELECT rows, private FROM questions ORDER BY id").fetchnumpy()
    pinned = np.full(len(columns["rows"]), -1, np.int32)
    names = [e.name for e in experts]
    asked = con.execute("SELECT id, expert FROM questions WHERE expert IS NOT NULL").fetchall()
    for question, name in asked:
        if name not in names:
            raise PoolError(f"no expert is called {name!r}; those that can be asked are: {', '.join(names)}")
        pinned[question] = names.index(name)
    return _Facts(
        np.asarray(columns["rows"]),
        np.asarray(columns["private"], bool),
        pinned,
    )


def _settled_table(con: duckdb.DuckDBPyConnection) -> None:
    con.register("settled_like", SETTLED.empty_table())
    con.execute("CREATE TABLE settled AS SELECT * FROM settled_like")
    con.unregister("settled_like")


def _failure(job: Job) -> str:
    """One sentence about the rows that failed."""
    row, error = job.scratch.con.execute(
        "SELECT q.first_row, s.error FROM settled s JOIN questions q USING (id) WHERE s.error IS NOT NULL"
        " ORDER BY q.first_row LIMIT 1"
    ).fetchall()[0]
    return f"{job.meter.now.failed} rows failed, the first of them row {row + 1}: {error}"


def _watched(reader: pa.RecordBatchReader, stop: threading.Event) -> pa.RecordBatchReader:
    """The same input, which breaks off when `stop` is set."""

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            if stop.is_set():
                raise Interrupted
            yield batch

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


@contextlib.contextmanager
def _given_up(scratch: Scratch, meter: Meter, stop: threading.Event, run: Run | None = None) -> Iterator[None]:
    """When what is inside fails: remove the working files, and leave the run to the next of its job.

    Raises:
        Interrupted: it failed because the call was stopped.
        OutputError: the working files found no room.
    """
    try:
        yield
    except BaseException as error:
        if run is not None:
            release(run)
        scratch.close()
        meter.stage("stopped")
        if stop.is_set() and isinstance(error, Exception):
            raise Interrupted from error
        if isinstance(error, NO_ROOM):
            raise OutputError(f"no room for the working files beside the answer store: {first_line(error)}") from error
        raise


def default_store() -> Path:
    """Where answers are kept when no store is named: $LEEROO_STORE, or a folder of the user's."""
    return Path(os.environ.get("LEEROO_STORE") or Path(platformdirs.user_data_dir("leeroo")) / "store")


def open_engine(
    pool: str | Path | None = None,
    router: str | Path | None = None,
    store: str | Path | None = None,
    on_progress: Listener | None = None,
    place: Place = "local",
) -> Engine:
    """An engine from paths: the embedded local pool with its own router when no pool is named.

    Raises:
        PoolError: the pool file is wrong.
        RouterError: the router folder is wrong.
        OutputError: the store cannot be made or written.

    """
    routed = router or (DEFAULT_ROUTER if pool is None else None)
    return Engine(
        load_pool(pool or DEFAULT_POOL),
        Router.load(Path(routed)) if routed else None,
        Path(store) if store else None,
        on_progress,
        place,
    )
