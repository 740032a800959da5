"""The columns of tables of outcomes: our names for them, and the names that people give them.

Knows nothing of files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from leeroo.engine.errors import UsageError

# Our name of each column, and the names by which it is known, the likeliest first. Where several columns of a table may
# be the same, the likeliest is. Cases do not count, and all between words is an underscore.
GUESSED: dict[str, tuple[str, ...]] = {
    "question": ("question", "query", "instruction", "problem", "input", "prompt", "text", "user_prompt"),
    "prompt": ("prompt", "full_prompt", "prompt_text"),
    "expert": ("expert", "model", "llm", "model_name", "model_id", "generator"),
    "score": (
        "score", "correct", "is_correct", "acc", "accuracy", "exact_match", "em", "correctness", "matched", "passed",
        "success", "reward", "recorded_score", "label",
    ),
    "cost_usd": ("list_cost_usd", "cost_usd", "total_cost", "cost", "price_usd", "usd"),
    "prompt_tokens": ("prompt_tokens", "input_tokens", "tokens_in", "n_prompt_tokens", "num_prompt_tokens"),
    "completion_tokens": (
        "completion_tokens", "output_tokens", "tokens_out", "generated_tokens", "n_completion_tokens",
        "num_completion_tokens", "tokens",
    ),
    "latency_ms": ("latency_ms",),
    "response": (
        "response", "output", "completion", "generation", "model_response", "model_output", "model_answer",
        "prediction", "answer",
    ),
    "gold": (
        "gold", "target", "reference", "ground_truth", "gold_answer", "right_answer", "correct_answer",
        "reference_answer", "expected", "expected_answer", "answer_key", "answer",
    ),
    "subject": ("subject", "task", "eval_name", "topic"),
    "category": ("category", "domain"),
    "dataset": ("dataset", "benchmark", "source"),
    "split": ("split",),
    "usd_per_m_input": ("usd_per_m_input",),
    "usd_per_m_output": ("usd_per_m_output",),
    "failure": ("error",),
    "model_a": ("model_a", "expert_a"),
    "model_b": ("model_b", "expert_b"),
    "winner": ("winner", "preferred", "preference"),
}  # fmt: skip

# Columns that are none of ours, and no model of a wide table either.
OTHERS = (
    "id", "index", "idx", "row", "query_id", "question_id", "sample_id", "doc_id", "session_id", "uid", "choices",
    "options", "oracle_model_to_route_to", "level", "difficulty", "timestamp", "date",
)  # fmt: skip

# `map=` with COLUMN=ignore passes over a column.
IGNORED = "ignore"
_ALSO = {"model": "expert", "correct": "score", "cost": "cost_usd"}


def read_map(options: Sequence[str]) -> dict[str, str]:
    """Return our names of columns by their own, from options such as 'correct=score'.

    Raises:
        UsageError: one is not of that form, or our name is none.
    """
    mapped: dict[str, str] = {}
    for option in options:
        theirs, equals, ours = option.rpartition("=")
        if not equals or not theirs or not ours:
            raise UsageError(f"map= takes COLUMN=NAME, such as correct=score, but was given {option!r}")
        name = _ALSO.get(ours, ours)
        if name not in GUESSED and name != IGNORED:
            raise UsageError(f"map= {option}: {ours!r} is no name of ours, which are {', '.join([*GUESSED, IGNORED])}")
        mapped[theirs] = name
    return mapped


def guess(columns: Sequence[str], mapped: Mapping[str, str]) -> dict[str, str]:
    """Return the column for each of our names, as mapped or else as guessed; each column has one name.

    Where 'answer' may be an expert's or the right one, it is the right one if another column holds the expert's.
    """
    found = {ours: theirs for theirs, ours in mapped.items() if theirs in columns and ours != IGNORED}
    taken = {theirs for theirs in mapped if theirs in columns}
    for ours, names in GUESSED.items():
        if ours in found:
            continue
        free = {plain(column): column for column in reversed(columns) if column not in taken}
        name = next((name for name in names if name in free), None)
        if name is not None:
            found[ours] = free[name]
            taken.add(free[name])
    return found


def plain(column: str) -> str:
    """Return the name of a column in lower case, with underscores between its words.

    >>> plain("Model Name")
    'model_name'
    """
    return re.sub(r"[\s\-.]+", "_", column.strip().casefold())
