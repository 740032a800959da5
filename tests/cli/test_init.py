"""`leeroo init`: a pool file from four answers."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from leeroo.cli.setup.providers import providers
from leeroo.engine.pool import load_pool
from tests.command import leeroo

KEY = "sk-this-stays-secret"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in providers().values():
        monkeypatch.delenv(provider.key, raising=False)


def test_every_model_on_offer_has_a_price(tmp_path: Path) -> None:
    """The file with all providers is accepted: each model is in the price list of its own provider."""
    options = [part for name in providers() for part in ("--provider", name)]
    done = leeroo("init", "--out", tmp_path / "pool.toml", "--yes", *options)
    assert done.returncode == 0, done.stderr
    pool = load_pool(tmp_path / "pool.toml")
    assert len(pool.experts) == sum(len(provider.models) for provider in providers().values())
    for expert in pool.experts:
        assert expert.list_price is not None
        assert expert.list_price.endpoint_known
        assert 0 < expert.usd_per_m_input < expert.usd_per_m_output
        assert f"missing: the environment variable {expert.api_key_env}" in done.stdout
    prices = [expert.usd_per_m_output for expert in pool.experts]
    assert all(weak < strong for weak, strong in zip(prices[::2], prices[1::2], strict=True))


def test_without_keys_the_embedded_model_answers(tmp_path: Path) -> None:
    """The defaults are a pool that runs offline, and the commands at the end work as printed."""
    (tmp_path / "tickets.csv").write_text("id,topic,body\n1,rain,Why does it rain in summer?\n")
    done = leeroo("init", "--yes", "--table", "tickets.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [expert] = load_pool(tmp_path / "pool.toml").experts
    assert expert.is_free
    explain = next(line for line in done.stdout.splitlines() if line.startswith("  leeroo explain"))
    assert "--column body" in explain
    estimate = leeroo(*shlex.split(explain)[1:], "--store", "s", cwd=tmp_path)
    assert (estimate.returncode, "1 row" in estimate.stdout) == (0, True), estimate.stderr
    text = (tmp_path / "pool.toml").read_text()
    assert all(f"#   {command.strip()}\n" in text for command in done.stdout.splitlines()[-2:])


def test_providers_whose_key_is_set_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment chooses its provider, its value is written nowhere, and the budget is in the command."""
    monkeypatch.setenv("MISTRAL_API_KEY", KEY)
    done = leeroo("init", "--yes", "--budget", "2.5", cwd=tmp_path)
    pool = load_pool(tmp_path / "pool.toml")
    assert {expert.api_key_env for expert in pool.experts} == {"MISTRAL_API_KEY"}
    assert done.stdout.rstrip().endswith("--max-cost-usd 2.5 --learn --out answers.parquet")
    assert KEY not in done.stdout + done.stderr + (tmp_path / "pool.toml").read_text()


def test_local_models_keep_their_place_and_names_differ(tmp_path: Path) -> None:
    """A folder is found from anywhere, and models of one name get different ones."""
    for folder in ("a", "b"):
        (tmp_path / folder / "My Model!").mkdir(parents=True)
    (tmp_path / "pools").mkdir()
    options = ("--local", "./a/My Model!", "--local", "./b/My Model!", "--out", "pools/p.toml", "--yes")
    assert leeroo("init", *options, cwd=tmp_path).returncode == 0
    one, other = load_pool(tmp_path / "pools/p.toml").experts
    assert (one.name, other.name) == ("my-model", "local-my-model")
    assert Path(one.model) == tmp_path / "a" / "My Model!"


def test_a_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    """What is there stays, and --force replaces it."""
    (tmp_path / "pool.toml").write_text("mine")
    refused = leeroo("init", "--yes", cwd=tmp_path)
    assert (refused.returncode, (tmp_path / "pool.toml").read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert leeroo("init", "--yes", "--force", cwd=tmp_path).returncode == 0
    assert load_pool(tmp_path / "pool.toml").experts


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--provider", "opnai"), "no provider is called 'opnai' here; there are openai,"),
        (("--local", "./nothing.gguf"), "there is no model in ./nothing.gguf"),
        (("--provider", "none", "--local", "none"), "a pool needs an expert"),
        (("--table", "none.csv"), "none.csv"),
        (("--budget", "nan"), "a budget is a number"),
    ],
)
def test_a_wrong_option_is_one_line(options: tuple[str, ...], error: str, tmp_path: Path) -> None:
    """Nothing is written, and the line says what to give."""
    done = leeroo("init", "--yes", *options, cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert error in done.stderr
    assert done.stderr.count("\n") == 1


def test_long_commands_can_be_pasted_from_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go over several lines, none wider than the terminal, and a shell reads the same words."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("MISTRAL_API_KEY", KEY)
    (tmp_path / "my tickets of the year.csv").write_text("id,topic\n1,Why does it rain in summer?\n")
    given = ("--table", "my tickets of the year.csv", "--budget", "2.5", "--out", "a pool of models.toml", "--yes")
    shown = leeroo("init", *given, cwd=tmp_path).stdout.partition("Next:\n")[2]
    run = shlex.split(shown.replace("\\\n", " ").splitlines()[-1])
    assert max(map(len, shown.splitlines())) <= 60
    assert run[:4] == ["leeroo", "run", "my tickets of the year.csv", "--pool"]
    assert run[run.index("--max-cost-usd") + 1] == "2.5"
    text = (tmp_path / "a pool of models.toml").read_text()
    assert f"#   {shlex.join(run)}\n" in text


def test_on_a_terminal_it_has_four_questions(tmp_path: Path) -> None:
    """A person answers them, and a wrong answer gets its question again."""
    terminal, inside = pty.openpty()
    os.write(terminal, b"opnai\nopenai\nembedded\nnone\n4\n")
    command = [sys.executable, "-m", "leeroo", "init"]
    done = subprocess.run(command, cwd=tmp_path, stdin=inside, capture_output=True, text=True, timeout=120)
    os.close(inside)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert [done.stderr.count(f"{i}/4") for i in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert "no provider is called 'opnai'" in done.stderr
    assert load_pool(tmp_path / "pool.toml").names == ("gpt-6-luna", "gpt-6.1-sol", "smollm2-135m-instruct")
    assert "--max-cost-usd 4" in done.stdout
