"""A plugin of dbt-duckdb: models call leeroo_answer and its kin, and each statement of theirs is one batch.

In profiles.yml, below an output of type duckdb:

    plugins:
      - module: leeroo.udfs.dbt
        config: {pool: pool.toml, router: router, store: answers, max_cost_usd: 2.50}

Paths are relative to the folder that dbt is run in, as dbt-duckdb's own. The budget is that of one statement, so
of one model. All models share one engine; what it has loaded goes when dbt ends.

dbt-duckdb gives a plugin its connection and its cursors to configure, and no way to put something in their place;
nor do DuckDB's own cursors let a method be replaced. But one object, the environment, makes all cursors with one
method, and on that object this plugin sets its own: it hands out a `Connection`, which batches whole statements.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, Literal

import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from dbt_common.exceptions import DbtRuntimeError
from pydantic import BaseModel, ConfigDict, ValidationError

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.errors import UsageError
from leeroo.udfs.connection import Connection

_LOG = AdapterLogger("Leeroo")


class Options(BaseModel):
    """What `config` may hold: the options of `leeroo.connect`."""

    model_config = ConfigDict(extra="forbid")

    pool: str | None = None
    router: str | None = None
    store: str | None = None
    max_cost_usd: float | None = None
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    on_error: Literal["null", "fail"] = "null"
    on_expert_down: Literal["next", "fail"] = "next"


class Plugin(BasePlugin):  # type: ignore[misc]
    """What dbt-duckdb looks for in this module."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Open the engine.

        Raises:
            DbtRuntimeError: the config, or what it names, is wrong; dbt shows one line.

        """
        # dbt-duckdb adds DuckDB's settings of the profile to the config of every plugin.
        settings = (self.creds and self.creds.settings) or {}
        try:
            self._engine, self._criteria = _opened({k: v for k, v in plugin_config.items() if k not in settings})
        except UsageError as error:
            raise DbtRuntimeError(f"plugin leeroo.udfs.dbt in profiles.yml: {error}") from None
        weakref.finalize(self, self._engine.close)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:  # noqa: ARG002 - dbt-duckdb gives it
        """Have the cursors of this connection batch whole statements."""
        environment = DuckDBConnectionManager.env()
        # The class's own method, not what is set now: a connection may be closed and another one opened.
        environment.initialize_cursor = functools.partial(self._cursor, type(environment).initialize_cursor)

    def _cursor(
        self, initialize: Callable[..., Any], creds: object, cursor: duckdb.DuckDBPyConnection, *rest: Any
    ) -> Any:
        connection = Connection(cursor, self._engine, self._criteria, owner=False, report=_LOG.warning)
        return initialize(creds, connection, *rest)


def _opened(config: dict[str, Any]) -> tuple[Engine, Criteria]:
    try:
        options = Options.model_validate(config)
    except ValidationError as error:
        raise UsageError(_sentence(error)) from None
    criteria = Criteria(
        max_cost_usd=options.max_cost_usd,
        cost_weight=options.cost_weight,
        latency_weight=options.latency_weight,
        on_error=options.on_error,
        on_expert_down=options.on_expert_down,
    )
    return open_engine(options.pool, options.router, options.store), criteria


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    key = first["loc"][0]
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r} in config; there are: {', '.join(Options.model_fields)}"
    return f"{key} = {first['input']!r} in config: {first['msg'][0].lower()}{first['msg'][1:]}"
