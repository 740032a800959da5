"""The settings of the routing benchmark, and their recorded questions from the data folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import duckdb
import numpy as np

from leeroo.engine.arrays import Float32s
from leeroo.engine.orchestrator.analysis.frontier import Point, singles
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.outcomes.recorded import Recorded, prices_of, recorded

DATA = Path(os.environ.get("LEEROO_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@dataclass(frozen=True)
class Goal:
    """An accuracy to reach at a part of what the reference expert costs on the same questions; shown in percent."""

    share: float
    target: float
    simple_before: float  # what the simple baseline reached when the target was set


@dataclass(frozen=True)
class Setting:
    """Some experts, the data for routers, and the goals.

    Attributes:
        key: Names the files of peers and plots.
        title: For people.
        router: Name of the router that answers, see `ROUTERS`.
        train, test: Data folders.
        experts: None for all of the test folder.
        reference: The expert whose cost is 1.
        goals: Empty for the pair, which is measured over all budgets.
    """

    key: str
    title: str
    router: str
    train: tuple[str, ...]
    test: str
    reference: str
    experts: tuple[str, ...] | None = None
    goals: tuple[Goal, ...] = ()


# The data folders of each router.
ROUTERS = {
    "mmlu9": ("mmlu9", "mmlu_gpt4_mixtral"),
    "pair": ("mmlu_gpt4_mixtral",),
    "mmlu_pro": ("mmlu_pro",),
}
WEAK, STRONG = "mixtral-8x7b-instruct", "gpt-4-1106-preview"
_EIGHT = (
    "chinese-mistral-7b-v0.1",
    "dolphin-2.6-mistral-7b",
    "dolphin-2.9-llama3-8b",
    "llama-3-8b",
    "metamath-mistral-7b",
    "mistral-7b-v0.1",
    WEAK,
    "zephyr-7b-beta",
)
_SEVENTEEN = (
    "command-r",
    "gemma-7b",
    "llama-2-13b",
    "llama-2-70b",
    "llama-2-7b",
    "mathstral-7b",
    "mistral-7b-instruct-v0.1",
    "mistral-7b-instruct-v0.2",
    "mistral-7b-v0.1",
    "mistral-7b-v0.2",
    "mixtral-8x7b",
    WEAK,
    "phi-3-mini-4k-instruct",
    "qwen1.5-7b-chat",
    "yi-34b",
    "yi-6b",
    "yi-6b-chat",
)
SETTINGS = (
    Setting(
        key="eight",
        title="MMLU, eight open experts",
        router="mmlu9",
        train=ROUTERS["mmlu9"],
        test="mmlu9",
        reference=WEAK,
        experts=_EIGHT,
        goals=(Goal(2 / 3, 68.0, 65.4), Goal(1, 71.0, 67.8)),
    ),
    Setting(
        key="nine",
        title="MMLU, the eight and GPT-4",
        router="mmlu9",
        train=ROUTERS["mmlu9"],
        test="mmlu9",
        reference=STRONG,
        goals=(Goal(1 / 2, 78.5, 75.8), Goal(3 / 4, 80.7, 78.8)),
    ),
    Setting(
        key="pair",
        title="MMLU, Mixtral or GPT-4",
        router="pair",
        train=ROUTERS["pair"],
        test="mmlu9",
        reference=STRONG,
        experts=(STRONG, WEAK),
    ),
    Setting(
        key="pro28",
        title="MMLU-Pro, 28 experts",
        router="mmlu_pro",
        train=ROUTERS["mmlu_pro"],
        test="mmlu_pro",
        reference="gemini-1.5-pro-002",
        goals=(Goal(1 / 2, 70.0, 69.2), Goal(3 / 4, 72.5, 71.0), Goal(1, 73.5, 71.3)),
    ),
    Setting(
        key="pro17",
        title="MMLU-Pro, 17 open experts of 2023-24",
        router="mmlu_pro",
        train=ROUTERS["mmlu_pro"],
        test="mmlu_pro",
        reference=WEAK,
        experts=_SEVENTEEN,
        goals=(Goal(1 / 2, 47.5, 45.7), Goal(1, 48.5, 46.5)),
    ),
)


@dataclass(frozen=True)
class Task:
    """A setting with its training and test questions; tables have `experts` columns."""

    setting: Setting
    experts: tuple[str, ...]
    prices: Float32s
    train: Recorded
    test: Recorded
    query_ids: list[str]  # of the test questions

    @cached_property
    def points(self) -> dict[str, Point]:
        """The point of each expert when it answers all test questions."""
        return dict(zip(self.experts, singles(self.test.scores, self.test.costs), strict=True))

    def budget(self, share: float) -> float:
        """Return a budget in USD per 1,000 questions."""
        return share * self.points[self.setting.reference].cost_usd_per_1k

    def learnable(self) -> Recorded:
        """Return the training questions on which all the experts have outcomes."""
        return self.train.at(np.flatnonzero(np.isfinite(self.train.scores).all(axis=1)))

    @property
    def contexts(self) -> list[tuple[str | None, str | None]]:
        """Subject and category of each test question."""
        return list(zip(self.test.subjects, self.test.categories, strict=True))


@lru_cache
def load(setting: Setting) -> Task:
    """Read a setting's questions; the test questions are those on which all experts have outcomes."""
    folder = DATA / setting.test
    tests = read_outcomes([folder], "test")
    experts = setting.experts or tests.experts
    prices = prices_of([folder], experts)
    test = recorded(tests, experts, prices)
    known = np.isfinite(test.scores).all(axis=1) & np.isfinite(test.costs).all(axis=1)
    test = test.at(np.flatnonzero(known))
    train = recorded(read_outcomes([DATA / name for name in setting.train], "train"), experts, prices)
    ids = duckdb.execute(
        "SELECT prompt, query_id FROM read_parquet($file) WHERE split = 'test'", {"file": f"{folder}/queries.parquet"}
    ).fetchall()
    of_prompt = dict(ids)
    return Task(setting, experts, prices, train, test, [of_prompt[prompt] for prompt in test.prompts])
