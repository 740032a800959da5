"""The calls of one connection's functions: look up what is known, collect or ask what is not.

DuckDB calls functions from several threads at once and hands them 2,048 rows at most. All that these calls
share is here, behind one lock; nothing here touches the user's connection.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.errors import RowsFailed, UsageError
from leeroo.engine.listeners import LineListener
from leeroo.engine.schema import SQL_ROUTE, SQL_SCORES, SQL_SOLUTION
from leeroo.udfs.feedback import Given
from leeroo.udfs.functions.ask import (
    Ask,
    Asked,
    Explain,
    Group,
    answers,
    explain,
    explain_solutions,
    known_type,
    routes,
    scores,
    solutions,
)
from leeroo.udfs.functions.memo import KEPT_ROWS, Memo
from leeroo.udfs.functions.unanswered import Unanswered

# Options that SET VARIABLE leeroo_... may say otherwise.
_VARIABLES = ("max_cost_usd", "cost_weight", "latency_weight", "on_error")


@contextmanager
def naming(function: str) -> Iterator[None]:
    """Errors of ours raised in here say which function was called."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{function}: {error}") from None


@dataclass
class Function:
    """One function: how it is asked, what is known of it, and what was collected and not asked yet."""

    ask: Ask
    memo: Memo
    explain: Explain | None = None  # of those whose values cost something and may fail
    paid_from: int = 0  # values from this row on were paid for in this statement
    names: dict[str, None] = field(default_factory=dict)  # as people call it in this statement
    calls: int = 0  # how often it was called while collecting
    wanted: dict[Group, Counter[str]] = field(default_factory=dict)  # how many values of each question

    def want(self, group: Group, questions: list[str]) -> None:
        """Remember to ask these; equal questions want one value between them unless they are sampled."""
        if group.sampled:
            self.wanted.setdefault(group, Counter()).update(questions)
        else:
            self.wanted.setdefault(group, Counter()).update(set(questions) - self.wanted[group].keys())

    def take_wanted(self) -> Asked:
        """What was to be remembered, which is then forgotten."""
        wanted = [(group, list(counts.elements())) for group, counts in self.wanted.items()]
        self.wanted.clear()
        return wanted


class Plan(NamedTuple):
    """What a call in a planned statement shall do."""

    function: str  # as people call it
    collect: bool  # what is not known, rather than ask for it
    criteria: Criteria


class Calls:
    """What the functions of one registration share.

    Args:
        engine: Answers.
        options: The criteria where no variable of SQL says otherwise.
        announced: Whether someone says when a statement begins (`begin`). If not, one is taken to begin
            when the planner is at work again after rows were looked up.
        report: Takes a line about rows of a statement that have no answer.

    """

    def __init__(self, engine: Engine, options: Criteria, *, announced: bool, report: LineListener) -> None:
        self.engine = engine
        self.answers = Function(answers, Memo(known_type(engine.pool)), explain)
        self.solutions = Function(solutions, Memo(SQL_SOLUTION), explain_solutions)
        self.routes = Function(routes, Memo(SQL_ROUTE))
        self.scores = Function(scores, Memo(SQL_SCORES))
        self.given = Given(engine)
        self.plans: list[Plan] = []  # by number; statements may be planned once and run again, so none ever goes
        self._numbers: dict[Plan, int] = {}
        self.met = 0  # calls of ours that the planner met while this was `collecting`
        self.raised: BaseException | None = None  # what a function raised last, before DuckDB made it its own
        self.lock = threading.RLock()  # hold it from looking up to taking the values
        self._functions = (self.answers, self.solutions, self.routes, self.scores)
        self._options = options
        self._announced = announced
        self._report = report
        self._unanswered = Unanswered()
        self._in_statement = False
        self._collector: int | None = None  # the thread whose plans collect
        self._spent = 0.0  # USD paid in this statement
        self._looked_up = False
        self._asker: int | None = None  # the thread in which the engine is at work for this connection

    def begin(self) -> None:
        """A statement begins: its budget is whole, and what failed in another may be asked again."""
        with self.lock:
            self.routes.memo.forget()  # a choice is made for the whole statement
            for function in self._functions:
                function.names.clear()
                function.calls = 0
                function.wanted.clear()
                function.memo.forget_failures()
                function.memo.forget_samples()
                if len(function.memo.rows) > KEPT_ROWS:
                    function.memo.forget()
                function.paid_from = len(function.memo.rows)
            self._spent = 0.0
            self._looked_up = False

    @contextmanager
    def announced(self) -> Iterator[None]:
        """A statement begins, and is over at the end of this."""
        before, self._announced = self._announced, True
        self.begin()
        self._unanswered, self._in_statement = Unanswered(), True
        try:
            yield
        finally:
            self._announced, self._in_statement = before, False
        self._report_unanswered()

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """What this thread plans in here collects what is not known, and takes it for NULL.

        It is the plan that collects, not the connection: a statement that another thread runs on the same
        connection meanwhile gets its answers.
        """
        self._collector, self.met = threading.get_ident(), 0
        try:
            yield
        finally:
            self._collector = None

    def plan(self, name: str) -> bool:
        """The planner meets a call of the public function of this name.

        Returns:
            Whether what is planned shall collect.

        """
        with self.lock:
            if not self._announced and self._looked_up:
                self.begin()
            for function in self._functions:
                function.memo.redraw()
            others = {"leeroo_route": self.routes, "leeroo_scores": self.scores, "leeroo_solve": self.solutions}
            others.get(name, self.answers).names[name] = None
            collects = self._collector == threading.get_ident()
            self.met += collects
            return collects

    def number_of(self, plan: Plan) -> int:
        """The number of a plan."""
        with self.lock:
            if plan not in self._numbers:
                self._numbers[plan] = len(self.plans)
                self.plans.append(plan)
            return self._numbers[plan]

    def criteria(
        self,
        max_cost_usd: float | None,
        cost_weight: float | None,
        latency_weight: float | None,
        on_error: str | None,
    ) -> Criteria:
        """The options, but for what the variables of SQL say; either of budget and cost weight replaces the other.

        Raises:
            UsageError: a variable has a value that cannot be.

        """
        said: dict[str, Any] = {"latency_weight": latency_weight, "on_error": on_error}
        said = {name: value for name, value in said.items() if value is not None}
        if max_cost_usd is not None or cost_weight is not None:
            said |= {"max_cost_usd": max_cost_usd, "cost_weight": cost_weight or 0.0}
        try:
            return replace(self._options, **said)
        except UsageError as error:
            # The variables have the names of the options, with a prefix.
            raise UsageError(re.sub(rf"\b({'|'.join(_VARIABLES)})\b", r"leeroo_\1", str(error))) from None

    def look_up(self, function: Function, group: Group, questions: list[str], *, collect: bool) -> np.ndarray:
        """The rows of the function's memo with the values for these questions, int64 [n]; equal ones only if sampled.

        Args:
            collect: Remember what is not known and leave it at -1; otherwise ask for it now.

        """
        with self.lock:
            self._looked_up = self._looked_up or len(questions) > 1
            rows = function.memo.find(group, questions)
            unknown = np.flatnonzero(rows < 0)
            if len(unknown):
                missing = [questions[i] for i in unknown.tolist()]
                if collect:
                    function.want(group, missing)
                else:
                    self._ask(function, [(group, missing if group.sampled else list(dict.fromkeys(missing)))])
                    rows[unknown] = function.memo.find(group, missing)
            return rows

    def values(self, function: Function, rows: np.ndarray, field: str | None = None) -> pa.Array:
        """The values of these rows, or a field of each, NULL for -1.

        What was paid for in another statement costs nothing in this one.
        """
        with self.lock:
            values = function.memo.rows.take(rows, field)
            if function.explain is not None and field is None:
                values = _free(values, rows < function.paid_from)
            if not self._announced:
                # Nobody says when a statement is over, and the next one should ask again what failed.
                function.memo.forget_failures()
            return values

    def estimates(self) -> list[tuple[str, Estimate]]:
        """What it would take to have the answers that were collected, by the names of the functions; forgets them."""
        with self.lock:
            return [told for function in self._functions if function.explain for told in self._estimates(function)]

    def _estimates(self, function: Function) -> list[tuple[str, Estimate]]:
        wanted, names = function.take_wanted(), ", ".join(function.names)
        assert function.explain is not None
        with naming(names):
            told = [function.explain(self.engine, asked, criteria) for criteria, asked in _by_criteria(wanted)]
        # Rows have one group of criteria as good as always; of more, nobody counts the calls.
        called = [replace(e, rows=max(e.rows, function.calls)) for e in told] if len(told) == 1 else told
        return [(names, estimate) for estimate in called]

    def interrupt(self) -> None:
        """Stop the engine, from another thread, if it is at work for this connection."""
        asker = self._asker
        if asker is not None:
            self.engine.interrupt(asker)

    def ask_collected(self) -> bool:
        """Ask for all that was collected, each function as one batch.

        Returns:
            Whether there was anything.

        """
        with self.lock:
            collected = [function for function in self._functions if function.wanted]
            paid = [sum(map(len, function.wanted.values())) if function.explain else 0 for function in collected]
            for i, function in enumerate(collected):
                self._ask(function, function.take_wanted(), paid[i] / sum(paid[i:]) if paid[i] else 1.0)
            return bool(collected)

    def forget_collected(self) -> int:
        """Forget what was collected, and return how much that was."""
        with self.lock:
            for function in self._functions:
                function.calls = 0
            return sum(len(questions) for function in self._functions for _, questions in function.take_wanted())

    def _ask(self, function: Function, wanted: Asked, share: float = 1.0) -> None:
        for criteria, asked in _by_criteria(wanted):
            with naming(", ".join(function.names) or "leeroo"), self._at_work():
                values = function.ask(self.engine, asked, self._what_is_left(criteria, share))
            errors: list[str | None] = [None] * len(values)
            if function.explain is not None:
                errors = _field(values, "error").to_pylist()
                self._spent += pc.sum(_field(values, "cost_usd")).as_py() or 0.0
            function.memo.learn(asked, values, [error is not None for error in errors])
            self._unanswered.add(function.names, len(values), filter(None, errors))
            if self._unanswered.reasons and criteria.on_error == "fail":
                raise RowsFailed(str(self._unanswered))
        if not self._in_statement:  # a relation is read, or nobody says when a statement is over
            self._report_unanswered()

    def _report_unanswered(self) -> None:
        unanswered, self._unanswered = self._unanswered, Unanswered()
        if unanswered.reasons:
            self._report(str(unanswered))

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._asker = threading.get_ident()
        try:
            yield
        finally:
            self._asker = None

    def _what_is_left(self, criteria: Criteria, share: float) -> Criteria:
        """The criteria with that share of the budget, the other functions of the statement having the rest."""
        criteria = replace(criteria, on_error="null")  # answers are known before it is said that others failed
        if criteria.max_cost_usd is None:
            return criteria
        return replace(criteria, max_cost_usd=share * max(0.0, criteria.max_cost_usd - self._spent))


def _by_criteria(wanted: Asked) -> Iterator[tuple[Criteria, Asked]]:
    """What is asked under each of the criteria; threads collect in any order, and the engine sees one."""
    for criteria in dict.fromkeys(group.criteria for group, _ in wanted):
        groups = [(group, sorted(questions)) for group, questions in wanted if group.criteria == criteria]
        yield criteria, sorted(groups, key=lambda asked: repr(asked[0].arguments))


def _field(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    return pc.struct_field(values, name)


def _free(answers: pa.StructArray, paid_before: np.ndarray) -> pa.StructArray:
    """The same answers, with the cost 0 where they were paid for before."""
    if not paid_before.any():
        return answers
    paid = pc.and_(pa.array(paid_before), answers.is_valid())
    return _without_cost(answers, paid)


def _without_cost(values: pa.StructArray, paid: pa.Array) -> pa.StructArray:
    """The same structs, with the cost 0 where `paid`, and that of their steps."""
    columns = dict(zip(values.type.names, values.flatten(), strict=True))
    columns["cost_usd"] = pc.if_else(paid, 0.0, columns["cost_usd"])
    if "steps" in columns:
        steps = columns["steps"]
        each = _without_cost(steps.flatten(), paid.take(pc.list_parent_indices(steps)))
        columns["steps"] = pa.ListArray.from_arrays(_offsets(steps), each, type=steps.type)
    return pa.StructArray.from_arrays(list(columns.values()), fields=list(values.type), mask=values.is_null())


def _offsets(lists: pa.ListArray) -> pa.Array:
    """Where each list begins in what `flatten` gives of them, NULL for NULL."""
    ends = np.cumsum(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    missing = np.append(lists.is_null().to_numpy(zero_copy_only=False), False)
    return pa.array(np.append(0, ends), pa.int32(), mask=missing)
