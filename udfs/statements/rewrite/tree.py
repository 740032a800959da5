"""The syntax tree of a query, as DuckDB's own parser reads and writes it. Knows nothing of what a query means.

A tree is kept only where writing and reading it again gives the same tree, so that a query that is written from a
changed tree differs from the user's in that change alone.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import duckdb

Node = dict[str, Any]

_SUBJECT = "SELECT "


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def parser() -> duckdb.DuckDBPyConnection:
    """Return a connection that knows DuckDB's own functions and nothing of the user's; opening another takes 20 ms."""
    return _database().cursor()


def read(query: str) -> Node | None:
    """Return the tree of a query, None for what is no query or would be written differently."""
    tree = _read(query)
    if tree is None:
        return None
    again = _read(write(tree))
    return tree if again is not None and same(again, tree) else None


def write(tree: Node) -> str:
    """Return the text of a tree."""
    with parser() as con:
        return str(con.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)]).fetchall()[0][0])


def root(tree: Node) -> Node:
    """Return the query itself."""
    node: Node = tree["statements"][0]["node"]
    return node


def with_root(tree: Node, node: Node) -> Node:
    """Return a tree with another query in the place of its own."""
    return {**tree, "statements": [{**tree["statements"][0], "node": node}]}


def same(one: object, other: object) -> bool:
    """Say if two trees mean the same text."""
    return _key(one) == _key(other)


def walk(node: object) -> Iterator[Node]:
    """Return all nodes of a tree, a node before those in it."""
    if isinstance(node, dict):
        yield node
        for each in node.values():
            yield from walk(each)
    elif isinstance(node, list):
        for each in node:
            yield from walk(each)


def expression(text: str, **parts: Node) -> Node:
    """Return the tree of an expression; columns of these names stand for other expressions."""
    found: Node = replace(copy.deepcopy(_expression(text)), lambda node: parts.get(column_of(node) or ""))
    return found


def text_of(node: Node) -> str:
    """Return the text of an expression."""
    tree = copy.deepcopy(_tree("SELECT 1"))
    root(tree)["select_list"] = [{**node, "alias": ""}]
    return write(tree).removeprefix(_SUBJECT)


def query(text: str) -> Node:
    """Return the tree of a query of ours, to be changed."""
    return copy.deepcopy(root(_tree(text)))


def column_of(node: Node) -> str | None:
    """Return the name of a column that is named without its table."""
    names: list[str] = node["column_names"] if node.get("class") == "COLUMN_REF" else []
    return names[0] if len(names) == 1 else None


def replace(node: Any, other: Callable[[Node], Node | None]) -> Any:
    """Return a tree in which nodes have others in their place; `other` returns None for one that stays."""
    if isinstance(node, dict):
        found = other(node)
        return {name: replace(each, other) for name, each in node.items()} if found is None else found
    return [replace(each, other) for each in node] if isinstance(node, list) else node


def rebuild(node: Any, change: Callable[[Node], Node]) -> Any:
    """Return a tree in which every node is changed after those in it."""
    if isinstance(node, dict):
        return change({name: rebuild(each, change) for name, each in node.items()})
    return [rebuild(each, change) for each in node] if isinstance(node, list) else node


def _read(query: str) -> Node | None:
    with parser() as con:
        tree: Node = json.loads(con.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchall()[0][0])
    return None if tree["error"] or len(tree["statements"]) != 1 else tree


@functools.lru_cache(maxsize=64)
def _tree(text: str) -> Node:
    tree = _read(text)
    assert tree is not None, text
    return tree


def _expression(text: str) -> Node:
    node: Node = root(_tree(_SUBJECT + text))["select_list"][0]
    return node


def _key(node: object) -> object:
    if isinstance(node, dict):
        return {name: _key(each) for name, each in node.items() if not name.startswith("query_location")}
    return [_key(each) for each in node] if isinstance(node, list) else node
