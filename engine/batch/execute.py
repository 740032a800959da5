"""Execute: hand the rows of every wave to its engine, as the budget and other runs permit.

Waves run at the same time where they do not share a device. Models that hold memory here run one after another, in the
order of their waves: a lane. Every remote expert has a lane of its own. The caller's thread only waits: it reports
progress, and looks whether to stop.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial

import numpy as np
import pyarrow as pa

from leeroo.engine.backends.identity import engine_key
from leeroo.engine.backends.protocol import AMPLE, Backend, Batching
from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities, least_shared_tokens
from leeroo.engine.batch.book import RunBook
from leeroo.engine.batch.keep import Flight, give_up, keep, keep_failures
from leeroo.engine.batch.layout import with_shared_beginnings
from leeroo.engine.batch.plan import Wave
from leeroo.engine.batch.run import RunState
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.schema import REQUESTS
from leeroo.engine.store.timings import WaveTime

# Rows handed to a backend at a time: it pulls more when it has room.
_SEND_ROWS = 1024
# Seconds between two reports of progress, and two looks at whether to stop or go on.
_LOOK_S = 0.1
# How long what is in flight may take to come back when a run is stopped: it is paid for already. Recorded answers are
# not, and are not waited for.
_GRACE_S = 1.0
_NOTHING = pa.RecordBatch.from_pylist([], schema=REQUESTS)


def execute_all(state: RunState, order: Sequence[Wave], engines: Engines) -> None:
    """Generate the answers of all waves, until they are done or what is open should be chosen anew.

    Raises:
        Interrupted: the run was stopped. What came back within a short grace is kept.
        OutputError: the store or the disk is full.

    """
    state.anew, state.sent, state.refused, state.fresh, state.passed_on = False, 0, 0, 0, 0
    state.withheld = False
    lanes = _lanes(state, order)
    with ThreadPoolExecutor(max(len(lanes), 1), "leeroo-lane") as threads:
        running = {threads.submit(_run_lane, state, lane, engines) for lane in lanes if not _waits(state, lane[0])}
        waiting = {threads.submit(_run_lane, state, lane, engines) for lane in lanes if _waits(state, lane[0])}
        try:
            while running or waiting:
                done, _ = wait(running | waiting, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                running, waiting = running - done, waiting - done
                # What others have left open does not wait for hours until batches have ended.
                state.anew = state.anew or (not running and state.passed_on > 0)
                state.meter.report()
                state.check_stop()
                for lane in done:
                    lane.result()
        except BaseException:
            state.halt.set()
            raise


def _lanes(state: RunState, order: Sequence[Wave]) -> list[list[Wave]]:
    """Split waves into lanes: those of local experts together, each remote one alone."""
    local = [wave for wave in order if not capabilities(state.plan.experts[wave.experts[0]]).runs_elsewhere]
    remote = [[wave] for wave in order if wave not in local]
    return [lane for lane in (local, *remote) if lane]


def _waits(state: RunState, wave: Wave) -> bool:
    return capabilities(state.plan.experts[wave.experts[0]]).waits_hours


def _run_lane(state: RunState, lane: Sequence[Wave], engines: Engines) -> None:
    for at, wave in enumerate(lane, 1):
        unfinished = True
        while unfinished:
            if state.halt.is_set() or state.anew:
                return
            unfinished = _execute(state, wave, engines, lane[at:])


def _execute(state: RunState, wave: Wave, engines: Engines, later: Sequence[Wave]) -> bool:
    """Generate the answers of one wave and keep them; return whether it let another run go first, and is to go on.

    Questions that bounce, and all that are left when the engine breaks or the run is halted, stay open.
    """
    experts = state.plan.experts
    expert = experts[wave.experts[0]]
    can = capabilities(expert)
    pending = state.worktable.pending_requests(wave.number, _SEND_ROWS, by_key=can.recorded)
    claims = not can.recorded or bool(state.caps)
    flight = Flight(can.waits_hours, claims, 1 if can.runs_elsewhere else AMPLE)
    if (least := least_shared_tokens(expert)) is not None:
        pending = (with_shared_beginnings(batch, least) for batch in pending)
    requests = _send_all(state, flight, pending)
    first = next(requests, None)  # an engine with nothing to do is not loaded
    if first is None:
        return False
    handed_over = False
    planned = sum(rows for at, _, rows in state.worktable.left() if at in wave.experts) if can.holds_memory else 0
    began, was_loaded = time.monotonic(), engines.is_loaded(expert)
    try:
        with engines.lend(
            expert, [experts[other.experts[0]] for other in later], state.halt, lambda: planned - flight.back
        ) as lent:
            loaded = time.monotonic()
            book = RunBook(state, flight, engine_key(expert))
            backend = lent.for_run(book) if isinstance(lent, Batching) else lent
            flight.backend = backend
            wanted = partial(engines.is_wanted, expert)
            grace_s = 0.0 if can.recorded else _GRACE_S
            handed_over = _generate(state, flight, backend, itertools.chain([first], requests), wanted, grace_s)
            with state.lock:
                keep_failures(state, flight)
            took = WaveTime(
                engine_key(expert),
                flight.back,
                load_s=None if was_loaded else loaded - began,
                generate_s=time.monotonic() - loaded,
                memory_bytes=engines.memory_bytes(expert),
                **flight.tokens,
            )
        if not flight.waits:  # what it has generated was not generated here and now
            state.store.measured(took)
    except ExpertUnavailable as error:
        with state.lock:
            give_up(state, flight)
            state.lose(wave.experts, str(error))
    finally:
        requests.close()
        with state.lock:
            if flight.sent:
                rest = flight.land(list(flight.sent))
                state.ledger.land(*(rest.column(name).to_numpy() for name in ("expert", "expected", "at_most")))
            state.flush()
    return handed_over


def _generate(
    state: RunState,
    flight: Flight,
    backend: Backend,
    requests: Iterator[pa.RecordBatch],
    is_wanted: Callable[[], bool],
    grace_s: float,
) -> bool:
    """Keep all completions; when the run is halted, those that come back within a short grace, in seconds.

    Returns:
        Whether it ended early, right after answers came back, because a smaller run wants the device.

    """
    until: float | None = None
    with contextlib.closing(backend.generate(requests)) as completions:
        for batch in completions:
            if batch.num_rows:
                with state.lock:
                    keep(state, flight, batch)
                    state.back.notify_all()
            if flight.waits and state.anew:
                return False  # its batches stay open, and are awaited again when all is planned anew
            if state.halt.is_set():
                until = until or time.monotonic() + grace_s
                if time.monotonic() >= until:
                    return False
            elif batch.num_rows and is_wanted():
                return True
    return False


def _send_all(state: RunState, flight: Flight, pending: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
    """Yield requests in the order of the plan, as money permits; empty batches while waiting for answers.

    Ends early when the run is halted, and when open questions should be chosen for anew. Requests that do not fit the
    budget or a spending cap, or that another run has under way, stay open.
    """
    for batch in pending:
        while batch.num_rows:
            experts, most = batch.column("expert").to_numpy(), batch.column("at_most").to_numpy()
            parked = batch.column("parked").to_numpy(zero_copy_only=False)
            with state.lock:
                state.anew = state.anew or (bool(flight.back) and state.ledger.has_drifted())
                if state.halt.is_set() or state.anew:
                    return
                at_once = flight.at_once if flight.backend is None else max(flight.backend.room, 1)
                # Lines of open batches are paid for, whatever the budget says now.
                first = int(parked[:at_once].sum())
                fits = max(state.ledger.admit(experts[:at_once], most[:at_once]), first)
                part, capped, room = _claim(state, flight, batch.slice(0, fits))
                _send(state, flight, part)
                batch = pa.concat_batches([capped, batch.slice(fits)])
                stuck = not part.num_rows and (not fits or bool(capped.num_rows))
                if stuck and not state.ledger.busy:
                    state.withheld = state.withheld or bool(capped.num_rows)
                    batch = _what_fits(state, batch, room)
                elif stuck and not flight.sent:  # other lanes have what is left of the money in flight
                    state.back.wait(_LOOK_S)
            if part.num_rows:
                yield pa.RecordBatch.from_arrays([part.column(name) for name in REQUESTS.names], schema=REQUESTS)
            elif flight.sent:
                yield _NOTHING


def _claim(
    state: RunState, flight: Flight, batch: pa.RecordBatch
) -> tuple[pa.RecordBatch, pa.RecordBatch, dict[str, float]]:
    """Claim these rows; drop those that another run has answered, or has in flight, since the plan was made.

    Returns:
        The rows that may go, those for which spending caps have no room now, and the USD that caps leave, by expert.

    """
    if not flight.claims or not batch.num_rows:
        return batch, batch.slice(0, 0), {}
    experts, most = batch.column("expert").to_numpy(), batch.column("at_most").to_numpy()
    names = [state.plan.experts[i].name for i in experts.tolist()]
    at_most = (most * state.ledger.stretch[experts]).tolist()
    granted, capped, room = state.store.claim(state.run, batch.column("key"), at_most, names)
    mine, withheld = batch.filter(granted), batch.filter(capped)
    state.refused += batch.num_rows - mine.num_rows - withheld.num_rows
    return mine, withheld, room


def _what_fits(state: RunState, batch: pa.RecordBatch, room: Mapping[str, float]) -> pa.RecordBatch:
    """Return the requests that could go now if they went alone, with what caps leave by expert."""
    experts, most = batch.column("expert").to_numpy(), batch.column("at_most").to_numpy()
    caps_leave = np.array([room.get(expert.name, np.inf) for expert in state.plan.experts])[experts]
    return batch.filter(
        pa.array(state.ledger.fits(experts, most) & (most * state.ledger.stretch[experts] <= caps_leave))
    )


def _send(state: RunState, flight: Flight, batch: pa.RecordBatch) -> None:
    experts, expected, most = (batch.column(name).to_numpy() for name in ("expert", "expected", "at_most"))
    parked = batch.column("parked").to_numpy(zero_copy_only=False)
    state.ledger.unpark(experts[parked], most[parked])
    state.ledger.send(experts, expected, most)
    state.sent += len(batch)
    state.fresh += len(batch) - int(parked.sum())
    flight.send(batch)
