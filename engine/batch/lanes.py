"""Lanes: the waves of one plan, at the same time where they do not share a device.

Models that hold memory here run one after another, in the order of their waves. Every remote expert has a lane of its
own. The caller's thread only waits: it reports progress, and looks whether to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities
from leeroo.engine.batch.execute import execute
from leeroo.engine.batch.plan import Wave
from leeroo.engine.batch.run import RunState

# Seconds between two reports of progress, and two looks at whether to stop.
_LOOK_S = 0.1


def execute_all(state: RunState, order: Sequence[Wave], engines: Engines) -> None:
    """Generate the answers of all waves, until they are done or what is open should be chosen anew.

    Raises:
        Interrupted: the run was stopped. What came back within a short grace is kept.
        OutputError: the store or the disk is full.

    """
    state.anew, state.sent, state.refused = False, 0, 0
    lanes = split(state, order)
    with ThreadPoolExecutor(max(len(lanes), 1), "leeroo-lane") as threads:
        running = {threads.submit(_run_lane, state, lane, engines) for lane in lanes}
        try:
            while running:
                done, running = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                state.meter.report()
                state.check_stop()
                for lane in done:
                    lane.result()
        except BaseException:
            state.halt.set()
            raise


def split(state: RunState, order: Sequence[Wave]) -> list[list[Wave]]:
    """Split waves into lanes: those of local experts together, each remote one alone."""
    local = [wave for wave in order if not capabilities(state.plan.experts[wave.experts[0]]).runs_elsewhere]
    remote = [[wave] for wave in order if wave not in local]
    return [lane for lane in (local, *remote) if lane]


def _run_lane(state: RunState, lane: Sequence[Wave], engines: Engines) -> None:
    for at, wave in enumerate(lane, 1):
        if state.halt.is_set() or state.anew:
            return
        execute(state, wave, engines, lane[at:])
