"""Results: from the lines of batches to completions, or to another batch that asks again."""

from __future__ import annotations

from typing import Any

from leeroo.engine.backends.api.batches.attend import Batch
from leeroo.engine.backends.api.batches.provider import LineResult
from leeroo.engine.backends.api.bills import Bill
from leeroo.engine.backends.api.dialect import Dialect, learn_refused
from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.api.replies import completion
from leeroo.engine.backends.completions import Request, failed_completion
from leeroo.engine.prices import ListPrice

# A line that expired, or failed in a way that passes, is in this many batches at most.
_MOST_BATCHES = 3
# Where nothing was ever answered, this many failures that the expert is to blame for end it.
_GIVE_UP_AFTER = 8


class Results:
    """What the lines of one run have brought so far.

    Attributes:
        dialect: The one that the provider was found to take.
        given_up: Why nothing more can be answered, None while it can.
    """

    def __init__(self, dialect: Dialect, price: ListPrice | None) -> None:
        self.dialect, self._price = dialect, price
        self.given_up: str | None = None
        self._bills: dict[int, Bill] = {}  # of requests that are asked again
        self._answered = False
        self._failures = 0

    def resolve(self, batch: Batch, request: Request, result: LineResult, latency_ms: float) -> dict[str, Any] | None:
        """Return the completion of a request, None where it is to be asked again."""
        bill, fault = self._bills.pop(request.id, Bill(self._price)), result.fault
        if result.reply is not None:
            try:
                row = completion(request, result.reply, bill)
            except Fault as found:
                fault = found
            else:
                self._answered = True
                return {**row, **bill.columns, "latency_ms": latency_ms}
        assert fault is not None
        bill.add_fault(fault, request)
        if self.may_ask_again(batch, request, fault):
            self._bills[request.id] = bill
            return None
        return self.fail(request, fault, bill)

    def fail(self, request: Request, fault: Fault, bill: Bill | None = None) -> dict[str, Any]:
        """Return the completion of a request that got no answer; where it was never sent, it has no bill."""
        bill = bill or self._bills.pop(request.id, Bill(self._price))
        self._count(fault)
        return {**failed_completion(request, fault.message, bounced=fault.blames != "row"), **bill.columns}

    def may_ask_again(self, batch: Batch, request: Request, fault: Fault) -> bool:
        """Return whether a request goes into another batch after this fault, and learn from it."""
        try:
            refused_now = learn_refused(fault, request, batch.dialect)
        except Fault as of_row:  # the row sets itself what is refused
            fault.message, fault.blames, fault.passes = of_row.message, of_row.blames, False
            return False
        self.dialect = self.dialect.without(refused_now)
        return bool(refused_now) or (fault.passes and batch.tries[request.id] < _MOST_BATCHES)

    def _count(self, fault: Fault) -> None:
        """Count a failure; give the expert up where it never answers."""
        self._answered |= fault.blames == "row"
        self._failures += fault.blames == "expert"
        never = not self._answered and self._failures >= _GIVE_UP_AFTER
        if fault.ends or never:
            self.given_up = self.given_up or fault.message
