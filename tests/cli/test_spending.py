"""leeroo limits and leeroo spend: caps as people set them, and what was spent."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.store.store import Store
from tests.command import leeroo
from tests.store.conftest import rows

DAY_1, DAY_2 = (datetime(2031, 5, day, tzinfo=UTC).timestamp() for day in (1, 2))


@pytest.fixture
def spent(tmp_path: Path) -> str:
    """Provide a store in which two experts were asked on two days, one of them by a key of a server."""
    done = leeroo("keys", "create", "reports", "--store", tmp_path, "--json")
    key = json.loads(done.stdout)["id"]
    with contextlib.closing(Store(tmp_path)) as store:
        run = store.begin("job", 1, owner=key)
        store.append(rows("a", "b", expert="small"), DAY_1)
        store.append(rows("c", expert="large"), DAY_1)
        store.append(rows("d", run=run.run, expert="small"), DAY_2)
        store.finish(run, 0.5, 0.5)
    return str(tmp_path)


def _limits(*arguments: str) -> subprocess.CompletedProcess[str]:
    return leeroo("limits", *arguments)


def _listed(store: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(_limits("--store", store, "--json").stdout)["limits"]
    return listed


def test_caps_are_set_listed_and_removed(spent: str) -> None:
    """For all, an expert, a key by its name; one that is set again is replaced."""
    assert _limits("set", "--per-day", "9", "--per-month", "200", "--store", spent).returncode == 0
    _limits("set", "--per-day", "20", "--store", spent)
    done = _limits("set", "--per-month", "5", "--expert", "small", "--key", "reports", "--store", spent)
    assert (done.returncode, done.stderr) == (0, "")
    found = [(cap["expert"], cap["key"], cap["period"], cap["usd"]) for cap in _listed(spent)]
    assert found == [
        (None, None, "day", 20.0),
        (None, None, "month", 200.0),
        ("small", "reports", "month", 5.0),
    ]
    said = _limits("--store", spent).stdout
    assert "used USD" in said
    assert "20.000000" in said
    assert "00:00 UTC" in said
    assert _limits("remove", "--store", spent).stderr == "removed: 2 caps\n"
    assert _limits("remove", "--expert", "small", "--key", "reports", "--store", spent).returncode == 0
    assert _listed(spent) == []
    assert "none" in _limits("--store", spent).stdout


def test_a_cap_that_is_listed_says_what_is_used(tmp_path: Path) -> None:
    """What is used and held is taken off, and a program gets the time when it opens again."""
    _limits("set", "--per-day", "2", "--store", str(tmp_path))
    with contextlib.closing(Store(tmp_path)) as store:
        store.append(rows("a"))
    [cap] = _listed(str(tmp_path))
    assert (cap["used_usd"], cap["held_usd"], cap["left_usd"]) == (0.5, 0.0, 1.5)
    assert datetime.fromisoformat(cap["opens"]) > datetime.now(UTC)


def test_an_expert_that_never_spent_may_have_a_cap(spent: str) -> None:
    """It is set, with a note: the name may be misspelt."""
    done = _limits("set", "--per-day", "1", "--expert", "lagre", "--store", spent)
    assert (done.returncode, done.stderr) == (0, "note: no expert 'lagre' has spent anything in this store yet\n")
    assert _listed(spent)[0]["expert"] == "lagre"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["set", "--per-day", "-1"], "a cap is an amount in USD of at least 0, not -1.0"),
        (["set", "--per-day", "nan"], "a cap is an amount in USD of at least 0, not nan"),
        (["set", "--per-month", "inf"], "a cap is an amount in USD of at least 0, not inf"),
        (["set", "--per-day", "1", "--per-month", "-1"], "a cap is an amount in USD of at least 0, not -1.0"),
        (["set"], "say how much: --per-day USD, --per-month USD, or both"),
        (["set", "--per-day", "1", "--expert", " "], "--expert takes the name of an expert; leave it out"),
        (["set", "--per-day", "1", "--key", "nobody"], "no key in use is called 'nobody': see leeroo keys list"),
        (["remove"], "there is no such cap: see leeroo limits"),
    ],
)
def test_what_is_wrong_is_one_line(spent: str, arguments: list[str], says: str) -> None:
    """And nothing is set."""
    done = _limits(*arguments, "--store", spent)
    assert done.returncode == 2
    assert done.stderr.startswith(f"leeroo: {says}")
    assert done.stderr.count("\n") == 1
    assert _listed(spent) == []


def test_an_option_before_the_name_of_the_command_is_refused(spent: str) -> None:
    """It would not be the store that is meant."""
    done = leeroo("limits", "--store", spent, "set", "--per-day", "1")
    assert (done.returncode, done.stderr) == (2, "leeroo: options of leeroo limits set come after its name\n")


def test_a_revoked_key_gets_no_cap(spent: str) -> None:
    """Its own can be removed all the same."""
    _limits("set", "--per-day", "1", "--key", "reports", "--store", spent)
    leeroo("keys", "revoke", "reports", "--store", spent)
    assert "no key in use" in _limits("set", "--per-day", "1", "--key", "reports", "--store", spent).stderr
    assert _limits("remove", "--key", "reports", "--store", spent).returncode == 0


def test_spending_is_summed(spent: str) -> None:
    """By any of day, expert and key, in that order, the latest day last."""
    assert json.loads(leeroo("spend", "--store", spent, "--json").stdout) == {
        "spend": [
            {"day": "2031-05-01", "answers": 3, "prompt_tokens": 21, "completion_tokens": 12, "cost_usd": 1.5},
            {"day": "2031-05-02", "answers": 1, "prompt_tokens": 7, "completion_tokens": 4, "cost_usd": 0.5},
        ]
    }
    found = json.loads(leeroo("spend", "--by", "key,expert", "--store", spent, "--json").stdout)["spend"]
    assert [(row["key"], row["expert"], row["answers"]) for row in found] == [
        (None, "large", 1),
        (None, "small", 2),
        ("reports", "small", 1),
    ]
    since = json.loads(leeroo("spend", "--since", "2031-05-02", "--store", spent, "--json").stdout)["spend"]
    assert [row["answers"] for row in since] == [1]
    said = leeroo("spend", "--by", "day,expert", "--store", spent).stdout.splitlines()
    assert said[0].split() == ["day", "expert", "answers", "tokens", "in", "tokens", "out", "cost", "USD"]
    assert [line.split()[:3] for line in said[1:]] == [
        ["2031-05-01", "large", "1"],
        ["2031-05-01", "small", "2"],
        ["2031-05-02", "small", "1"],
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--by", "hour"], "--by takes day, expert, key, with commas between, or run alone, and not 'hour'"),
        (["--by", ""], "--by takes names with commas between, but was given ''"),
        (["--since", "yesterday"], "--since takes a day such as 2026-11-30, and not 'yesterday'"),
    ],
)
def test_odd_questions_about_spending_are_refused(spent: str, arguments: list[str], says: str) -> None:
    """With one line."""
    done = leeroo("spend", *arguments, "--store", spent)
    assert (done.returncode, done.stderr) == (2, f"leeroo: {says}\n")


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Only setting a cap makes one."""
    for command in (["limits"], ["limits", "remove"], ["spend"]):
        done = leeroo(*command, "--store", tmp_path / "none")
        assert done.returncode == 2
        assert "there is no answer store in" in done.stderr


def test_the_commands_of_the_docs_run(spent: str) -> None:
    """Each as it stands in the pages on spending and on the server, in their order."""
    docs = Path(__file__).parents[2] / "docs" / "how-to"
    pages = "".join((docs / page).read_text() for page in ("keep-answers-and-cap-spending.md", "serve-batches.md"))
    commands = re.findall(r"^    leeroo ((?:limits|spend).*?)(?: +#.*)?$", pages, flags=re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        assert leeroo(*command.split(), "--store", spent).returncode == 0, command


def test_runs_are_listed_with_their_command(pool_file: Path, tmp_path: Path) -> None:
    """Each run has its rows, its cost and the command that began it; a program of the user only its name."""
    (tmp_path / "t.csv").write_text("question\nWhat is 1 plus 1?\n")
    given = ("run", "t.csv", "--out", "o.csv", "--pool", str(pool_file), "--store", "s")
    command = [sys.executable, "-m", "leeroo", *given]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    program = tmp_path / "nightly.py"
    program.write_text(
        "import pyarrow as pa, leeroo\n"
        f"leeroo.answer(pa.table({{'question': ['What is 2 plus 2?']}}), pool={str(pool_file)!r}, store='s')\n"
    )
    subprocess.run([sys.executable, program, "secret"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    found = json.loads(leeroo("spend", "--by", "run", "--store", "s", "--json", cwd=tmp_path).stdout)["spend"]
    assert [(run["command"], run["rows"], run["done"]) for run in found] == [
        (f"leeroo {' '.join(given)}", 1, True),
        ("nightly.py", 1, True),
    ]
    assert all(run["cost_usd"] > 0 for run in found)
    lines = leeroo("spend", "--by", "run", "--store", "s", cwd=tmp_path).stdout.splitlines()
    assert lines[1].startswith(found[0]["run"][:8])
    assert lines[1].endswith(found[0]["command"])
    assert json.loads(
        leeroo("spend", "--by", "run", "--since", "2999-01-01", "--store", "s", "--json", cwd=tmp_path).stdout
    ) == {"spend": []}
