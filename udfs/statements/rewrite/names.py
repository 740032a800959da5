"""What the names in a query stand for: calls of ours, calls with effects or aggregates, and views. Asks DuckDB."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Set

import duckdb

from leeroo.udfs.statements.keywords import keywords
from leeroo.udfs.statements.rewrite.tree import Node, parser, walk

_OURS = "leeroo"
_CALL = re.compile(r"(\w+)\"?\(")

Execute = Callable[..., duckdb.DuckDBPyConnection]


class Names:
    """The names on one connection.

    Args:
        execute: Runs a statement on the connection; what it has pending is dropped.
        tree: The query whose names are looked up.

    """

    def __init__(self, execute: Execute, tree: Node) -> None:
        self._execute = execute
        own = {name for node in walk(tree) if (name := _function(node)) and name not in _built_in()}
        self._macros = self._hiding() if any(not name.startswith(_OURS) for name in own) else frozenset[str]()
        self._columns = frozenset[str]()
        while (columns := self._answers(tree)) != self._columns:
            self._columns = columns

    def calls_ours(self, node: object) -> bool:
        """Say if there is a call of ours in a tree."""
        return any(self.is_ours(each) for each in walk(node))

    def is_ours(self, node: Node) -> bool:
        """Say if a node is a call of ours, or of a macro that has one, or a selected column that is built from one."""
        if node.get("class") == "COLUMN_REF":
            return any(name.casefold() in self._columns for name in node["column_names"])
        name = _function(node)
        return name is not None and (name.startswith(_OURS) or name in self._macros)

    def _answers(self, tree: Node) -> frozenset[str]:
        """Return the names of selected columns that have answers in them."""
        items = (item for node in walk(tree) if "select_list" in node for item in node["select_list"])
        return frozenset(item["alias"].casefold() for item in items if item["alias"] and self.calls_ours(item))

    def view(self, name: str) -> str | None:
        """Return the query of a view that calls ours; None for anything else, and where another table has the name."""
        found = self._execute(
            """SELECT sql FROM duckdb_views() WHERE lower(view_name) = lower($1) AND sql ILIKE '%leeroo%'
               AND schema_name = current_schema() AND database_name = current_database()
               AND NOT EXISTS (FROM duckdb_tables() WHERE lower(table_name) = lower($1))""",
            [name],
        ).fetchall()
        return _body(found[0][0]) if len(found) == 1 else None

    def columns(self, query: str) -> list[str]:
        """Return the columns of a query, none where DuckDB refuses it."""
        try:
            return [row[0] for row in self._execute(f"DESCRIBE {query}").fetchall()]
        except duckdb.Error:
            return []

    def aggregates(self, node: object) -> bool:
        """Say if a tree has an aggregate or a window, be it in a macro."""
        used = {name for each in walk(node) if (name := _function(each))}
        if used & _aggregates() or any(each.get("class") == "WINDOW" for each in walk(node)):
            return True
        return bool(used - _built_in()) and bool(used & self._aggregating)

    def has_effects(self, node: object) -> bool:
        """Say if evaluating a tree twice may give two values, be it in a macro."""
        used = {name for each in walk(node) if (name := _function(each))}
        if used & _volatile() or any(_is_sampled(each) for each in walk(node)):
            return True
        return any(not name.startswith(_OURS) for name in used - _built_in()) and bool(used & self._drawing)

    def repeatable(self, node: object) -> bool:
        """Say if a condition may be evaluated twice, at a low cost."""
        slow = any(each.get("class") in ("SUBQUERY", "WINDOW") for each in walk(node))
        return not slow and not self.has_effects(node)

    @functools.cached_property
    def _drawing(self) -> frozenset[str]:
        """The macros that have an effect, or draw a number."""
        return self._calling(_volatile())

    @functools.cached_property
    def _aggregating(self) -> frozenset[str]:
        """The macros that have an aggregate, ours and those of the user."""
        return self._calling(_aggregates())

    def _hiding(self) -> frozenset[str]:
        """Return the macros of the user's that call ours, some by way of others."""
        return frozenset(name for name in self._calling({_OURS}, begins=True) if not name.startswith(f"_{_OURS}"))

    def _calling(self, called: Set[str], *, begins: bool = False) -> frozenset[str]:
        """Return the macros that call some functions, or those whose names begin so, some by way of others."""
        rows = self._execute(
            "SELECT lower(function_name), lower(macro_definition) FROM duckdb_functions()"
            " WHERE function_type = 'macro' AND NOT internal"
        ).fetchall()
        calls = [(name, set(_CALL.findall(text))) for name, text in rows]
        found: set[str] = set()
        while True:
            known = called | found
            more = {
                name
                for name, used in calls
                if used & known or (begins and any(each.startswith(tuple(called)) for each in used))
            }
            if more <= found:
                return frozenset(found)
            found |= more


def _function(node: Node) -> str | None:
    name = node.get("function_name") if node.get("class") in ("FUNCTION", "WINDOW") else None
    return str(name).casefold() if name else None


def _is_sampled(node: Node) -> bool:
    """Say if a call draws its answers."""
    given = [each["name"] for each in node.get("arguments", ()) if "name" in each]  # DuckDB 2
    given += [each.get("alias", "") for each in node.get("children", ())]  # DuckDB 1.5
    return node.get("class") == "FUNCTION" and "temperature" in given


def _body(sql: str) -> str | None:
    """Return the query of a CREATE VIEW; None where it renames the columns."""
    begins = _after_as(sql)
    head = sql.encode()[:begins].decode()
    return None if begins is None or re.search(r"\)\s*AS$", head) else sql.encode()[begins:].decode().rstrip("; \n")


def _after_as(sql: str) -> int | None:
    places: Iterator[int] = (word.start + len("AS") for word in keywords(sql) if word.text == "AS" and word.depth == 0)
    return next(places, None)


@functools.cache
def _built_in() -> frozenset[str]:
    return _listed("true")


@functools.cache
def _volatile() -> frozenset[str]:
    return _listed("stability = 'VOLATILE'")


@functools.cache
def _aggregates() -> frozenset[str]:
    return _listed("function_type = 'aggregate'")


def _listed(where: str) -> frozenset[str]:
    with parser() as con:
        rows = con.execute(f"SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE {where}").fetchall()
    return frozenset(name for (name,) in rows)
