"""One answer for many texts, through a real API whose experts count what they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.jobs.aggregate.aggregate import TextGroup, aggregate, count_texts, foresee
from tests.provider import BEHAVIOURS

COUNT = "How many texts are there?"


def is_merge(prompt: str) -> bool:
    """Return whether a prompt has answers of parts put together."""
    return "answers, each from other texts" in prompt


def counting(_model: str, prompt: str) -> str:
    """Return the number of texts in a prompt: those of its list or part, or the sum of the answers for its parts."""
    part = re.search(r"^Answer from (.*) only. Say how many", prompt, re.MULTILINE)
    if part is not None:
        counts = re.findall(r"([\d,]+) text", part[1])
    elif is_merge(prompt):
        counts = re.findall(r"^From .*:\n(\d+) texts", prompt, re.MULTILINE)
    else:
        counts = [n or "1" for n in re.findall(r"^- (?:\(([\d,]+) times\) )?", prompt, re.MULTILINE)]
    return f"{sum(int(n.replace(',', '')) for n in counts)} texts"


@pytest.fixture
def engine(tmp_path: Path, api: Any) -> Iterator[Engine]:
    """One expert with a context of 1,000 tokens, which counts texts."""
    api.says = counting
    (tmp_path / "pool.toml").write_text(
        api.entry("counter", 10, 100, "[expert.engine]\ncontext_tokens = 1000\nmax_retries = 0")
    )
    with open_engine(tmp_path / "pool.toml", None, tmp_path / "store") as opened:
        yield opened


def group(texts: list[str | None], task: str = COUNT, **more: Any) -> TextGroup:
    """Return a group as SQL makes it."""
    return TextGroup(task=task, texts=count_texts(texts), **{"max_tokens": 20, **more})


def rows(engine: Engine, *groups: TextGroup, **criteria: Any) -> list[dict[str, Any]]:
    """Return the rows of groups."""
    found: list[dict[str, Any]] = aggregate(engine, groups, Criteria(**criteria))[0].to_pylist()
    return found


def test_a_group_that_fits_is_one_request(engine: Engine, api: Any) -> None:
    """Equal texts are counted, not repeated; NULL and blank ones are left out."""
    [row] = rows(engine, group(["late", "broken", "late", None, " ", "late"]))
    assert row == {
        "value": "4 texts",
        "texts": 4,
        "requests": 1,
        "levels": 1,
        "cut": 0,
        "expert": "counter",
        "cost_usd": pytest.approx(150e-6),
        "list_cost_usd": pytest.approx(150e-6),
        "error": None,
    }
    assert list(api.asked) == [
        "How many texts are there?\n\nAnswer from these 4 texts only:\n- broken\n- (3 times) late"
    ]


def test_a_group_without_texts_is_nothing(engine: Engine, api: Any) -> None:
    """It has neither answer nor error, and costs nothing."""
    [row] = rows(engine, group([None, " "]))
    assert (row["value"], row["error"], row["requests"], row["levels"], row["cost_usd"]) == (None, None, 0, 0, 0)
    assert not api.asked


def test_each_level_of_all_groups_is_one_run(engine: Engine, api: Any) -> None:
    """Large groups take more levels, and counts stay right over all of them."""
    api.says = lambda model, prompt: f"{counting(model, prompt)}, and much else" + " is said" * 40
    sizes = [3, 300, 2000]
    groups = [group([f"complaint number {i} of group {n}" for i in range(n)], max_tokens=100) for n in sizes]
    table, waves = aggregate(engine, groups, Criteria())
    found = table.to_pylist()
    assert [row["value"].split(",")[0] for row in found] == ["3 texts", "300 texts", "2000 texts"]
    assert [row["levels"] for row in found] == [1, 2, 3]
    assert found[0]["requests"] == 1
    assert [wave.what for wave in waves] == ["texts", "merges", "merges"]
    assert sum(wave.asked for wave in waves) == sum(row["requests"] for row in found)
    # No prompt is longer than the context by the estimate, and all parts but the last are nearly full.
    longest = [len(prompt) / 4 for prompt in api.asked]
    assert max(longest) < 1000
    parts = sorted(len(prompt) for prompt in api.asked if "of group 2000\n" in prompt)
    assert parts[1] > 0.6 * parts[-1]


def test_the_order_of_texts_does_not_matter(engine: Engine, api: Any) -> None:
    """The same group in another order costs nothing."""
    texts: list[str | None] = [f"complaint number {i}" for i in range(300)]
    [first] = rows(engine, group(texts))
    [again] = rows(engine, group(texts[::-1]))
    assert first["cost_usd"] == first["list_cost_usd"] == again["list_cost_usd"] > 0
    assert again["cost_usd"] == 0
    assert {name: again[name] for name in ("value", "requests")} == {"value": "300 texts", "requests": len(api.asked)}


def test_a_group_that_has_grown_costs_little(engine: Engine, api: Any) -> None:
    """Of many parts only the one with the new text is sent, and the merges above it."""
    texts: list[str | None] = [f"complaint number {i}" for i in range(3000)]
    [first] = rows(engine, group(texts))
    sent = len(api.calls)
    [grown] = rows(engine, group([*texts, "complaint number 1234 once more"]))
    assert (grown["value"], grown["error"]) == ("3001 texts", None)
    assert first["requests"] > 20
    assert len(api.calls) - sent < 6
    assert grown["cost_usd"] < 0.3 * grown["list_cost_usd"]


def test_equal_parts_of_groups_are_sent_once(engine: Engine, api: Any) -> None:
    """Groups with the same texts are one request, which one of them pays for."""
    found = rows(engine, *[group(["late", "broken"])] * 5)
    assert sorted(row["cost_usd"] for row in found)[:4] == [0] * 4
    assert len(api.asked) == 1


def test_a_giant_text_is_read_to_its_end(engine: Engine, api: Any) -> None:
    """It goes in pieces that end with sentences, beside other texts, and counts as one text."""
    giant = " ".join(f"Sentence number {i} says something of its own." for i in range(500))
    [row] = rows(engine, group([giant, "short one", "short one"]))
    assert (row["texts"], row["error"]) == (3, None)
    assert row["requests"] == len(api.asked) > 6
    leaves = [prompt for prompt in api.asked if "\n- " in prompt]
    assert all(
        sum(f"Sentence number {i} says something of its own." in leaf for leaf in leaves) == 1 for i in range(500)
    )
    assert sum("Say how many texts each point is in" in leaf for leaf in leaves) == len(leaves)
    assert any("a later piece of a text" in leaf and "- (part of a longer text) " in leaf for leaf in leaves)
    assert len({len(leaf) // 400 for leaf in leaves}) <= 3


def test_a_text_without_any_end_is_read_too(engine: Engine, api: Any) -> None:
    """Where there is neither line, sentence nor word, the text is cut anywhere, and nothing of it is lost."""
    [row] = rows(engine, group(["x" * 9999 + "y"]))
    assert row["error"] is None
    leaves = [prompt for prompt in api.asked if "\n- " in prompt]
    assert "".join(leaves).count("x" * 50) > 0
    assert sum(len(leaf.rsplit(") ", 1)[-1]) for leaf in leaves) == 10_000


@pytest.mark.parametrize("refusal", ["context_openai", "413"])
def test_parts_that_are_too_long_after_all_are_halved(engine: Engine, api: Any, refusal: str) -> None:
    """Tokens are only estimated: what the expert refuses goes in two halves, down to pieces of one text."""
    small = 1200
    api.replies = lambda call: BEHAVIOURS[refusal if len(call.prompt) > small else "ok"](call)
    [row] = rows(engine, group([*(f"complaint number {i}" for i in range(100)), "one long story. " * 100]))
    assert (row["value"], row["error"]) == ("101 texts", None)
    assert row["requests"] == sum(len(prompt) <= small for prompt in api.asked) > 3


def test_a_failed_part_fails_its_group_alone(engine: Engine, api: Any) -> None:
    """The reason names the part; asked again, only that part is paid for."""
    api.faults["unmentionable"] = [422]
    groups = [group([*(f"complaint number {i}" for i in range(300)), "zz unmentionable"]), group(["fine"])]
    bad, good = rows(engine, *groups)
    assert (good["value"], good["error"]) == ("1 texts", None)
    assert bad["value"] is None
    assert bad["error"].startswith(f"part {bad['requests']} of {bad['requests']}: 422")
    sent = len(api.calls)
    again, _ = rows(engine, *groups)
    assert (again["value"], again["error"]) == ("301 texts", None)
    assert len(api.calls) == sent + 2  # the part, and the merge


def test_an_answer_that_is_cut_counts(engine: Engine, api: Any) -> None:
    """Something may be missing from it, and the row says how many there were."""

    def reply(call: Any) -> Any:
        done: Any = BEHAVIOURS["ok"](call)
        done.body["choices"][0]["finish_reason"] = "length" if "number 7 " in call.prompt else "stop"
        return done

    api.replies = reply
    [row] = rows(engine, group([f"complaint number {i} of many" for i in range(300)]))
    assert (row["cut"], row["error"]) == (1, None)


def test_a_context_without_room_is_a_reason(engine: Engine, api: Any) -> None:
    """Answers that fill the context cannot be merged: the row says what to give, and nothing is sent."""
    [row] = rows(engine, group([f"complaint number {i}" for i in range(300)], max_tokens=500))
    assert row["value"] is None
    assert row["error"].startswith(
        "the texts do not fit into one request to 'counter', and beside the task and answers"
    )
    assert "give fewer max_tokens, a shorter task, or an expert with a longer context" in row["error"]
    assert not api.asked


def test_the_budget_is_shared_between_levels(engine: Engine, api: Any) -> None:
    """Too little for all leaves fails the group with the reason; enough for leaves and merges is enough."""
    api.usage = lambda prompt, _body: (len(prompt) // 4, 5)
    texts: list[str | None] = [f"complaint number {i}" for i in range(300)]
    [poor] = rows(engine, group(texts), max_cost_usd=0.002)
    assert poor["value"] is None
    assert "the budget of" in poor["error"]
    assert api.account_usd <= 0.002
    [rich] = rows(engine, group(texts), max_cost_usd=0.1)
    assert (rich["value"], rich["error"]) == ("300 texts", None)
    assert rich["list_cost_usd"] <= 0.1


def test_the_expected_cost_is_at_most(engine: Engine, api: Any) -> None:
    """Requests of all levels are foreseen, and nothing is sent."""
    groups = [group([f"complaint number {i} of {n}" for i in range(n)]) for n in (3, 300, 3000)]
    expected = foresee(engine, groups, Criteria())
    assert not api.asked
    found = rows(engine, *groups)
    assert expected.prompts >= sum(row["requests"] for row in found)
    assert expected.most_usd >= sum(row["list_cost_usd"] for row in found)


def test_a_group_goes_by_the_context_of_its_expert(tmp_path: Path, api: Any) -> None:
    """Groups that fit every context may go to all; a larger one goes to those that hold its parts."""
    api.says = counting
    pool = api.entry("wide", 10, 100, "[expert.engine]\ncontext_tokens = 4000") + api.entry(
        "narrow", 1, 100, 'location = "local"\n[expert.engine]\ncontext_tokens = 1000'
    )
    (tmp_path / "pool.toml").write_text(pool)
    texts: list[str | None] = [f"complaint number {i}" for i in range(400)]
    with open_engine(tmp_path / "pool.toml", None, tmp_path / "store") as engine:
        [one] = rows(engine, group(texts))
        assert (one["requests"], one["expert"]) == (1, "wide")
        [named] = rows(engine, group(texts, expert="narrow"))
        assert (named["expert"], named["value"]) == ("narrow", "400 texts")
        assert named["requests"] > 2
        [private] = rows(engine, group(texts, private=True))
        assert private["expert"] == "narrow"
        assert private["cost_usd"] == 0  # the same requests


def test_a_stopped_aggregate_goes_on_where_it_was(engine: Engine, api: Any) -> None:
    """Killed between two levels, the same call pays only for what is missing."""
    texts: list[str | None] = [f"complaint number {i}" for i in range(300)]
    api.faults["each from other texts"] = [503]
    [broken] = rows(engine, group(texts))
    assert "503" in broken["error"]
    paid = len(api.bills)
    [row] = rows(engine, group(texts))
    assert row["value"] == "300 texts"
    assert len(api.bills) == paid + 1
    assert row["list_cost_usd"] > row["cost_usd"] > 0
