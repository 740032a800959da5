"""Files of outcomes of any kind become sound data folders, or are refused in one line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.errors import RouterError, UsageError
from leeroo.engine.jobs.verify import check_for, score
from leeroo.engine.orchestrator.outcomes.columns import GUESSED
from leeroo.engine.orchestrator.outcomes.files import convert, describe
from leeroo.engine.orchestrator.outcomes.read import read_outcomes, read_prices
from leeroo.reports.outcomes import outcomes_report
from leeroo.reports.report import cells
from tests.fuzz.conftest import Cases

_ODD: list[Any] = [
    None, "", " ", "NaN", "x\x00y", "\U0001f600", "yes", "a", -1, 0, 1, 0.5, 85.0, 10**18, True, [], [1], {"a": None},
    [[]], ["x"], {"text": "t"}, "model_a", "[1", '{"answer": 3}', "x" * 5000,
]  # fmt: skip
_INSTANCE = {"input": {"text": "q"}, "id": "i", "references": [{"output": {"text": "y"}, "tags": ["correct"]}]}
_ROWS: dict[str, dict[str, Any]] = {
    "long": {"question": "q", "model": "a", "score": 1, "cost": 0.1, "tokens": 3, "subject": "s", "split": "train"},
    "graded": {"question": "q", "model": "a", "response": "4", "gold": "4"},
    "wide": {"question": "q", "a": 1, "b": 0, "a_cost": 0.1},
    "run": {"question": "q", "answer": "x", "expert": "a", "predicted_score": 0.5, "list_cost_usd": 0.1, "score": 1},
    "routerbench": {"prompt": "q", "m": 1.0, "m|model_response": "x", "m|total_cost": 0.1},
    "lm-eval": {"doc_id": 0, "doc": {"question": "q", "choices": ["a"]}, "target": "a", "resps": [["a"]],
                "arguments": {"gen_args_0": {"arg_0": "q"}}, "filtered_resps": ["a"], "filter": "none", "acc": 1.0},
    "zeroeval": {"session_id": "s", "generator": "m", "output": ['{"answer": "4"}'], "question": "q", "answer": "4"},
    "preferences": {"question": "q", "model_a": "a", "model_b": "b", "winner": "tie"},
    "helm": {"instance": _INSTANCE, "train_trial_index": 0, "output_mapping": {"A": "y"}, "request": {"model": "m"},
             "result": {"completions": [{"text": "A"}], "request_time": 0.1}},
}  # fmt: skip


def _spoil(rng: random.Random, value: Any) -> Any:
    """Replace something in a value, however deep."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        kept = {name: each for name, each in value.items() if name != key or rng.random() < 0.8}
        return {name: _spoil(rng, each) if name == key else each for name, each in kept.items()}
    if isinstance(value, list) and value and rng.random() < 0.7:
        return [_spoil(rng, value[0]), *value[1:]]
    return rng.choice(_ODD)


@pytest.mark.parametrize("form", _ROWS)
def test_odd_values_are_read_or_refused(tmp_path: Path, cases: Cases, form: str) -> None:
    """The folder that comes out is one that routers can read; no other error than ours gets out."""
    refused: list[str] = []
    for name, rng in cases(8):
        rows = [
            json.loads(json.dumps(_ROWS[form]).replace('"q"', f'"q{i}"').replace('"i"', f'"i{i}"')) for i in range(12)
        ]
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(rows))
            rows[at] = _spoil(rng, rows[at])
        content = {"adapter_spec": {"model": "m"}, "request_states": rows} if form == "helm" else rows
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(content))
        mapped = (
            {rng.choice(["model", "a", "b", "acc"]): rng.choice([*GUESSED, "ignore"])} if rng.random() < 0.2 else {}
        )
        try:
            found = convert(
                str(file), tmp_path / name, mapped, lambda said, right: score(said, right, check_for(right))
            )
        except UsageError as error:
            refused.append(str(error))
            continue
        assert "\n" not in describe(found)
        for table in outcomes_report(found).tables:
            cells(table)
        prices = read_prices([tmp_path / name], [each.expert for each in found.experts])
        assert prices.shape == (2, len(found.experts))
        assert _why_unread(tmp_path / name) in ("", "at least 10 are needed"), (name, rows)
    assert not [line for line in refused if "\n" in line]


def _why_unread(folder: Path) -> str:
    """Return the end of the reason why a data folder cannot be read; nothing where it can."""
    try:
        read_outcomes([folder], "all")
    except RouterError as error:
        return str(error).rsplit("; ", 1)[-1]
    return ""
