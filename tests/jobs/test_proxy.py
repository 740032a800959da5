"""A classifier learns from the experts' labels, and labels the rows of which it is sure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.jobs.label import Labelled, Labels, label_table
from leeroo.engine.pool import load_pool
from leeroo.udfs.register import connect

TOPICS = {
    "billing": ["invoice", "refund", "payment", "charged", "price"],
    "bug": ["crash", "error", "freezes", "broken", "exception"],
    "travel": ["flight", "hotel", "airport", "luggage", "beach"],
}
ROWS = 1500

pytestmark = pytest.mark.usefixtures("kept_vectors")


def _texts(rows: int, topics: dict[str, list[str]], weights: list[float] | None = None) -> list[tuple[str, str]]:
    """Return texts with their topics, always the same."""
    chance = random.Random(0)
    drawn = chance.choices(list(topics), weights, k=rows)
    return [(f"{' and '.join(chance.choices(topics[topic], k=3))} no {i}", topic) for i, topic in enumerate(drawn)]


@pytest.fixture
def engine(tmp_path: Path, api: Any, api_entry: Callable[..., str]) -> Iterator[Engine]:
    """Return an engine with one expert of a real API, who knows the topics of all texts."""
    (tmp_path / "pool.toml").write_text(api_entry("only", 10, 3, "[expert.engine]\nconcurrency = 16"))
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
        yield engine


def _label(
    engine: Engine, api: Any, texts: list[tuple[str, str]], *, proxy: bool | None = None, **how: Any
) -> Labelled:
    known = dict(texts)
    api.says = lambda _model, prompt: {known[prompt.rsplit("Text: ", 1)[1].splitlines()[0]]: 0.95}
    table = pa.table({"text": list(known), **how.pop("columns", {})})
    labels = Labels(tuple(sorted(set(known.values()))))
    with engine.delivery():
        return label_table(engine, table.to_reader(), labels, Criteria(column="text", proxy=proxy), **how)


def test_it_labels_rows_at_no_cost(engine: Engine, api: Any) -> None:
    """Most rows are its own, cost nothing and are right; experts are sent the others, each once."""
    texts = _texts(ROWS, TOPICS)
    done = _label(engine, api, texts)
    rows = done.rows.to_pylist()
    own = [row for row in rows if row["expert"] == "proxy"]
    assert len(own) > ROWS / 2
    assert {(row["cost_usd"], row["list_cost_usd"], row["error"]) for row in own} == {(0.0, 0.0, None)}
    assert all(0.5 < row["confidence"] <= 1 for row in own)
    assert sum(api.asked.values()) == len(rows) - len(own)
    assert set(api.asked.values()) == {1}
    right = sum(row["label"] == topic for row, (_, topic) in zip(rows, texts, strict=True))
    assert right >= 0.97 * ROWS
    found = done.proxy
    assert (found.off, found.labelled, found.asked) == (None, len(own), ROWS - len(own))
    assert found.difference is not None
    assert found.checked >= 100
    assert found.difference.low <= found.difference.value <= found.difference.high < 0.1


@pytest.mark.parametrize(
    ("rows", "proxy", "why"), [(900, None, "900 different texts"), (ROWS, False, "turned off")], ids=["few", "off"]
)
def test_it_stays_off(engine: Engine, api: Any, rows: int, proxy: bool | None, why: str) -> None:
    """It stays off for a small table, and where that is wanted: experts label all, in one run."""
    done = _label(engine, api, _texts(rows, TOPICS), proxy=proxy)
    assert why in str(done.proxy.off)
    assert set(done.rows.column("expert").to_pylist()) == {"only"}
    assert sum(api.asked.values()) == rows


def test_labels_by_chance_are_not_learned(engine: Engine, api: Any) -> None:
    """Where texts say nothing about labels, experts label every row, and none twice."""
    chance = random.Random(1)
    texts = [(text, chance.choice(["yes", "no"])) for text, _ in _texts(ROWS, TOPICS)]
    done = _label(engine, api, texts)
    assert "not sure enough" in str(done.proxy.off)
    assert done.rows.column("label").to_pylist() == [label for _, label in texts]
    assert set(done.rows.column("expert").to_pylist()) == {"only"}
    assert sum(api.asked.values()) == ROWS


def test_one_label_for_all_is_not_learned(engine: Engine, api: Any) -> None:
    """Where the first texts have one label, another may still come: experts label every row."""
    texts = [(text, "billing") for text, _ in _texts(ROWS, TOPICS)]
    texts[-1] = (texts[-1][0], "bug")
    done = _label(engine, api, texts)
    assert "the same label" in str(done.proxy.off)
    assert done.rows.column("label").to_pylist() == [label for _, label in texts]


def test_labels_that_cost_next_to_nothing_are_not_learned(
    tmp_path: Path, api: Any, api_entry: Callable[..., str]
) -> None:
    """A table that costs less than a cent is labelled by the expert, unless a proxy is wanted."""
    (tmp_path / "pool.toml").write_text(api_entry("only", 0.1, 3, "[expert.engine]\nconcurrency = 16"))
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
        cheap = _label(engine, api, _texts(ROWS, TOPICS))
        wanted = _label(engine, api, _texts(ROWS, TOPICS), proxy=True)
    assert "which is less than" in str(cheap.proxy.off)
    assert cheap.proxy.asked == ROWS
    assert wanted.proxy.off is None


def test_a_rare_label_is_still_found(engine: Engine, api: Any) -> None:
    """Where 95 % of the rows have one label, most rows of the other still get it."""
    rare = {name: TOPICS[name] for name in ("travel", "bug")}
    texts = _texts(2000, rare, [0.95, 0.05])
    done = _label(engine, api, texts)
    pairs = list(zip(done.rows.column("label").to_pylist(), (label for _, label in texts), strict=True))
    wanted = [label for label, truth in pairs if truth == "bug"]
    assert wanted.count("bug") >= 0.8 * len(wanted)
    assert sum(label == truth for label, truth in pairs) >= 0.97 * len(pairs)
    assert done.proxy.off is None


def test_forty_labels_are_learned(engine: Engine, api: Any) -> None:
    """Forty labels with 60 rows each are learned well enough to save rows, at the promised error."""
    words = [
        "apple",
        "river",
        "guitar",
        "planet",
        "doctor",
        "bridge",
        "cheese",
        "rocket",
        "forest",
        "winter",
        "camera",
        "dragon",
        "violin",
        "desert",
        "pirate",
        "garden",
        "hammer",
        "island",
        "jacket",
        "kitten",
        "ladder",
        "magnet",
        "needle",
        "orange",
        "pepper",
        "queen",
        "rabbit",
        "saddle",
        "tiger",
        "umbrella",
        "volcano",
        "wallet",
        "yacht",
        "zebra",
        "anchor",
        "basket",
        "candle",
        "diamond",
        "engine",
        "feather",
    ]
    texts = _texts(2400, {word: [word, f"{word}s", f"the {word}"] for word in words})
    done = _label(engine, api, texts)
    right = sum(label == truth for label, (_, truth) in zip(done.rows.column("label").to_pylist(), texts, strict=True))
    assert done.proxy.off is None
    assert done.proxy.labelled > 600
    assert right >= 0.96 * len(texts)


def test_gold_labels_teach_and_are_not_copied(engine: Engine, api: Any) -> None:
    """With gold labels the experts are sent fewer rows; a gold label that is wrong does not become the row's label."""
    texts = _texts(ROWS, TOPICS)
    alone = _label(engine, api, texts).proxy.asked
    gold = [topic if i % 3 == 0 else None for i, (_, topic) in enumerate(texts)]
    wrong = list(range(0, ROWS, 60))
    for i in wrong:
        gold[i] = next(name for name in TOPICS if name != texts[i][1])
    done = _label(engine, api, texts, gold="gold", columns={"gold": gold})
    assert done.proxy.asked <= alone
    assert done.proxy.off is None
    label = done.rows.column("label").to_pylist()
    assert sum(label[i] == gold[i] for i in wrong) <= 2


def test_sql_labels_learn_within_a_statement(tmp_path: Path, api: Any, api_entry: Callable[..., str]) -> None:
    """leeroo_label learns from a part of a statement's rows; the variable leeroo_proxy turns it off."""
    (tmp_path / "pool.toml").write_text(api_entry("only", 10, 3, "[expert.engine]\nconcurrency = 16"))
    texts = _texts(ROWS, TOPICS)
    known = dict(texts)
    api.says = lambda _model, prompt: {known[prompt.rsplit("Text: ", 1)[1]]: 0.95}
    query = "SELECT topic, leeroo_labelled(text, ['billing', 'bug', 'travel']) AS found FROM t"
    with connect(pool=tmp_path / "pool.toml", store=tmp_path / "store") as con:
        con.register("t", pa.table({"text": [text for text, _ in texts], "topic": [topic for _, topic in texts]}))
        rows = con.execute(query).fetchall()
        own = [found for _, found in rows if found["expert"] == "proxy"]
        assert len(own) > ROWS / 2
        assert sum(api.asked.values()) == ROWS - len(own)
        assert sum(found["label"] == topic for topic, found in rows) >= 0.97 * ROWS
        assert {found["cost_usd"] for found in own} == {0.0}
        con.execute("SET VARIABLE leeroo_proxy = false")
        assert {found["expert"] for _, found in con.execute(query).fetchall()} == {"only"}
    assert sum(api.asked.values()) == ROWS
