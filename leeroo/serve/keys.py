"""Keys: who may use the server. Only hashes are kept; a key is shown once, when it is created."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from leeroo.engine.errors import UsageError
from leeroo.serve.clock import now
from leeroo.serve.database import Database, new_id

# The owner of everything on a server without keys.
NOBODY = "local"
_SESSION_S = 12 * 3600


@dataclass(frozen=True)
class Key:
    """A key without its secret; times are seconds of the epoch."""

    id: str
    name: str
    created: int
    revoked: int | None


def store_owner(owner: str) -> str:
    """Return an owner as the answer store has it: without a key, it is whoever uses the store directly."""
    return "" if owner == NOBODY else owner


def create(db: Database, name: str) -> tuple[Key, str]:
    """Create a key, and return it with its secret, which is kept nowhere.

    Raises:
        UsageError: a key of that name is in use.

    """
    if not name.strip():
        raise UsageError("a key needs a name, to tell it from others by")
    secret = "lk-" + secrets.token_urlsafe(32)
    key = Key(new_id("key_"), name.strip(), int(now()), None)
    with db.transaction() as con:
        if con.execute("SELECT 1 FROM keys WHERE name = ? AND revoked IS NULL", (key.name,)).fetchone():
            raise UsageError(f"there is a key {key.name!r} already: revoke it first, or choose another name")
        con.execute("INSERT INTO keys VALUES (?, ?, ?, ?, NULL)", (key.id, key.name, _hash(secret), key.created))
    return key, secret


def list_keys(db: Database) -> list[Key]:
    """Return all keys, the oldest first."""
    return [Key(*row) for row in db.rows("SELECT id, name, created, revoked FROM keys ORDER BY created, name")]


def revoke(db: Database, name: str) -> Key:
    """Make a key, by its name or id, useless at once; what it owns stays.

    Raises:
        UsageError: there is no such key in use.

    """
    with db.transaction() as con:
        row = con.execute(
            "UPDATE keys SET revoked = ? WHERE (name = ? OR id = ?) AND revoked IS NULL"
            " RETURNING id, name, created, revoked",
            (int(now()), name, name),
        ).fetchone()
        if row is None:
            raise UsageError(f"no key in use is called {name!r}: see leeroo keys list")
        con.execute("DELETE FROM sessions WHERE key = ?", (row[0],))
    return Key(*row)


def are_required(db: Database) -> bool:
    """Return whether requests need a key: once there was one, for ever."""
    return bool(db.rows("SELECT 1 FROM keys LIMIT 1"))


def owner_of(db: Database, secret: str) -> str | None:
    """Return the id of the key with this secret, if it is in use."""
    rows = db.rows("SELECT id FROM keys WHERE hash = ? AND revoked IS NULL", _hash(secret))
    return str(rows[0]["id"]) if rows else None


def open_session(db: Database, owner: str) -> str:
    """Return a secret for a browser that has shown a key; it is good for half a day."""
    secret, opened = secrets.token_urlsafe(32), int(now())
    with db.transaction() as con:
        con.execute("DELETE FROM sessions WHERE expires < ?", (opened,))
        con.execute("INSERT INTO sessions VALUES (?, ?, ?)", (_hash(secret), owner, opened + _SESSION_S))
    return secret


def owner_of_session(db: Database, secret: str) -> str | None:
    """Return the id of the key that a browser has shown."""
    rows = db.rows("SELECT key FROM sessions WHERE hash = ? AND expires >= ?", _hash(secret), int(now()))
    return str(rows[0]["key"]) if rows else None


def close_session(db: Database, secret: str) -> None:
    """Forget a browser."""
    with db.transaction() as con:
        con.execute("DELETE FROM sessions WHERE hash = ?", (_hash(secret),))


def _hash(secret: str) -> str:
    """Return the hash of a secret; secrets are 256 random bits, which no slow hash makes harder to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()
