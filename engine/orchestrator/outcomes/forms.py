"""The forms of tables of outcomes: how one is recognised by its columns, and the SQL that reads it.

Each form's SQL reads a table `source` of text, with a column `leeroo_row`, into rows with our names of columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from leeroo.engine.orchestrator.outcomes.columns import GUESSED, IGNORED, OTHERS, guess, plain
from leeroo.engine.tables.values import quote, quote_text

Kind = Literal["long", "wide", "run", "routerbench", "lm-eval", "zeroeval", "helm", "preferences"]

# What each form is called, and what it has.
FORMS: dict[Kind, str] = {
    "long": "long form",
    "wide": "wide form",
    "run": "a table of leeroo run",
    "routerbench": "RouterBench's form",
    "lm-eval": "lm-eval's sample logs",
    "zeroeval": "ZeroEval's results",
    "helm": "runs of HELM",
    "preferences": "pairwise preferences",
}
KNOWN = (
    "a row for each question and model (question, model, score), a column for each model, RouterBench's, lm-eval's "
    "samples_*.jsonl, ZeroEval's and HELM's results, or preferences (question, model_a, model_b, winner)"
)

# The columns that rows of any form have, beside the question's text.
_COMMON = ("prompt", "subject", "category", "dataset", "split")
_OF_OUTCOME = (
    "expert", "score", "gold", "response", "prompt_tokens", "completion_tokens", "cost_usd", "latency_ms",
    "usd_per_m_input", "usd_per_m_output", "failure",
)  # fmt: skip
# What follows a model's name in the columns of a wide table, and our name for it.
_RUN_ADDS = ("predicted_score", "expert", "answer", "list_cost_usd")
_SEPARATORS = ("|", "_", ".", ":", "/", " ")
_ENDINGS = {name: ours for ours in ("score", "response", "cost_usd", "prompt_tokens", "completion_tokens")
            for name in GUESSED[ours] if name not in ("answer", "usd", "label", "em")}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A form and where its values stand.

    Attributes:
        kind: Which one it is.
        columns: Their column for each of our names.
        models: In a wide table, the columns of each model by our names.
    """

    kind: Kind
    columns: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def graded(self) -> bool:
        """Whether answers have no scores and are compared with right ones."""
        return self.kind in ("long", "run") and "score" not in self.columns


def recognise(columns: Sequence[str], scores: Sequence[str], mapped: Mapping[str, str]) -> Form | None:
    """Return the form of a table, None for an unknown one.

    Args:
        columns: The names of its columns.
        scores: Those of them that hold nothing but what may be scores.
        mapped: Our names of columns by their own, as by `read_map`.
    """
    there = {plain(column) for column in columns}
    if "doc_id" in there and there & {"resps", "filtered_resps"}:
        return Form("lm-eval", guess(columns, mapped))
    if {"generator", "output"} <= there and there & {"session_id", "chat_history", "model_input"}:
        return Form("zeroeval")
    run = _of_run(columns, mapped)
    found = run or guess(columns, mapped)
    if {"model_a", "model_b"} <= set(found) and ("winner" in found or "winner_model_a" in there):
        return Form("preferences", found)
    models = _models(columns, scores, mapped)
    if "question" not in found:
        return None
    if any("|" in name for of_model in models.values() for name in of_model.values()):
        return Form("routerbench", _shared(found, models), models)
    several = sum(ours == "score" and theirs in columns for theirs, ours in mapped.items()) > 1
    if not several and "expert" in found and ("score" in found or {"gold", "response"} <= set(found)):
        return Form("run" if run else "long", found)
    return Form("wide", _shared(found, models), models) if len(models) > 1 else None


def select(form: Form, file: str) -> str:
    """Return the SQL that reads a table of a long or a wide form."""
    if not form.models:
        return _select(form.columns, file, quote_text(form.columns.get("score", "")))
    shared = {ours: theirs for ours, theirs in form.columns.items() if ours in ("question", "gold", *_COMMON)}
    return " UNION ALL BY NAME ".join(
        _select({**shared, **of_model}, file, quote_text(of_model["score"]), f"{quote_text(model)} AS expert")
        for model, of_model in form.models.items()
    )


def select_preferences(form: Form, file: str, columns: Sequence[str]) -> str:
    """Return the SQL that reads a table of preferences.

    `winner` is the vote as it stands there, `wins` 1 where `model_a` is preferred, 0 where `model_b` is and 0.5 for a
    tie, and `neither` says that both are bad.
    """
    votes = {plain(column): quote(column) for column in columns}
    of_votes = " ".join(
        f"WHEN {votes[f'winner_{who}']} IN ('1', '1.0', 'true') THEN '{who}'"
        for who in ("model_a", "model_b", "tie")
        if f"winner_{who}" in votes
    )
    winner = quote(form.columns["winner"]) if "winner" in form.columns else f"CASE {of_votes} END"
    a, b = quote(form.columns["model_a"]), quote(form.columns["model_b"])
    word = f"lower(trim({winner}))"
    wins = (
        f"CASE WHEN {word} IN ('model_a', 'a', lower(trim({a}))) THEN 1 "
        f"WHEN {word} IN ('model_b', 'b', lower(trim({b}))) THEN 0 "
        f"WHEN {word} IN ('tie', 'tie (bothbad)', 'both_bad', 'bothbad', 'both bad') THEN 0.5 END"
    )
    shared = {ours: theirs for ours, theirs in form.columns.items() if ours in ("question", *_COMMON)}
    missing = [f"NULL::VARCHAR AS {name}" for name in ("question", *_COMMON) if name not in shared]
    if "question" not in shared and "conversation_a" in votes:  # a list of messages, the first by the user
        missing[0] = f"json_extract_string({votes['conversation_a']}, '$[0].content') AS question"
    sides = [f"trim({a}) AS model_a", f"trim({b}) AS model_b", f"{winner} AS winner", f"({wins})::DOUBLE AS wins"]
    return _select(shared, file, "'winner'", *missing, *sides, f"contains({word}, 'bad') AS neither")


def _select(columns: Mapping[str, str], file: str, field: str, *more: str) -> str:
    taken = [f"{quote(columns[name])} AS {name}" for name in ("question", *_COMMON, *_OF_OUTCOME) if name in columns]
    parts = [f"{quote_text(file)} AS file", "leeroo_row AS row", f"{field} AS field", *taken, *more]
    return f"SELECT {', '.join(parts)} FROM source"


def _of_run(columns: Sequence[str], mapped: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns of a table that `leeroo run` wrote, whose own columns may have a prefix; None for others."""
    prefix = next((name.removesuffix("predicted_score") for name in columns if name.endswith("predicted_score")), None)
    if prefix is None or not all(prefix + name in columns for name in _RUN_ADDS):
        return None
    added = ("expert", "prompt_tokens", "completion_tokens", "latency_ms")
    own = {prefix + name: name for name in added} | {
        f"{prefix}answer": "response",
        f"{prefix}list_cost_usd": "cost_usd",  # what it costs without store and duplicates
        f"{prefix}error": "failure",
        f"{prefix}cost_usd": IGNORED,
        f"{prefix}predicted_score": IGNORED,
    }
    return guess(columns, {**{name: ours for name, ours in own.items() if name in columns}, **mapped})


def _models(columns: Sequence[str], scores: Sequence[str], mapped: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the columns of each model of a wide table, by our names."""
    chosen = [theirs for theirs, ours in mapped.items() if ours == "score" and theirs in columns]
    known = {name for names in GUESSED.values() for name in names} | set(OTHERS)
    free = [name for name in columns if name not in mapped and plain(name) not in known]
    models = {name: {"score": name} for name in chosen or [name for name in free if name in scores]}
    for name in [] if len(chosen) > 1 else free:
        model, ours = _ending(name)
        if ours == "score" and name in scores and model not in models:
            models.pop(name, None)
            models[model] = {"score": name}
    for name in free:
        model, ours = _ending(name)
        if model in models and ours:
            models.pop(name, None)
            models[model].setdefault(ours, name)
    return models


def _ending(name: str) -> tuple[str, str]:
    """Return the model of a column's name and our name of what it has of it; nothing where it has no such ending."""
    for mark in _SEPARATORS:
        for ending, ours in _ENDINGS.items():
            if name.casefold().endswith(mark + ending) and len(name) > len(mark + ending):
                return name[: -len(mark + ending)], ours
    return "", ""


def _shared(found: Mapping[str, str], models: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the columns that all models of a wide table share."""
    own = {name for of_model in models.values() for name in of_model.values()}
    return {ours: name for ours, name in found.items() if ours in ("question", "gold", *_COMMON) and name not in own}
