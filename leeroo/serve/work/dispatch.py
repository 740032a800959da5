"""Dispatch: whose waves are started next, and what becomes of their answers.

A wave that fails for a batch's fault has its batches tried one by one, and costs no other batch anything. One that was
under way at several ends of the process is taken apart, until the line that ends it is found.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from leeroo.engine.answer import Engine
from leeroo.engine.backends.select import capabilities
from leeroo.engine.errors import Interrupted, LeerooError, OutputError
from leeroo.serve.database import Database
from leeroo.serve.lines.results import LineAnswer, no_answer
from leeroo.serve.work import batches, queue
from leeroo.serve.work.answering import WaveLines, answer_lines, lost_expert
from leeroo.serve.work.metrics import Metrics
from leeroo.serve.work.queue import Backlog
from leeroo.serve.work.stages import ATTEMPTS, BatchStages
from leeroo.serve.work.waves import WAVE_S, LineWave, Speeds, WaveGroup, group_backlogs
from leeroo.serve.work.workers import Workers

# Seconds after which a wave is late and another of its group may start, and after which it is stopped.
_LATE_S, _DEADLINE_S = 3 * WAVE_S, 900.0
# The most seconds that new lines wait for other files of their key to be checked.
_GATHER_S = 1.0
# Seconds after which a wave has shown that the process does not end because of it.
_PROVEN_S = 60.0
# How often a line is begun, the last time alone, before it fails as the one that ends the process.
_MOST_BEGUN = ATTEMPTS + 2
# How often a wave is begun before it is split without its paid answers: reading them may end the process, too. And the
# number of waves that it is split into.
_MOST_READ, _PARTS = ATTEMPTS + 4, 8
# The most waves at the same time: in all, of those in time, of one key, and of one group.
_MOST, _IN_TIME, _OF_KEY, _OF_GROUP = 64, 8, 8, 4


class Dispatcher:
    """The waves that are under way.

    Args:
        db: The server's database.
        engine: Answers the lines.
        metrics: Counts answers.
        workers: Threads for the waves.
        stages: Refuses a batch that cannot be answered.

    """

    def __init__(self, db: Database, engine: Engine, metrics: Metrics, workers: Workers, stages: BatchStages) -> None:
        self._db, self._engine, self._metrics = db, engine, metrics
        self._workers, self._stages, self._speeds = workers, stages, Speeds()
        self._remote = frozenset(expert.name for expert in engine.pool.experts if not capabilities(expert).holds_memory)
        self._served: dict[str, float] = {}  # when a wave of each key was started last
        self._since: dict[int, float] = {}  # when lines of each waiting batch were first seen
        self._checked: set[str] = set()  # keys with files under check
        self._alone: set[int] = set()  # batches that were in a wave which failed
        self._suspects: list[LineWave] = []  # waves that may have ended the process
        self._log = structlog.get_logger("leeroo.serve")

    def resume(self) -> None:
        """Start the waves that a killed server had begun, but those that were under way too often when it was."""
        for number, claimed in queue.unfinished(self._db).items():
            [group, *_] = group_backlogs(claimed, self._remote, self._alone)
            suspect = queue.begun(self._db, number) > ATTEMPTS
            wave = LineWave(number, group, frozenset(backlog.batch for backlog in claimed), alone=suspect)
            if suspect:
                self._suspects.append(wave)
            else:
                self._start(wave)

    def stop(self) -> None:
        """Stop all waves, without waiting for their end."""
        for wave in self._workers.at_work(LineWave):
            wave.stop.set()
            self._clear(wave)

    def stop_unwanted(self) -> None:
        """Stop waves that take too long, or whose batches have been cancelled or are past their time."""
        wanted = {batch.number for batch in batches.list_open(self._db, "in_progress")}
        self._speeds.forget_others(wanted)
        for wave in self._workers.at_work(LineWave):
            if wave.age > _PROVEN_S:
                self._clear(wave)
            some = bool(wave.batches & wanted)
            too_long = wave.age > _DEADLINE_S and not wave.group.learns
            if too_long or not some or (not wave.batches <= wanted and wave.age > _LATE_S):
                wave.stop.set()

    def _clear(self, wave: LineWave) -> None:
        """Note once that an end of the process from now on is not the fault of this wave."""
        if not wave.cleared:
            wave.cleared = True
            queue.count_begin(self._db, wave.number, -1)

    def start_waves(self) -> None:
        """Start waves, those of the keys with the fewest under way first; suspects start alone, before all others."""
        in_time = [wave for wave in self._workers.at_work(LineWave) if wave.age < _LATE_S]
        if self._suspects and not in_time:
            self._start(replace(self._suspects.pop(0)))  # a copy begins now
        if self._suspects or any(wave.alone for wave in in_time):
            return
        waiting, now = queue.waiting(self._db), time.monotonic()
        self._since = {backlog.batch: self._since.get(backlog.batch, now) for backlog in waiting}
        self._checked = {batch.owner for batch in batches.list_open(self._db, "validating")}
        groups = group_backlogs(waiting, self._remote, self._alone)
        while (found := self._next(groups)) is not None:
            group, backlogs = found
            del groups[group]
            portions = self._speeds.portions(backlogs)
            number = queue.claim(self._db, portions)
            self._served[group.owner] = time.monotonic()
            self._start(LineWave(number, group, frozenset(backlog.batch for backlog, _ in portions)))

    def _next(self, groups: Mapping[WaveGroup, list[Backlog]]) -> tuple[WaveGroup, list[Backlog]] | None:
        """Choose the group whose turn it is, with the backlogs for its wave; None where none may start one."""
        running = self._workers.at_work(LineWave)
        if len(running) >= _MOST or sum(wave.age < _LATE_S for wave in running) >= _IN_TIME:
            return None
        of_key = Counter(wave.group.owner for wave in running)
        free = {
            group: may
            for group, backlogs in groups.items()
            if of_key[group.owner] < _OF_KEY
            and (may := _may_start(group, backlogs, running))
            and not self._gathers(group, may)
        }
        turn = min(free, key=lambda group: (of_key[group.owner], self._served.get(group.owner, 0.0)), default=None)
        return None if turn is None else (turn, free[turn])

    def _gathers(self, group: WaveGroup, backlogs: list[Backlog]) -> bool:
        """Return whether a wave should wait for more batches of its key, whose files are under check.

        A wave takes some time, however few its lines are, so that batches which come together should share it.
        """
        first = min(self._since[backlog.batch] for backlog in backlogs)
        return group.owner in self._checked and time.monotonic() - first < _GATHER_S

    def _start(self, wave: LineWave) -> None:
        self._workers.begin(wave, lambda: self._run(wave))

    def _run(self, wave: LineWave) -> None:
        """Have the lines of a wave answered, keep the answers, and let the other lines wait again."""
        tried = False
        try:
            begun = queue.count_begin(self._db, wave.number)
            tried = self._answer(wave) if begun <= ATTEMPTS else self._find_killer(wave, begun)
        except (OutputError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - what cannot be done for one batch costs no other
            self._log.exception("wave_failed", batches=sorted(wave.batches))
            self._blame(wave, error)
        finally:
            # When the server ends, claims stay: its next start resumes the wave as it was.
            if not self._workers.ending.is_set():
                queue.release(self._db, wave.number, tried=tried)

    def _blame(self, wave: LineWave, error: Exception) -> None:
        """Try the batches of a wave that failed one by one, and end one that failed alone too often."""
        self._alone |= wave.batches
        if wave.group.batch is None:
            return
        batch = batches.by_number(self._db, wave.group.batch)
        if batches.count_attempt(self._db, batch) < ATTEMPTS:
            return
        why = str(error) if isinstance(error, LeerooError) else "the server could not work with this batch"
        if batch.completed:
            queue.fail(self._db, batch.number, no_answer(why))
        else:
            self._stages.refuse(batch, "server_error", why)

    def _find_killer(self, wave: LineWave, begun: int) -> bool:
        """Answer a wave that was under way at several ends of the process, or what is left of it, part by part.

        A wave that got answers before the last end goes on. One line that ends the process by itself fails, and so do
        the lines of a batch that learns, for they stay together.
        """
        lines = self._lines(wave)
        if len(lines) == 1 or wave.group.learns:
            if begun <= _MOST_BEGUN:
                return self._answer(wave)
            why = no_answer(f"the server ended {begun - 1} times while it answered this line")
            queue.keep_answers(self._db, [(batch.number, line.line, why) for batch, line in lines])
            self._metrics.count_answers([why] * len(lines))
            return False
        if begun <= _MOST_READ:
            self._answer(wave, send=False)  # what it has paid for is its own, not that of its parts
            if len(self._lines(wave)) < len(lines):
                queue.count_begin(self._db, wave.number, 1 - begun)
                return self._answer(wave)
        parts = queue.split(self._db, wave.number, _PARTS)
        self._suspects += [replace(wave, number=part, alone=True) for part in parts]
        return False

    def _answer(self, wave: LineWave, *, send: bool = True) -> bool:
        """Answer a wave and keep the answers; return whether this was a try of the lines that have none."""
        lines = self._lines(wave)
        if not lines:
            return False
        began = time.monotonic()
        try:
            with answer_lines(self._engine, lines, self._budget(lines), wave.stop, send=send) as answers:
                return self._keep(wave, lines, answers, began)
        except Interrupted:  # before there was anything to keep
            return self._keep(wave, lines, [None] * len(lines), began)

    def _keep(self, wave: LineWave, lines: WaveLines, answers: Sequence[LineAnswer | None], began: float) -> bool:
        """Keep the answers of a wave, except those that deserve another try."""
        stuck = wave.age > _DEADLINE_S and not any(answers)
        kept: list[queue.NewAnswer] = []
        for (batch, line), answer in zip(lines, answers, strict=True):
            last = line.tries + 1 >= ATTEMPTS
            if answer is None and stuck and last:
                why = f"no answer came within {_DEADLINE_S / 60:.0f} minutes, {ATTEMPTS} times"
                kept.append((batch.number, line.line, no_answer(why)))
            elif answer is not None and (last or not lost_expert(self._engine.pool.names, answer)):
                kept.append((batch.number, line.line, answer))
        queue.keep_answers(self._db, kept)
        self._metrics.count_answers([answer for *_, answer in kept])
        self._speeds.learn(Counter(number for number, *_ in kept), time.monotonic() - began)
        return stuck or len(kept) < sum(answer is not None for answer in answers)

    def _lines(self, wave: LineWave) -> WaveLines:
        """Return the lines of a wave whose batches have not been cancelled meanwhile."""
        claimed = queue.claimed(self._db, wave.number).items()
        found = [(batches.by_number(self._db, number), lines) for number, lines in claimed]
        return [(batch, line) for batch, lines in found if batch.status == "in_progress" for line in lines]

    def _budget(self, lines: WaveLines) -> float | None:
        """Return the budget of these lines: their part, by number, of what is left of their batch's."""
        batch = lines[0][0]
        if batch.max_cost_usd is None:
            return None
        left = max(0.0, batch.max_cost_usd - batch.cost_usd)
        return left * len(lines) / max(1, queue.open_lines(self._db, batch.number))


def _may_start(group: WaveGroup, backlogs: list[Backlog], running: list[LineWave]) -> list[Backlog]:
    """Return the backlogs of a group for one more wave: all of them where those that it has are late.

    Where one is in time, only batches without a wave may start: a small batch does not wait for the wave of a large
    one. A budget is not shared.
    """
    own = [wave for wave in running if wave.group == group]
    if own and (group.batch is not None or len(own) >= _OF_GROUP):
        return []
    busy = frozenset[int]().union(*(wave.batches for wave in own if wave.age <= _LATE_S))
    return [backlog for backlog in backlogs if backlog.batch not in busy]
