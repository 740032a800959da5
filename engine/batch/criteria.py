"""Criteria: the columns that a run reads, and the measure by which it chooses experts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from leeroo.engine.errors import UsageError

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """The conditions of one run over a table.

    With a budget, the experts of the whole batch are chosen so that the expected score is greatest within
    it; without one, every row takes the expert with the greatest
    ``score - cost_weight * usd - latency_weight * seconds``.

    Names of runs depend on the questions and arguments of their rows, so that fields which only say these, or change
    nothing of what is sent, are not part of them (`repr=False`).

    Attributes:
        column: The column with the questions.
        private_column: Boolean; rows with true go to local experts only.
        ask_column: A struct of `schema.ASK`: arguments of each row's own.
        prompt: Text with the names of columns in braces, in place of `column`; without `ask_column` only, like the next
            five. A column of bytes is shown as an image, and so is one of text that is written as `{photo:image}`.
        system: System text of all rows, in place of that of the experts.
        max_tokens: Longest answer in tokens, in place of that of the experts.
        temperature: Of sampling; by default answers are not sampled.
        json_schema: A JSON schema under which the answers of all rows shall be valid, as text; `jobs.extract` checks.
        decisions: Decisions about every row, as text; see `backends.decisions`.
        image_folder: The folder that images are read from, where a column holds their paths; None: the current one.
        allow_urls: Whether images are fetched from web addresses.
        expert: The expert of every row.
        max_cost_usd: The most that the table may cost.
        cost_weight: Score points that equal one dollar, in place of a budget.
        latency_weight: Score points that equal one second.
        prefix: Begins the names of the new columns.
        on_error: A row that fails is NULL with its error ("null"), or the run fails ("fail").
        learn: Learn from the first answers which expert to choose; read by `jobs.learn`, not by the engine.
        gold: The column with right answers, for learning.
        keep_reasoning: Add the column `reasoning`, the text of thoughts.
        on_expert_down: Rows of an expert that cannot answer go to others ("next"), or the run fails ("fail").
        proxy: Whether a classifier may learn labels from the experts (see `jobs.proxy`); None: where that pays.
        deadline: The time from the start of the run after which no answer is awaited from a batch, in seconds or as
            text ("2h"); it may be changed while batches are open.

    Raises:
        UsageError: a number that cannot be (negative, NaN), or a budget and a cost weight at once.

    """

    column: str = "question"
    private_column: str | None = None
    ask_column: str | None = None
    prompt: str | None = field(default=None, repr=False)
    system: str | None = field(default=None, repr=False)
    max_tokens: int | None = field(default=None, repr=False)
    temperature: float | None = field(default=None, repr=False)
    json_schema: str | None = field(default=None, repr=False)
    decisions: str | None = field(default=None, repr=False)
    image_folder: str | Path | None = field(default=None, repr=False)
    allow_urls: bool = field(default=False, repr=False)
    expert: str | None = None
    max_cost_usd: float | None = None
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    prefix: str = ""
    on_error: Literal["null", "fail"] = "null"
    learn: bool = field(default=False, repr=False)
    gold: str | None = field(default=None, repr=False)
    keep_reasoning: bool = field(default=False, repr=False)
    on_expert_down: Literal["next", "fail"] = "next"
    proxy: bool | None = field(default=None, repr=False)
    deadline: float | str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("max_cost_usd", "cost_weight", "latency_weight", "deadline_s", "temperature"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"{name.removesuffix('_s')} must be a number of at least 0, not {value}")
        if self.max_tokens is not None and not 0 < self.max_tokens < 2**31:
            raise UsageError(f"max_tokens must be a number above 0, not {self.max_tokens}")
        if self.on_error not in ("null", "fail"):
            raise UsageError(f"on_error is 'null' or 'fail', not {self.on_error!r}")
        if self.max_cost_usd is not None and self.cost_weight:
            raise UsageError("give a budget (max_cost_usd) or a cost_weight, not both: each settles the other")

    @property
    def deadline_s(self) -> float | None:
        """The deadline in seconds.

        Raises:
            UsageError: it is no time.

        """
        if self.deadline is None or isinstance(self.deadline, float | int):
            return self.deadline
        found = _TIME.fullmatch(self.deadline.strip().casefold())
        if found is None:
            raise UsageError(f"deadline= takes seconds, or a number with s, m, h or d as in 2h, not {self.deadline!r}")
        return float(found[1]) * _UNITS[found[2] or "s"]
