"""The calls of one connection's functions: find what is known, collect or request what is not.

DuckDB calls functions from several threads at once and hands them 2,048 rows at most. All that these calls share is
here, behind one lock. Knows nothing of SQL text and does not use the user's connection.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.errors import RowsFailed, UsageError
from leeroo.engine.listeners import LineListener
from leeroo.udfs.feedback import FeedbackWriter
from leeroo.udfs.functions.kinds import KIND_OF, KINDS, Kind, type_of
from leeroo.udfs.functions.memo import Memo
from leeroo.udfs.functions.requests import Group, Questions
from leeroo.udfs.functions.signatures import VARIABLES
from leeroo.udfs.functions.unanswered import Unanswered

# A statement that sets one of these drops the option of the other.
_MONEY: dict[str, Any] = {"max_cost_usd": None, "cost_weight": 0.0}


@contextmanager
def naming(function: str) -> Iterator[None]:
    """Put the name of a called function before the errors of ours that are raised in here."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{function}: {error}") from None


@dataclass
class Function:
    """The functions of one kind: the values that are known, and the questions collected so far."""

    kind: Kind
    memo: Memo
    paid_from: int = 0  # values from this number on were paid for in this statement
    names: dict[str, None] = field(default_factory=dict)  # its public names in this statement
    calls: int = 0  # how often it was called while collecting
    wanted: dict[Group, Counter[str]] = field(default_factory=dict)  # how many values of each question

    def want(self, group: Group, questions: list[str]) -> None:
        """Collect questions; equal ones share one value unless they are sampled."""
        counts = self.wanted.setdefault(group, Counter())
        if group.sampled:
            counts.update(questions)
        else:
            dict.update(counts, dict.fromkeys(questions, 1))

    def count_requests(self) -> int:
        """Count the requests that the collected questions take at most."""
        count = self.kind.requests
        if count is None:
            return sum(map(len, self.wanted.values()))
        return sum(count(group, question) for group, questions in self.wanted.items() for question in questions)

    def take_wanted(self) -> Questions:
        """Return the questions that were collected, and forget them."""
        wanted = [(group, list(counts.elements())) for group, counts in self.wanted.items()]
        self.wanted.clear()
        return wanted


class CallPlan(NamedTuple):
    """The task of a call in a planned statement."""

    function: str  # its public name
    collect: bool  # what is not known, rather than request it
    criteria: Criteria


class Calls:
    """The state that the functions of one registration share.

    Args:
        engine: Answers.
        options: The criteria where no variable of SQL says otherwise.
        announced: True where someone says when a statement begins (`begin`). Otherwise one is taken to begin when the
            planner is at work again after rows were read.
        report: Takes a line about rows of a statement that have no answer.

    """

    def __init__(self, engine: Engine, options: Criteria, *, announced: bool, report: LineListener) -> None:
        self.engine = engine
        self.functions = {name: Function(kind, Memo(type_of(kind.values, engine.pool))) for name, kind in KINDS.items()}
        self.feedback = FeedbackWriter(engine)
        self.plans: list[CallPlan] = []  # by number; a statement may be planned once and run again, so none is removed
        self._numbers: dict[CallPlan, int] = {}
        self.met = 0  # calls of ours that the planner met while this was `collecting`
        self.raised: BaseException | None = None  # the last error of a function, before DuckDB wrapped it
        self.lock = threading.RLock()  # hold it from finding to taking the values
        self._options = options
        self._announced = announced
        self._report = report
        self._unanswered = Unanswered()
        self._in_statement = False
        self._collector: int | None = None  # the thread whose plans collect
        self._spent = 0.0  # USD paid in this statement
        self._read_rows = False
        self._working: int | None = None  # the thread in which the engine is at work for this connection

    def begin(self) -> None:
        """Begin a statement: its budget is whole, and questions that failed in another may be repeated."""
        with self.lock:
            for function in self.functions.values():
                if function.kind.of_statement:
                    function.memo.forget()
                function.names.clear()
                function.calls = 0
                function.wanted.clear()
                function.memo.forget_failures()
                function.memo.forget_samples()
                if function.memo.is_full:
                    function.memo.forget()
                function.paid_from = len(function.memo.values)
            self._spent = 0.0
            self._read_rows = False

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Begin a statement, which is over at the end of this."""
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
        """Have the statements that this thread plans in here collect what is not known, and take it for NULL.

        The plan collects, not the connection: a statement that another thread runs on the same connection meanwhile
        gets its answers.
        """
        self._collector, self.met = threading.get_ident(), 0
        try:
            yield
        finally:
            self._collector = None

    def plan(self, name: str) -> bool:
        """Register that the planner meets a call of the public function of this name.

        Returns:
            True if the planned call shall collect.

        """
        with self.lock:
            if not self._announced and self._read_rows:
                self.begin()
            for function in self.functions.values():
                function.memo.redraw()
            self.functions[KIND_OF.get(name, "answers")].names[name] = None
            collects = self._collector == threading.get_ident()
            self.met += collects
            return collects

    def number_of(self, plan: CallPlan) -> int:
        """Return the number of a plan."""
        with self.lock:
            if plan not in self._numbers:
                self._numbers[plan] = len(self.plans)
                self.plans.append(plan)
            return self._numbers[plan]

    def criteria(self, variables: Sequence[Any]) -> Criteria:
        """Return the options with the variables of SQL in their place; budget and cost weight replace each other.

        Args:
            variables: Their values, in the order of `VARIABLES`; None for one that is not set.

        Raises:
            UsageError: a variable has a value that cannot be.

        """
        set_: dict[str, Any] = {n: v for n, v in zip(VARIABLES, variables, strict=True) if v is not None}
        if set_.keys() & _MONEY.keys():
            set_ = _MONEY | set_
        try:
            return replace(self._options, **set_)
        except UsageError as error:
            # The variables have the names of the options, with a prefix.
            raise UsageError(re.sub(rf"\b({'|'.join(VARIABLES)})\b", r"leeroo_\1", str(error))) from None

    def find(self, function: Function, group: Group, questions: pa.Array, *, collect: bool) -> np.ndarray:
        """Return the numbers of the values of these questions in the function's memo, int64 [n].

        Args:
            function, group, questions: The call; its questions are texts, none of them NULL.
            collect: Collect what is not known and leave it at -1; otherwise have it answered now.

        """
        with self.lock:
            self._read_rows = self._read_rows or len(questions) > 1
            numbers = function.memo.find(group, questions)
            unknown = np.flatnonzero(numbers < 0)
            if len(unknown):
                all_of_them = len(unknown) == len(questions)  # in a rehearsal, nearly always
                missing = questions if all_of_them else questions.take(pa.array(unknown))
                texts = missing.to_pylist()
                if collect:
                    function.want(group, texts)
                else:
                    self._answer(function, [(group, texts if group.sampled else list(dict.fromkeys(texts)))])
                    numbers[unknown] = function.memo.find(group, missing)
            return numbers

    def values(self, function: Function, numbers: np.ndarray, field: str | None = None) -> pa.Array:
        """Return the values of these numbers, or a field of each, NULL for -1.

        A value that was paid for in another statement costs nothing in this one.
        """
        with self.lock:
            values = function.memo.values.take(numbers, field)
            if function.kind.estimate is not None and field is None:
                paid_before = pc.and_(pa.array(numbers < function.paid_from), values.is_valid())
                values = _without_cost(values, paid_before) if pc.any(paid_before).as_py() else values
            if not self._announced:
                # Nobody says when a statement is over, and the next one should ask again what failed.
                function.memo.forget_failures()
            return values

    def estimates(self) -> list[tuple[str, Estimate]]:
        """Estimate what answering the collected questions would take, by the names of the functions; forget them."""
        with self.lock:
            return [
                each
                for function in self.functions.values()
                if function.kind.estimate
                for each in self._estimates(function)
            ]

    def _estimates(self, function: Function) -> list[tuple[str, Estimate]]:
        wanted, names = function.take_wanted(), ", ".join(function.names)
        assert function.kind.estimate is not None
        with naming(names):
            found = [function.kind.estimate(self.engine, each, criteria) for criteria, each in _by_criteria(wanted)]
        # Rows nearly always have one group of criteria. The calls of several groups are not counted apart.
        if len(found) == 1:
            found = [replace(found[0], rows=max(found[0].rows, function.calls))]
        return [(names, estimate) for estimate in found]

    def expect_collected(self, sample: int) -> tuple[int, float, float]:
        """Return the number of collected questions, and the USD and tokens that they would take; forget them.

        Args:
            sample: How many questions of each kind are looked at for that.

        """
        with self.lock:
            sums = 0, 0.0, 0.0
            for function in self.functions.values():
                wanted = function.take_wanted()
                count = sum(len(questions) for _, questions in wanted)
                usd, tokens = self._mean(function, wanted, sample) if count else (0.0, 0.0)
                sums = sums[0] + count, sums[1] + usd * count, sums[2] + tokens * count
                function.calls = 0
            return sums

    def _mean(self, function: Function, wanted: Questions, sample: int) -> tuple[float, float]:
        """Return the USD and tokens that one of some questions takes, by the first of each group."""
        if function.kind.estimate is None:
            return 0.0, 0.0
        some = [(group, questions[: max(1, sample // len(wanted))]) for group, questions in wanted[:sample]]
        found = [
            function.kind.estimate(self.engine, each, replace(criteria, max_cost_usd=None, learn=False))
            for criteria, each in _by_criteria(some)
        ]
        tokens = sum(part.prompt_tokens + part.completion_tokens for each in found for part in each.parts)
        count = sum(len(questions) for _, questions in some)
        return sum(each.cost_usd for each in found) / count, tokens / count

    def interrupt(self) -> None:
        """Stop the engine, from another thread, if it is at work for this connection."""
        working = self._working
        if working is not None:
            self.engine.interrupt(working)

    def answer_collected(self) -> bool:
        """Have all that was collected answered, each function as one batch.

        Groups wait until all other questions are answered: until then rows of theirs may be missing. The next rehearsal
        collects them again.

        Returns:
            True if there was anything.

        """
        with self.lock:
            collected = [function for function in self.functions.values() if function.wanted]
            collected.sort(key=lambda function: function.kind.of_groups)
            paid = [function.count_requests() if function.kind.estimate else 0 for function in collected]
            for i, function in enumerate(collected):
                if function.kind.of_groups and not collected[0].kind.of_groups:
                    function.wanted.clear()
                else:
                    self._answer(function, function.take_wanted(), paid[i] / sum(paid[i:]) if paid[i] else 1.0)
            return bool(collected)

    def forget_collected(self) -> int:
        """Forget the collected questions, and return their number."""
        with self.lock:
            for function in self.functions.values():
                function.calls = 0
            return sum(
                len(questions) for function in self.functions.values() for _, questions in function.take_wanted()
            )

    def _answer(self, function: Function, wanted: Questions, share: float = 1.0) -> None:
        for criteria, questions in _by_criteria(wanted):
            with naming(", ".join(function.names) or "leeroo"), self._at_work():
                values = function.kind.answer(self.engine, questions, self._rest_of(criteria, share))
            errors: list[str | None] = [None] * len(values)
            if function.kind.estimate is not None:
                errors = pc.struct_field(values, "error").to_pylist()
                self._spent += pc.sum(pc.struct_field(values, "cost_usd")).as_py() or 0.0
            function.memo.learn(questions, values, [error is not None for error in errors])
            in_part = function.kind.in_part
            self._unanswered.add(function.names, len(values), filter(None, errors), in_part=in_part)
            if self._unanswered.any and criteria.on_error == "fail":
                raise RowsFailed(str(self._unanswered))
        if not self._in_statement:  # a relation is read, or nobody says when a statement is over
            self._report_unanswered()

    def _report_unanswered(self) -> None:
        unanswered, self._unanswered = self._unanswered, Unanswered()
        if unanswered.any:
            self._report(str(unanswered))

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._working = threading.get_ident()
        try:
            yield
        finally:
            self._working = None

    def _rest_of(self, criteria: Criteria, share: float) -> Criteria:
        """Return the criteria with that share of the rest of the budget; other functions have the other shares."""
        criteria = replace(criteria, on_error="null")  # answers are kept before the failure of others is raised
        if criteria.max_cost_usd is None:
            return criteria
        return replace(criteria, max_cost_usd=share * max(0.0, criteria.max_cost_usd - self._spent))


def _by_criteria(wanted: Questions) -> Iterator[tuple[Criteria, Questions]]:
    """Return the questions under each of the criteria, sorted: threads collect them in any order."""
    for criteria in dict.fromkeys(group.criteria for group, _ in wanted):
        groups = [(group, sorted(questions)) for group, questions in wanted if group.criteria == criteria]
        yield criteria, sorted(groups, key=lambda group: repr(group[0].arguments))


def _without_cost(values: pa.StructArray, paid: pa.Array) -> pa.StructArray:
    """Return the same structs, with the cost 0 where `paid`, also that of their steps."""
    columns = dict(zip(values.type.names, values.flatten(), strict=True))
    columns["cost_usd"] = pc.if_else(paid, 0.0, columns["cost_usd"])
    if "steps" in columns:
        steps = columns["steps"]
        each = _without_cost(steps.flatten(), paid.take(pc.list_parent_indices(steps)))
        columns["steps"] = pa.ListArray.from_arrays(_offsets(steps), each, type=steps.type)
    return pa.StructArray.from_arrays(list(columns.values()), fields=list(values.type), mask=values.is_null())


def _offsets(lists: pa.ListArray) -> pa.Array:
    """Return where each list begins in the result of `flatten`, NULL for NULL."""
    ends = np.cumsum(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    missing = np.append(lists.is_null().to_numpy(zero_copy_only=False), False)
    return pa.array(np.append(0, ends), pa.int32(), mask=missing)
