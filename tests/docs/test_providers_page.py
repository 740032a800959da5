"""Every pool entry of choose-a-provider.md and run-local-models.md loads, and says what it lacks to run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from leeroo.engine.backends.api.endpoint import endpoint_of
from leeroo.engine.backends.options import OpenAIOptions, engine_options
from leeroo.engine.backends.select import capabilities, facts, resolve, unavailable
from leeroo.engine.pool import Expert, Pool, load_pool
from tests.command import leeroo

DOCS = Path(__file__).parents[2] / "docs" / "how-to"


def _blocks(page: str) -> list[tuple[str, str]]:
    """Return the headings and TOML blocks of a page."""
    found = []
    for part in re.split(r"^## ", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        found += [(heading, block) for block in re.findall(r"```toml\n(.*?)```", part, flags=re.DOTALL)]
    return found


PROVIDERS = _blocks("choose-a-provider.md")
IDS = [f"{heading}-{at}" for at, (heading, _) in enumerate(PROVIDERS)]
KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GOOGLE_CLOUD_PROJECT")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "choose-a-provider.md").read_text("utf-8")
    for name in (*KEYS, *(re.findall(r"[A-Z_]+_(?:KEY|TOKEN|BEDROCK)\b", page))):
        monkeypatch.delenv(name, raising=False)


def _load(block: str, folder: Path) -> Pool:
    (folder / "pool.toml").write_text(block)
    return load_pool(folder / "pool.toml")


def test_all_providers_have_an_entry() -> None:
    """Each row of the table leads to a block."""
    page = (DOCS / "choose-a-provider.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(#([\w-]+)\)", page))
    headings = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading, _ in PROVIDERS}
    assert linked == headings
    assert len(headings) == 18


@pytest.mark.parametrize(("heading", "block"), PROVIDERS, ids=IDS)
def test_an_entry_loads_and_names_what_is_missing(
    heading: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an API's, has a price, and lacks the variables that it names; with them it lacks no more."""
    pool = _load(block, tmp_path)
    [expert] = pool.experts
    assert resolve(expert) == "openai"
    assert capabilities(expert).runs_elsewhere
    options = engine_options(expert, OpenAIOptions)
    variables = [expert.api_key_env] if expert.api_key_env else []
    variables += [value.removeprefix("env:") for value in options.headers.values() if value.startswith("env:")]
    if options.provider is None:
        assert (variables == []) == (expert.base_url or "").startswith("http://127.0.0.1")
        assert endpoint_of(expert).url == str(expert.base_url or "https://api.openai.com/v1").partition("?")[0]
    for variable in variables:
        assert f"the environment variable {variable} with " in (unavailable(expert) or "")
        monkeypatch.setenv(variable, "sk-0123456789")
    assert unavailable(expert) is None
    assert all(variable in facts(expert, pool)["sent_to"] for variable in variables)


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    """`leeroo experts` has a line for the variable of an entry, and for where its rows go."""
    [block] = [block for _, block in PROVIDERS if "api-version" in block]
    (tmp_path / "pool.toml").write_text(block)
    done = leeroo("experts", "--pool", "pool.toml", cwd=tmp_path)
    said = " ".join(done.stdout.split())
    assert "the environment variable AZURE_OPENAI_API_KEY with the header api-key is not set" in said
    assert "DEPLOYMENT with the header api-key from AZURE_OPENAI_API_KEY" in said


def test_a_provider_without_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry with `provider` needs any-llm-sdk, and says so before anything is sent."""
    [block] = [block for _, block in PROVIDERS if 'provider = "anthropic"' in block]
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-0123456789")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "any_llm" else found(name))
    from leeroo.engine.backends import select

    select._no_module.cache_clear()
    try:
        why = unavailable(_load(block, tmp_path)["anthropic"])
    finally:
        select._no_module.cache_clear()
    assert why == "the package any_llm is not installed: pip install 'leeroo[api]'"


def _runs_here(expert: Expert) -> bool:
    return capabilities(expert).holds_memory


@pytest.mark.parametrize("block", [block for _, block in _blocks("run-local-models.md")])
def test_an_entry_of_a_model_that_is_loaded_here_loads(block: str, tmp_path: Path) -> None:
    """Its options are known, and adapters share the engine of their base."""
    for folder in re.findall(r'= "\./([\w/.-]+)"', block):
        (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder).mkdir() if "." not in folder else (tmp_path / folder).touch()
    pool = _load(block, tmp_path)
    assert all(_runs_here(expert) for expert in pool.experts)
    for expert in pool.experts:
        unavailable(expert)
        assert (expert.adapters == ()) == ("adapter" not in block)
