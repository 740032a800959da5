"""Self-play: rounds that learn, with experts behind a real API whose skills are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Engine
from leeroo.engine.jobs.selfplay import Play, play
from leeroo.engine.jobs.selfplay_report import headline, read_played, report_page
from leeroo.engine.jobs.stages import spent_usd
from leeroo.engine.pool import Pool, load_pool
from tests.conftest import ApiServer

# What each expert is right about.
SKILLS = {"strong": ("arithmetic", "dates"), "weak": ("units",), "novice": ("words",), "judge": ()}


_FAMILIES = ("arithmetic", "dates", "units", "words")


class School:
    """What the API's models say: right on the topics of their skills, by the questions in a loop's folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.number = itertools.count()
        self.known: dict[str, tuple[str | None, str]] = {}

    def says(self, model: str, prompt: str) -> dict[str, float]:
        """The probabilities of a model's answers."""
        if prompt.startswith("Here are some questions"):
            return {f"1. Who wrote the book called number {next(self.number)} of the {hash(prompt) % 999}?": 1.0}
        if prompt.startswith("Can the following question"):
            return {"yes": 0.9, "no": 0.1}
        if "Which of the two answers is right?" in prompt:
            first = prompt.split("Answer A:")[1].split("Answer B:")[0]
            second = prompt.split("Answer B:")[1].split("Which of")[0]
            right = [
                self.right(prompt.split("Question:\n")[1].split("\n\nAnswer A")[0], text) for text in (first, second)
            ]
            return {("both" if all(right) else "neither") if right[0] == right[1] else "AB"[right[1]]: 1.0}
        answer, topic = self.look_up(prompt)
        if topic == "written":
            return {"Homer" if model == "strong" else "Virgil": 1.0}
        return {str(answer) if topic in SKILLS[model] else "I do not know": 1.0}

    def right(self, question: str, text: str) -> bool:
        """Whether an answer is right."""
        answer, topic = self.look_up(question)
        return ("Homer" if topic == "written" else str(answer)) in text

    def look_up(self, question: str) -> tuple[str | None, str]:
        """The right answer and the topic of a question."""
        if question not in self.known:
            for file in self.out.glob("**/queries.parquet"):
                for row in pq.read_table(file).to_pylist():
                    family = row["made_by"] == "family"
                    self.known[row["question"]] = (row["answer"], row["topic"] if family else "written")
        return self.known[question]


@pytest.fixture
def pool_of(api: ApiServer, api_entry: Callable[..., str], tmp_path: Path) -> Callable[..., Pool]:
    """Make a pool of these experts; 'strong' and 'judge' cost ten times what the others do."""
    api.says = School(tmp_path / "play").says

    def make(*names: str) -> Pool:
        file = tmp_path / "pool.toml"
        entries = [api_entry(name, 10 if name in ("strong", "judge") else 1, 20) for name in names]
        file.write_text(f'default = "{names[0]}"\n' + "".join(entries))
        return load_pool(file)

    return make


def _play(pool: Pool, tmp_path: Path, rounds: int, **what: object) -> list[str]:
    said: list[str] = []
    some = {"outcomes": 20, "held_out": 60, "written": 0.0, "families": _FAMILIES, **what}
    with Engine(pool, store=tmp_path / "store") as engine:
        play(engine, tmp_path / "play", Play(**some), rounds, said.append)  # type: ignore[arg-type]
    return said


def test_rounds_raise_the_held_out_score(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """The router learns who is good at what, and each round keeps its data, its router and its score."""
    said = _play(pool_of("strong", "weak"), tmp_path, 2)
    played = read_played(tmp_path / "play")
    assert [row["round"] for row in played.rounds] == [0, 1, 2]
    first, last = played.rounds[0], played.rounds[-1]
    assert last["score"] > first["score"]
    assert last["accuracy_at_full"] > last["best_accuracy"] + 0.1
    assert last["outcomes_total"] == sum(row["outcomes"] for row in played.rounds) == 60
    assert last["cost_usd_total"] == pytest.approx(spent_usd(tmp_path / "play"))
    assert played.judged_by == {"numeric": 30, "exact": 30}
    assert f"score {last['score']:.3f}" in said[-1]
    assert "After 2 rounds and 60 outcomes" in headline(played)
    assert "<svg" in report_page(played, "play")
