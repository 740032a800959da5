"""The options that functions of Python share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from leeroo.engine.batch.progress import Listener


class RunOptions(TypedDict, total=False):
    """Keyword arguments of every function here; they are the options of `leeroo run`.

    Attributes:
        column: The column with the questions or texts.
        pool: Pool file; the embedded local pool is the default.
        router: Folder of a trained router, or "none". By default a pool takes a shipped one that knows its models.
        store: Folder of the answer store.
        expert: Ask this expert for every row.
        private_column: Rows with true there never leave local experts.
        max_cost_usd: Spend at most this on the whole table.
        cost_weight: Score points that weigh as much as one dollar; instead of a budget.
        latency_weight: Score points that weigh as much as one second.
        deadline: The time after which no answer is awaited from a batch, in seconds or as text ("2h").
        on_expert_down: Rows of an expert that cannot be reached go to the next best, or the run fails.
        prefix: Goes before the names of the added columns.
        on_progress: Called a few times a second with a `Progress`.
    """

    column: str
    pool: str | Path | None
    router: str | Path | None
    store: str | Path | None
    expert: str | None
    private_column: str | None
    max_cost_usd: float | None
    cost_weight: float
    latency_weight: float
    deadline: float | str | None
    on_expert_down: Literal["next", "fail"]
    prefix: str
    on_progress: Listener | None


class AnswerOptions(RunOptions, total=False):
    """Further keyword arguments of `answer`, where it is called in another way.

    Attributes:
        prompt, system, max_tokens, temperature, image_folder, allow_urls, on_error: As for `answer`.
        learn, gold, save_router, keep_reasoning: As for `answer`.
    """

    prompt: str | None
    system: str | None
    max_tokens: int | None
    temperature: float | None
    image_folder: str | Path | None
    allow_urls: bool
    on_error: Literal["null", "fail"]
    learn: bool
    gold: str | None
    save_router: str | Path | None
    keep_reasoning: bool
