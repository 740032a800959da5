"""Measuring in Python gives what the command gives, on files and on data frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import leeroo
from leeroo.engine.errors import LeerooError, OutputError, RouterError, UsageError
from tests import command

pytestmark = pytest.mark.usefixtures("kept_vectors")
N = 40


@pytest.fixture(scope="module")
def outcomes() -> pl.DataFrame:
    """Provide outcomes of two experts, with costs; every second question is for tests."""
    return pl.DataFrame(
        {
            "question": [f"What is {n} plus {n}?" for n in range(N)],
            "split": ["train", "test"] * (N // 2),
            "small": [n % 3 > 0 for n in range(N)],
            "small_cost": [0.001] * N,
            "large": [True] * N,
            "large_cost": [0.01] * N,
        }
    )


@pytest.fixture(scope="module")
def router(kept_vectors: None, outcomes: pl.DataFrame) -> leeroo.Router:
    """Provide a router that has learned the training half."""
    return leeroo.train(outcomes, encoder="static")


def test_it_is_what_the_command_prints(outcomes: pl.DataFrame, router: leeroo.Router, tmp_path: Path) -> None:
    """The numbers of a frame are those of the equal file; the frontier is a table of them."""
    outcomes.write_parquet(tmp_path / "outcomes.parquet")
    router.save(tmp_path / "router")
    done = command.leeroo("evaluate", "--router", "router", "--data", "outcomes.parquet", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = leeroo.evaluate(router, outcomes)
    assert json.loads(json.dumps(measured.data)) == json.loads(done.stdout)
    assert measured.frontier.column_names == ["budget_usd_per_1k", "cost_usd_per_1k", "accuracy"]
    assert measured.frontier.to_pylist() == measured.data["frontier"]
    from_folder = leeroo.evaluate(str(tmp_path / "router"), tmp_path / "outcomes.parquet")
    assert from_folder.data == measured.data


def test_costs_without_tokens_are_expected_as_high_as_they_were() -> None:
    """A router that knows how long answers are spends the budget on outcomes that have costs and no tokens."""
    rows = [
        {"question": f"What is {n} plus {n}?", "split": split, "expert": expert, "score": n % 3 > 0 or price > 1}
        | {"prompt_tokens": 20, "completion_tokens": 300, "cost_usd": price * 320e-6}
        for n, split in ((n, "test" if n % 2 else "train") for n in range(N))
        for expert, price in (("small", 1.0), ("large", 10.0))
    ]
    outcomes = pl.DataFrame(rows)
    router = leeroo.train(outcomes, encoder="static")
    measured = leeroo.evaluate(router, outcomes.drop("prompt_tokens", "completion_tokens"))
    halves = [row for row in measured.data["frontier"] if row["budget_usd_per_1k"] == pytest.approx(1.6)]
    assert halves
    assert all(row["cost_usd_per_1k"] == pytest.approx(1.6, rel=0.15) for row in halves)


def test_it_can_be_looked_at(outcomes: pl.DataFrame, router: leeroo.Router, tmp_path: Path) -> None:
    """A notebook shows the page that is saved, and text has its tables."""
    measured = leeroo.evaluate(router, outcomes)
    measured.save(tmp_path / "measured.html")
    page = (tmp_path / "measured.html").read_text("utf-8")
    assert "Cost against accuracy" in page
    assert "Measured on 20 questions" in page
    assert "of the data frame" in page
    assert "Cost against accuracy" in measured._repr_html_()
    assert "Single experts" in repr(measured)
    with pytest.raises(OutputError, match=r"\.html"):
        measured.save(tmp_path / "measured.txt")


def test_options_choose_what_is_measured(outcomes: pl.DataFrame, router: leeroo.Router) -> None:
    """A split, some experts, a pair, and columns with other names."""
    assert leeroo.evaluate(router, outcomes, split="all").data["n"] == N
    assert list(leeroo.evaluate(router, outcomes, experts=["small"]).data["experts"]) == ["small"]
    pair = leeroo.evaluate(router, outcomes, pair=("large", "small")).data["pair"]
    assert (pair["weak"], pair["strong"]) == ("large", "small")
    other = outcomes.rename({"question": "frage"})
    assert leeroo.evaluate(router, other, map={"frage": "question"}).data["n"] == N // 2


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"data": ["split"]}, UsageError, "no question of the data frame is for tests"),
        ({"data": ["small_cost", "large_cost"]}, RouterError, "the data frame gives no price for large, small"),
        ({"experts": ["x"]}, UsageError, "the data has no outcomes of the expert 'x'"),
        ({"router": "nowhere"}, RouterError, "there is no router at nowhere"),
        ({"split": "tets"}, UsageError, "split= is 'train', 'test' or 'all', not 'tets'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    outcomes: pl.DataFrame, router: leeroo.Router, given: dict[str, Any], kind: type[LeerooError], says: str
) -> None:
    """The frame or the option is named."""
    data = outcomes.drop(given.pop("data", []))
    with pytest.raises(kind, match=says) as error:
        leeroo.evaluate(**{"router": router, "data": data, **given})
    assert "\n" not in str(error.value)
