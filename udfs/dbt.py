"""A plugin of dbt-duckdb: models call leeroo_answer and the other functions, and each statement is one batch.

In profiles.yml, below an output of type duckdb:

    plugins:
      - module: leeroo.udfs.dbt
        config: {pool: pool.toml, router: router, store: answers, max_cost_usd: 2.50}

Paths are relative to the folder that dbt is run in, as dbt-duckdb's own. The budget is that of one statement, so
of one model. All models share one engine; what it has loaded goes when dbt ends.

dbt-duckdb lets a plugin configure its connection and its cursors, but not replace them, and DuckDB's own cursors do not
let a method be replaced. But one object, the environment, makes all cursors with one method. On that object this plugin
sets its own, which returns a `Connection` that batches whole statements.
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


class PluginOptions(BaseModel):
    """The keys of `config`: the options of `leeroo.connect`."""

    model_config = ConfigDict(extra="forbid")

    pool: str | None = None
    router: str | None = None
    store: str | None = None
    max_cost_usd: float | None = None
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    deadline: float | str | None = None
    on_error: Literal["null", "fail"] = "null"
    on_expert_down: Literal["next", "fail"] = "next"


class Plugin(BasePlugin):  # type: ignore[misc]
    """The plugin; dbt-duckdb looks for a class of this name."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Open the engine.

        Raises:
            DbtRuntimeError: the config, or what it names, is wrong; dbt shows one line.

        """
        # dbt-duckdb adds DuckDB's settings of the profile to the config of every plugin.
        settings = (self.creds and self.creds.settings) or {}
        try:
            self._engine, self._criteria = _open({k: v for k, v in plugin_config.items() if k not in settings})
        except UsageError as error:
            raise DbtRuntimeError(f"plugin leeroo.udfs.dbt in profiles.yml: {error}") from None
        weakref.finalize(self, self._engine.close)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:  # noqa: ARG002 - dbt-duckdb gives it
        """Make the cursors of this connection batch whole statements."""
        environment = DuckDBConnectionManager.env()
        # The class's own method, not what is set now: a connection may be closed and another one opened.
        environment.initialize_cursor = functools.partial(self._cursor, type(environment).initialize_cursor)

    def _cursor(
        self, initialize: Callable[..., Any], creds: object, cursor: duckdb.DuckDBPyConnection, *rest: Any
    ) -> Any:
        connection = Connection(cursor, self._engine, self._criteria, owner=False, report=_LOG.warning)
        return initialize(creds, connection, *rest)


def _open(config: dict[str, Any]) -> tuple[Engine, Criteria]:
    try:
        options = PluginOptions.model_validate(config)
    except ValidationError as error:
        raise UsageError(_sentence(error)) from None
    criteria = Criteria(**options.model_dump(exclude={"pool", "router", "store"}))
    return open_engine(options.pool, options.router, options.store), criteria


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    key = first["loc"][0]
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r} in config; there are: {', '.join(PluginOptions.model_fields)}"
    return f"{key} = {first['input']!r} in config: {first['msg'][0].lower()}{first['msg'][1:]}"
