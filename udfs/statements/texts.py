"""The text of one statement: what of it is rehearsed, and where the query in it stands. Knows nothing of answers."""

from __future__ import annotations

import itertools
import os
import re
import stat
from typing import NamedTuple

import duckdb
from duckdb import StatementType

from leeroo.engine.errors import UsageError
from leeroo.udfs.statements.keywords import Keyword, keywords

_CONFLICT = ("ON", "CONFLICT")
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_QUERY = ("SELECT", "FROM", "VALUES", "WITH")

_REHEARSED = {
    StatementType.SELECT,
    StatementType.INSERT,
    StatementType.UPDATE,
    StatementType.DELETE,
    StatementType.MERGE_INTO,
    StatementType.CREATE,
}
# Before the condition of an UPDATE or DELETE, to make a query of it.
_CONDITION = "SELECT 1 FROM _ WHERE "


class Part(NamedTuple):
    """The query in a statement, as bytes of its text."""

    start: int
    end: int
    condition: bool = False  # it is the condition of an UPDATE or DELETE


def rehearsal(text: str, kind: StatementType | None) -> str | None:
    """Return the text to rehearse: the statement itself, the query of a COPY ... TO, or None."""
    if kind != StatementType.COPY:
        return text if kind in _REHEARSED else None
    part = _copied(text)
    return None if part is None else f"FROM {_cut(text, part)}"


def query_in(text: str, kind: StatementType | None) -> Part | None:
    """Return the query in a statement, or the condition of an UPDATE or DELETE; None where there is none."""
    whole = len(text.encode().rstrip(b"; \t\r\n"))
    if kind == StatementType.SELECT:
        return Part(0, whole)
    if kind == StatementType.INSERT:
        inserts, part = _inserted(text)
        return part if part is not None and not text.encode()[:inserts].strip() else None
    if kind == StatementType.COPY:
        return _copied(text)
    top = [word for word in keywords(text) if word.depth == 0]
    if kind == StatementType.CREATE:
        begins = next((word.start + len("AS") for word in top if word.text == "AS"), None)
        return None if begins is None or "TABLE" not in [word.text for word in top] else Part(begins, whole)
    if kind in (StatementType.UPDATE, StatementType.DELETE):
        begins = next((word.start + len("WHERE") for word in top if word.text == "WHERE"), None)
        ends = next((word.start for word in top if word.text == "RETURNING"), whole)
        return None if begins is None else Part(begins, ends, condition=True)
    return None


def take_query(text: str, part: Part) -> str:
    """Return the query in a statement as a query of its own."""
    return (_CONDITION if part.condition else "") + _cut(text, part)


def put_query(text: str, part: Part, query: str) -> str:
    """Return a statement with another query in the place of its own."""
    code = text.encode()
    new = query.removeprefix(_CONDITION) if part.condition else query
    new = f"({new})" if _cut(text, part).lstrip().startswith("(") and not part.condition else new
    return b"\n".join((code[: part.start], new.encode(), code[part.end :])).decode().strip()


def source(insert: str) -> str | None:
    """Return the query of an INSERT: the text between its target and its clauses, with the WITH before it."""
    inserts, part = _inserted(insert)
    return None if part is None else (insert.encode()[:inserts] + b" " + _cut(insert, part).encode()).decode()


def _inserted(insert: str) -> tuple[int, Part | None]:
    """Return where INSERT stands, and its query, in its parentheses if there are any."""
    code, words = insert.encode(), list(keywords(insert))
    inserts = next(word.start for word in words if word.text == "INSERT")
    into = next((word.start for word in words if word.text == "INTO"), inserts)
    query = next((word.start for word in words if word.start > into and word.text in _QUERY), None)
    if query is None:
        return inserts, None
    clauses = (
        word.start
        for word, then in itertools.pairwise([*words, Keyword(len(code), "", 0)])
        if word.start > query and word.depth == 0 and (word.text == "RETURNING" or (word.text, then.text) == _CONFLICT)
    )
    query = len(code[:query].rstrip(b"( \t\r\n"))  # a query may stand in parentheses
    return inserts, Part(query, next(clauses, len(code.rstrip(b"; \t\r\n"))))


def _copied(text: str) -> Part | None:
    """Return what a COPY ... TO writes."""
    (copy, _), *_ = duckdb.tokenize(text)
    to = next((word.start for word in keywords(text) if word.depth == 0 and word.text == "TO"), None)
    return None if to is None else Part(copy + len("COPY"), to)


def _cut(text: str, part: Part) -> str:
    return text.encode()[part.start : part.end].decode()


def pipe(statement: str) -> str | None:
    """Return a pipe that a statement reads, which a rehearsal would leave empty.

    Raises:
        UsageError: the statement calls our functions, too.

    """
    found = next((path for path in _LITERAL.findall(statement) if _is_pipe(path.replace("''", "'"))), None)
    if found is not None and "leeroo" in statement.casefold():
        raise UsageError(
            f"{found} can be read only once, but a statement that asks questions is run several times:"
            " make a table of it first (CREATE TABLE t AS FROM ...), and ask about that"
        )
    return found


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_IFMT(os.stat(path).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR)
    except (OSError, ValueError):  # it is no path
        return False


def prepared(con: duckdb.DuckDBPyConnection, text: str) -> tuple[str | None, object]:
    """Return the statement that an EXECUTE runs, and its parameters: a plan made before collects no questions."""
    name, _, rest = text.rstrip("; \n").split(None, 1)[1].partition("(")
    try:
        found = con.execute(
            "SELECT statement FROM duckdb_prepared_statements() WHERE name = ?", [name.strip().strip('"')]
        ).fetchall()
        given = con.execute(f"SELECT {rest.rstrip()[:-1]}").fetchall()[0] if rest else None
    except duckdb.Error:
        return None, None  # the statement itself says what is wrong
    if not found or con.extract_statements(found[0][0])[0].type not in _REHEARSED:
        return None, None
    return found[0][0], list(given) if given else None
