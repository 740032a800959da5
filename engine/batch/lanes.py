"""Lanes: the waves of one plan, at the same time where they do not share a device.

Models that hold memory here are visited one after another, in the order that residency gives. Every remote expert has
a lane of its own. The caller's thread only waits: it reports progress, and looks whether to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities
from leeroo.engine.batch.execute import execute
from leeroo.engine.batch.job import Job
from leeroo.engine.batch.plan import Wave

# How often progress is reported, and the wish to stop is looked at.
_LOOK_S = 0.1


def execute_all(job: Job, order: Sequence[Wave], engines: Engines) -> None:
    """Generate the answers of all waves, until they are done or what is open should be chosen anew.

    Raises:
        Interrupted: the run was stopped. What came back within a short grace is kept.
        OutputError: the store or the disk is full.

    """
    job.anew, job.sent, job.refused = False, 0, 0
    lanes = split(job, order)
    with ThreadPoolExecutor(max(len(lanes), 1), "leeroo-lane") as threads:
        running = {threads.submit(_visit, job, lane, engines) for lane in lanes}
        try:
            while running:
                done, running = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                job.meter.report()
                job.look()
                for lane in done:
                    lane.result()
        except BaseException:
            job.halt.set()
            raise


def split(job: Job, order: Sequence[Wave]) -> list[list[Wave]]:
    """The waves by lane: those of local experts together, each remote one alone."""
    local = [wave for wave in order if not capabilities(job.experts[wave.experts[0]]).runs_elsewhere]
    remote = [[wave] for wave in order if wave not in local]
    return [lane for lane in (local, *remote) if lane]


def _visit(job: Job, lane: Sequence[Wave], engines: Engines) -> None:
    for at, wave in enumerate(lane, 1):
        if job.halt.is_set() or job.anew:
            return
        execute(job, wave, engines, lane[at:])
