"""Labels for every row, with how sure they are; unsure rows go to a more expensive expert."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.jobs.label import Labels, label_rows, read_labels, to_check
from leeroo.engine.pool import load_pool

Label = Callable[..., pa.Table]
COLOURS = Labels(("red", "green", "blue"))


@pytest.fixture
def label(tmp_path: Path, api_entry: Callable[..., str]) -> Label:
    """Label texts with two experts of a real API: 'small' at a tenth of the price of 'large', 11 tokens in, 3 out."""
    once = "[expert.engine]\nmax_retries = 0"
    experts = [api_entry(name, price, 3, once) for name, price in (("large", 10), ("small", 1))]
    (tmp_path / "pool.toml").write_text("".join(experts))

    def make(
        texts: list[str | None], labels: Labels = COLOURS, criteria: Criteria | None = None, **how: Any
    ) -> pa.Table:
        table = pa.table({"text": pa.array(texts, pa.string())})
        with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
            return label_rows(engine, table.to_reader(), labels, criteria or Criteria(column="text"), **how)

    return make


def _says(model: str, prompt: str) -> dict[str, float]:
    """Answer as two models: 'small' is unsure of hard texts, and 'large' knows that they are blue."""
    if "hard" not in prompt:
        return {"green": 0.9, "red": 0.06, "blue": 0.04}
    return {"blue": 0.95, "red": 0.03, "green": 0.02} if model == "large" else {"red": 0.5, "green": 0.3, "blue": 0.2}


def test_every_row_gets_one_of_the_labels(label: Label, api: Any) -> None:
    """Each row gets a label with its probability, expert and cost; NULL stays NULL at no cost, and is not sent."""
    api.says = _says
    table = label(["easy", None, "also easy"], enough=None)
    assert table.column("label").to_pylist() == ["green", None, "green"]
    assert table.column("confidence").to_pylist() == [pytest.approx(0.9), None, pytest.approx(0.9)]
    assert table.column("expert").to_pylist() == ["large", None, "large"]  # the pool's default
    assert table.column("cost_usd").to_pylist() == pytest.approx([150e-6, 0, 150e-6])
    assert table.column("error").null_count == 3
    assert sum(api.asked.values()) == 2


def test_unsure_rows_go_to_the_more_expensive_expert(label: Label, api: Any) -> None:
    """The cheap expert gets everything first; the costs of both are counted."""
    api.says = _says
    table = label(["easy", "hard", "also easy", "so hard"], calibrate=False)
    assert table.column("label").to_pylist() == ["green", "blue", "green", "blue"]
    assert table.column("expert").to_pylist() == ["small", "large", "small", "large"]
    assert table.column("cost_usd").to_pylist() == pytest.approx([15e-6, 165e-6, 15e-6, 165e-6])
    assert sum(api.asked.values()) == 6


def test_the_budget_is_spent_where_it_gains_most(label: Label, api: Any) -> None:
    """The least sure rows are sent again, as many as the budget is expected to reach."""

    def says(model: str, prompt: str) -> dict[str, float]:
        p = 0.99 if model == "large" else float(prompt.rsplit("Text: 0.", 1)[1][:2]) / 100
        return {"red": p, "green": (1 - p) * 0.6, "blue": (1 - p) * 0.4}

    api.says = says
    budget = 0.004
    table = label([f"0.{50 + 2 * i}" for i in range(12)], criteria=Criteria(column="text", max_cost_usd=budget))
    again = [expert == "large" for expert in table.column("expert").to_pylist()]
    assert again == sorted(again, reverse=True)
    assert 0 < sum(again) < 12
    assert sum(table.column("cost_usd").to_pylist()) <= budget


def test_a_named_expert_labels_alone(label: Label, api: Any) -> None:
    """A named expert labels everything, however unsure it is."""
    api.says = _says
    table = label(["hard"], criteria=Criteria(column="text", expert="small"))
    assert table.column("label").to_pylist() == ["red"]
    assert table.column("expert").to_pylist() == ["small"]


def test_an_expert_that_cannot_run_leaves_its_rows_to_the_next(label: Label, api: Any) -> None:
    """A row whose first answer failed has everything to gain."""
    api.says = _says
    api.repeat = True
    api.faults = {"broken": ["garbage"]}
    table = label(["easy", "broken"])
    assert table.column("label").to_pylist() == ["green", None]
    assert table.column("error")[1].as_py()
    assert table.column("error")[0].as_py() is None


@pytest.mark.usefixtures("label")
def test_a_private_row_stays_with_local_experts(tmp_path: Path, api: Any) -> None:
    """It stays however unsure the local expert is, and whatever is chosen for the others."""
    pool, seen = tmp_path / "pool.toml", []
    pool.write_text(pool.read_text().replace('name = "small"\n', 'name = "small"\nlocation = "local"\n', 1))

    def says(model: str, prompt: str) -> dict[str, float]:
        seen.append((model, prompt.rsplit("Text: ", 1)[1].splitlines()[0]))
        return _says(model, prompt)

    api.says = says
    table = pa.table({"text": ["hard secret", "hard"], "secret": [True, False]})
    criteria = Criteria(column="text", private_column="secret")
    with Engine(load_pool(pool), store=tmp_path / "store") as engine:
        labelled = label_rows(engine, table.to_reader(), COLOURS, criteria, calibrate=False)
    assert labelled.column("label").to_pylist() == ["red", "blue"]
    assert labelled.column("expert").to_pylist() == ["small", "large"]
    assert labelled.column("error").null_count == 2
    assert [text for model, text in seen if model == "large"] == ["hard"]


def test_several_labels_may_apply(label: Label, api: Any) -> None:
    """Each label is a decision of its own, and the confidence is that of the least sure one."""

    def says(_: str, prompt: str) -> dict[str, float]:
        word = next(word for word in COLOURS.names if f"label '{word}'" in prompt)
        text = prompt.rsplit("Text: ", 1)[1].splitlines()[0]
        yes = 0.9 if word in text else 0.2
        return {"Yes": yes, "No": 1 - yes}

    api.says = says
    several = Labels(COLOURS.names, several=True)
    table = label(["red and blue", "nothing", None], several, enough=None)
    assert table.column("label").to_pylist() == [["red", "blue"], [], None]
    assert table.column("confidence").to_pylist() == [pytest.approx(0.8), pytest.approx(0.8), None]
    assert table.column("cost_usd").to_pylist() == pytest.approx([450e-6, 450e-6, 0])


def test_a_biased_model_is_corrected(label: Label, api: Any) -> None:
    """A model that says 'red' to everything, less so where it is not, still distinguishes the labels."""

    def says(_: str, prompt: str) -> dict[str, float]:
        text = prompt.rsplit("Text: ", 1)[1]
        red = 0.95 if "apple" in text else 0.85 if "grass" in text else 0.9
        rest = 1 - red
        return {
            "red": red,
            "green": rest * (0.7 if "grass" in text else 0.3),
            "blue": rest * (0.3 if "grass" in text else 0.7),
        }

    api.says = says
    texts: list[str | None] = [f"{word} {i}" for i in range(10) for word in ("apple", "grass", "sky")]
    leaning = label(texts, enough=None, calibrate=False)
    assert set(leaning.column("label").to_pylist()) == {"red"}
    corrected = label(texts, enough=None)
    assert corrected.column("label").to_pylist()[:3] == ["red", "green", "blue"]
    assert np.nanmax(corrected.column("confidence").to_numpy()) < 1


def test_the_prompt_has_descriptions_and_examples(label: Label, api: Any, tmp_path: Path) -> None:
    """The prompt has what a file of labels says: the task, what the labels mean, and texts with their labels."""
    file = tmp_path / "labels.toml"
    file.write_text("""
instruction = "Which team is it for?"
[labels]
billing = "invoices and refunds"
bug = ""
[[example]]
text = "I was charged twice."
label = "billing"
""")
    api.says = lambda _model, _prompt: {"bug": 0.9, "billing": 0.1}
    label(["It crashes."], read_labels(str(file)), enough=None)
    assert list(api.asked) == [
        "Which team is it for?\n\nLabels:\n- billing: invoices and refunds\n- bug\n\n"
        "Text: I was charged twice.\nLabel: billing\n\nText: It crashes.\nLabel:"
    ]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("a", "at least 2, not from 1"),
        ("a,,b", "a label is empty"),
        ("a,b,a", "'a' is there twice"),
        ("nowhere.toml", r"cannot read the labels in nowhere\.toml"),
    ],
)
def test_wrong_labels_are_one_line(given: str, match: str) -> None:
    """Labels that are too few, empty or duplicate, or a file that is not there, are refused in one line."""
    with pytest.raises(UsageError, match=match):
        read_labels(given)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("labels = ", "is not valid TOML"),
        ("labels = ['a', 'b']\ncolour = 1", "colour"),
        ("instruction = 'x'", "labels"),
        (
            "labels = ['a', 'b']\n[[example]]\ntext = 'x'\nlabel = 'c'",
            "an example has the label 'c'; the labels are: 'a', 'b'",
        ),
        ("labels = ['a', 'b']\n[[example]]\ntext = 'x'\nlabel = ['a', 'b']", "an example has 2 labels"),
        ('labels = ["a", "\\tb"]\n[[example]]\ntext = "x"\nlabel = "b"', r"the labels are: 'a', '\\tb'"),
    ],
)
def test_wrong_files_are_one_line(tmp_path: Path, text: str, match: str) -> None:
    """One line says what is wrong in a file of labels, and where."""
    (tmp_path / "labels.toml").write_text(text)
    with pytest.raises(UsageError, match=match) as error:
        read_labels(str(tmp_path / "labels.toml"))
    assert len(str(error.value).splitlines()) == 1


def test_missing_and_conflicting_columns_are_named(label: Label) -> None:
    """Such columns are named before anything is sent."""
    with pytest.raises(InputError, match="no column 'question'"):
        label(["x"], criteria=Criteria())


def test_rows_to_check_are_drawn_by_chance_and_by_doubt() -> None:
    """Half are random and half are the least sure ones; none is drawn twice, and each draw is the same."""
    table = pa.table({"text": list("abcdefghij"), "label": ["x"] * 10, "confidence": [0.1 * i for i in range(10)]})
    chosen = to_check(table, 6)
    assert chosen.column("drawn").to_pylist() == ["by chance"] * 3 + ["least sure"] * 3
    assert len(set(chosen.column("text").to_pylist())) == 6
    assert chosen.column("confidence").to_pylist()[3:] == sorted(chosen.column("confidence").to_pylist()[3:])
    assert chosen.equals(to_check(table, 6))
    assert len(to_check(table, 100)) == 10
    assert chosen.column("correct_label").null_count == 6


def test_rows_to_check_hold_no_formula() -> None:
    """A spreadsheet shows texts and labels as they are, and works out none of them."""
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a=1"]
    table = pa.table({"text": texts, "label": ["=x", *"abcde"], "confidence": [0.5] * 6})
    chosen = to_check(table, 6)
    assert sorted(chosen.column("text").to_pylist()) == sorted([f"'{text}" for text in texts[:5]] + ["a=1"])
    assert "'=x" in chosen.column("label").to_pylist()


@pytest.mark.usefixtures("models_here")
def test_a_real_model_keeps_to_the_labels(tmp_path: Path) -> None:
    """The embedded local pool gives one of the labels with a probability, and equal rows the same."""
    texts = ["The film was wonderful.", "A dull and tedious film.", "The film was wonderful."]
    table = pa.table({"text": texts})
    from leeroo.engine.answer import open_engine

    with open_engine(store=tmp_path / "store") as engine:
        labelled = label_rows(
            engine, table.to_reader(), Labels(("positive", "negative")), Criteria(column="text"), enough=None
        )
    assert set(labelled.column("label").to_pylist()) <= {"positive", "negative"}
    assert all(0.5 <= p <= 1 for p in labelled.column("confidence").to_pylist())
    assert labelled.slice(0, 1).column("label").equals(labelled.slice(2, 1).column("label"))
