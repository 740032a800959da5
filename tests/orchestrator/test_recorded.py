"""Scores and dollars out of recorded outcomes: as recorded, by tokens and prices, or with others' tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.outcomes.read import Outcomes, read_outcomes
from leeroo.engine.orchestrator.outcomes.recorded import prices_of, recorded

if TYPE_CHECKING:
    from tests.orchestrator.conftest import Topics

PRICES = np.array([[1.0, 10.0], [2.0, 20.0]], np.float32)


def write_prices(folder: Path, **prices: tuple[float | None, float | None]) -> Path:
    """Return a data folder's experts.parquet, USD per million tokens of input and output."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"expert": list(prices)}
    columns = {
        f"usd_per_m_{side}": [price[i] for price in prices.values()] for i, side in enumerate(("input", "output"))
    }
    pq.write_table(pa.table({**names, **columns}), folder / "experts.parquet")
    return folder


@pytest.fixture
def outcomes(topics: Topics, tmp_path: Path) -> Outcomes:
    """Return ten questions: 'a' used 100 and 10 tokens, 'b' was billed on the even ones and not counted on the odd ones."""
    queries = [
        {"query_id": f"q{i}", "split": "train", "question": f"question {i}", "subject": f"s{i}"} for i in range(10)
    ]
    as_recorded = [
        {"query_id": f"q{i}", "expert": "a", "score": 0.5, "prompt_tokens": 100, "completion_tokens": 10}
        for i in range(10)
    ]
    as_recorded += [
        {"query_id": f"q{i}", "expert": "b", "score": 1.0, "cost_usd": None if i % 2 else 0.25} for i in range(10)
    ]
    return read_outcomes([topics.write(tmp_path / "data", queries, as_recorded)])


def test_costs_are_as_billed_or_tokens_times_prices(outcomes: Outcomes) -> None:
    """A recorded cost goes before tokens; tokens are priced per million."""
    found = recorded(outcomes, ["a", "b"], PRICES)
    assert found.costs[:, 0] == pytest.approx(np.full(10, (100 * 1 + 10 * 2) / 1e6))
    assert found.costs[::2, 1] == pytest.approx(np.full(5, 0.25))
    assert found.scores.tolist() == [[0.5, 1.0]] * 10


def test_missing_tokens_are_imputed_and_marked(outcomes: Outcomes) -> None:
    """Where an expert's tokens are missing the question's others count, at its own prices, and that is marked."""
    found = recorded(outcomes, ["a", "b"], PRICES)
    assert found.costs[1::2, 1] == pytest.approx(np.full(5, (100 * 10 + 10 * 20) / 1e6))
    assert found.guessed[:, 1].tolist() == [False, True] * 5
    assert not found.guessed[:, 0].any()


def test_tokens_of_experts_that_are_not_measured_count(outcomes: Outcomes) -> None:
    """Measuring 'b' alone still uses the tokens of 'a'."""
    found = recorded(outcomes, ["b"], PRICES[:, 1:])
    assert found.costs[1, 0] == pytest.approx((100 * 10 + 10 * 20) / 1e6)


def test_an_expert_without_outcomes_has_no_numbers(outcomes: Outcomes) -> None:
    """Its scores and costs are NaN throughout, and the others keep their order."""
    found = recorded(outcomes, ["b", "nobody"], PRICES)
    assert np.isnan(found.scores[:, 1]).all()
    assert np.isnan(found.costs[:, 1]).all()
    assert (found.scores[:, 0] == 1).all()


def test_some_of_the_questions_keep_all_that_is_theirs(outcomes: Outcomes) -> None:
    """Taking rows takes prompts, subjects, scores, costs and marks of the same questions."""
    whole = recorded(outcomes, ["a", "b"], PRICES)
    some = whole.at(np.array([3, 1]))
    assert some.prompts == [whole.prompts[3], whole.prompts[1]]
    assert some.subjects == [whole.subjects[3], whole.subjects[1]]
    assert (some.costs == whole.costs[[3, 1]]).all()
    assert (some.guessed == whole.guessed[[3, 1]]).all()


def test_the_first_folder_names_the_price(tmp_path: Path) -> None:
    """The first of several folders with a price for an expert counts; others fill in."""
    one = write_prices(tmp_path / "one", a=(1.0, 2.0))
    two = write_prices(tmp_path / "two", a=(5.0, 5.0), b=(10.0, 20.0))
    assert prices_of([one, two], ["a", "b"]).tolist() == PRICES.tolist()
    assert prices_of([two, one], ["a"]).tolist() == [[5.0], [5.0]]


def test_an_expert_without_a_price_is_named(tmp_path: Path) -> None:
    """No price, half a price and no file raise an error with the experts that lack one; a price below 0 is refused."""
    folder = write_prices(tmp_path / "half", a=(1.0, 2.0), b=(10.0, None))
    with pytest.raises(RouterError, match="gives no price for b, c: add one, or leave those experts out"):
        prices_of([folder], ["a", "b", "c"])
    with pytest.raises(RouterError, match="gives no price for a"):
        prices_of([tmp_path / "nowhere"], ["a"])
    with pytest.raises(RouterError, match="gives 'a' a price that is below 0"):
        prices_of([write_prices(tmp_path / "negative", a=(-1.0, 2.0))], ["a"])
