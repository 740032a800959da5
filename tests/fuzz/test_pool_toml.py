"""Any text as a pool file is a pool, or one line that says what is wrong with it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert, Pool, load_pool

Cases = Callable[[int], Iterator[tuple[str, random.Random]]]

KEYS = [*Expert.model_fields, "default", "expert", "nmae", "", "a.b", '"a\\nb"', "expert.engine", "expert.ray"]
VALUES = [
    *(
        '"a"',
        '""',
        '"leeroo"',
        '"gpt-4o"',
        '"openai"',
        '"replay"',
        '"local"',
        '"~nobody/x"',
        '"/"',
        '"\\u0000"',
        "'''\n'''",
    ),
    *(
        '"some/model"',
        '"{question}"',
        '"{question} {question}"',
        '"http://x"',
        '"localhost:80"',
        '"é\\n"',
        f'"{"x" * 500}"',
    ),
    *("0", "-1", "1", "0.5", "1e400", "nan", "-inf", "true", "9" * 30, "9" * 5000, "1979-05-27T07:32:00Z", "07:32:00"),
    *(
        "[]",
        "[1, 'a']",
        "{}",
        "{ a = 1 }",
        "[[]]",
        "[" * 2000 + "]" * 2000,
        "{ replicas = 0 }",
        "{ resources = { x = -1 } }",
    ),
]
NOISE = [
    "\ufeff",
    "\x00",
    "\n",
    '"',
    "'",
    "[",
    "]",
    "=",
    "#",
    "\\",
    "é",
    "\r",
    "[[expert]]\n",
    "[expert.engine]\n",
    "default",
]


def _expert(rng: random.Random) -> str:
    fields = {
        "name": f'"e{rng.randrange(3)}"',
        "model": '"some/model"',
        "usd_per_m_input": "1",
        "usd_per_m_output": "2",
    }
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        fields[rng.choice(KEYS)] = rng.choice(VALUES)
    if rng.random() < 0.2:
        fields.pop(rng.choice(list(fields)))
    return "[[expert]]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items())


def _pool(rng: random.Random) -> bytes:
    text = "".join(_expert(rng) for _ in range(rng.choice([0, 1, 1, 2])))
    if rng.random() < 0.4:
        text = f"{rng.choice(KEYS)} = {rng.choice(VALUES)}\n{text}"
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(NOISE) + text[at + rng.choice([0, 0, 1, 5]) :]
    raw = text.encode("utf-8", "surrogatepass")
    return rng.randbytes(40) + raw if rng.random() < 0.02 else raw


def test_a_pool_file_is_a_pool_or_one_line(cases: Cases, tmp_path: Path) -> None:
    """Whatever is in a pool file, no other error is raised, and the line names the file."""
    path = tmp_path / "pool.toml"
    for name, rng in cases(400):
        path.write_bytes(_pool(rng))
        try:
            pool = load_pool(path)
        except PoolError as error:
            line = str(error)
            assert line.startswith((str(path), f"cannot read the pool file {path}")), f"case {name}: {line!r}"
            assert "\n" not in line, f"case {name}: {line!r}"
            assert len(line) < 1000, f"case {name}: {line[:1000]!r}"
        except Exception as error:
            raise AssertionError(f"case {name}: {path.read_bytes()!r}") from error
        else:
            assert isinstance(pool, Pool), f"case {name}"
