"""`leeroo doctor`: what can run here, and what mends the rest."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leeroo.cli.setup.providers import providers
from tests.command import leeroo
from tests.provider import Provider

KEY = "sk-this-stays-secret"
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in providers().values():
        monkeypatch.delenv(provider.key, raising=False)


def _found(*options: str | Path) -> tuple[int, dict[str, Any]]:
    done = leeroo("doctor", "--json", *options)
    found = json.loads(done.stdout)
    assert set(found) == {"checks", "can_answer", "cannot_answer"}
    return done.returncode, found


def _states(found: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in found["checks"]}


def test_the_embedded_pool_answers_offline() -> None:
    """Without a pool file the embedded experts are looked at, and no host is tried."""
    code, found = _found("--offline")
    assert (code, found["can_answer"]) == (0, ["smollm2-direct", "smollm2-reason"])
    states = _states(found)
    assert states["embedded model"] == states["answer store"] == states["extra local"] == "ok"
    assert "hub" not in states


def test_keys_are_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is set makes its provider's models answer; its value is printed nowhere."""
    monkeypatch.setenv("MISTRAL_API_KEY", KEY)
    done = leeroo("doctor", "--offline")
    assert "set: MISTRAL_API_KEY" in done.stdout
    assert "mistral's models" in done.stdout.splitlines()[-1]
    assert KEY not in done.stdout + done.stderr


def test_servers_of_a_pool_are_tried(api: Provider, api_entry: Callable[..., str], tmp_path: Path) -> None:
    """A server that answers is good whatever it answers; one that does not leaves its experts unable to."""
    down = api_entry("down", 1, 1).replace(api.url, NOWHERE)
    (tmp_path / "pool.toml").write_text(api_entry("up", 1, 1) + down)
    code, found = _found("--pool", tmp_path / "pool.toml")
    assert (code, found["can_answer"]) == (0, ["up"])
    assert (_states(found)["server of up"], _states(found)["server of down"]) == ("ok", "no")
    assert f"{NOWHERE} cannot be reached" in found["cannot_answer"]["down"]
    assert not api.calls  # nothing that costs was sent


def test_where_nothing_can_answer_it_ends_with_1(tmp_path: Path) -> None:
    """A pool without its key cannot answer, and the variable is named."""
    pool = tmp_path / "pool.toml"
    pool.write_text(
        '[[expert]]\nname = "far"\nmodel = "gpt-4o"\nbackend = "openai"\napi_key_env = "NO_SUCH_KEY"\n'
        f'base_url = "{NOWHERE}"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    )
    done = leeroo("doctor", "--pool", pool, "--offline")
    assert done.returncode == 1
    assert "export NO_SUCH_KEY=..." in done.stdout
    assert "cannot answer: far (the environment variable NO_SUCH_KEY" in done.stdout
    assert done.stdout.splitlines()[-1] == "nothing can answer here"


def test_a_store_that_cannot_be_written_is_seen(tmp_path: Path) -> None:
    """A file where the folder should be is found before a run fails at it, and nothing is made."""
    (tmp_path / "file").write_text("")
    _, found = _found("--offline", "--store", tmp_path / "file" / "store")
    assert _states(found)["answer store"] == "no"
    _, found = _found("--offline", "--store", tmp_path / "new" / "store")
    assert _states(found)["answer store"] == "ok"
    assert not (tmp_path / "new").exists()


def test_its_extras_exist() -> None:
    """Each extra that it names can be installed."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    _, found = _found("--offline")
    named = {name.removeprefix("extra ") for name in _states(found) if name.startswith("extra ")}
    assert {"local", "api", "gpu", "serve"} == named
    assert named <= project["optional-dependencies"].keys()


def test_a_package_that_is_missing_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra with the package is named as pip takes it."""
    monkeypatch.setitem(sys.modules, "fastapi", None)
    done = leeroo("doctor", "--offline")
    assert "install 'leeroo[serve]'" in done.stdout
