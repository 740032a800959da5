"""The batch backend: an expert that is asked through its provider's own batch API, which costs less and takes hours."""

from __future__ import annotations

from leeroo.engine.backends.api.batches.dialects import open_dialect
from leeroo.engine.backends.api.batches.results import Results
from leeroo.engine.backends.api.batches.run import BatchRun
from leeroo.engine.backends.api.dialect import Dialect
from leeroo.engine.backends.api.endpoint import endpoint_of, missing_key
from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.images.limits import limits_of
from leeroo.engine.backends.options import OpenAIOptions, engine_options
from leeroo.engine.backends.protocol import BatchBook
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert


class BatchBackend:
    """A connection to one model of one provider's batch API.

    Raises:
        ExpertUnavailable: its key is not there.
        PoolError: an engine option or the address is wrong, or no batch API of the provider is known.
    """

    def __init__(self, expert: Expert) -> None:
        self._options, self._price = engine_options(expert, OpenAIOptions), expert.list_price
        if (why := missing_key(expert)) is not None:
            raise ExpertUnavailable(why)
        self._api, effort = open_dialect(expert, self._options, endpoint_of(expert))
        # What the provider refuses is found out once for all runs.
        self._latest = Results(Dialect(effort, longest=limits_of(expert).longest), self._price)

    def for_run(self, book: BatchBook) -> BatchRun:
        """Return the connection as one run uses it."""
        self._latest = Results(self._latest.dialect, self._price)
        return BatchRun(self._api, self._options, book, self._latest)

    def cancel(self, remote: str) -> None:
        """Have a batch end early, by the provider's id of it.

        Raises:
            ExpertUnavailable: the provider refuses.
        """
        try:
            self._api.cancel(remote)
        except Fault as fault:
            raise ExpertUnavailable(fault.message) from fault

    def close(self) -> None:
        """End the connections; open batches stay."""
        self._api.close()
