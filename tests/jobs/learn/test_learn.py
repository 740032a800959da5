"""A table of questions teaches whom to ask while it is answered, with experts of a real API."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.jobs.learn.learn import Learned, Learning, foresee_pilot, learn_rows
from leeroo.engine.pool import load_pool
from tests.provider import BEHAVIOURS

Run = Callable[..., Learned]
# Three experts of about one price, each good at one kind of question; and how often each is right.
SKILLS = {
    "alpha": {"What": 0.97, "Which": 0.5, "Spell": 0.55},
    "beta": {"What": 0.45, "Which": 0.97, "Spell": 0.55},
    "gamma": {"What": 0.5, "Which": 0.5, "Spell": 0.97},
}
PRICES = {"alpha": 12, "beta": 10, "gamma": 8}
_TOKENS = (20, 10)
# What the default expert costs for a question.
ALPHA_USD = 12 * sum(_TOKENS) / 1e6


def questions(n: int) -> dict[str, str]:
    """Return n different questions of three kinds with their right answers."""
    rng = random.Random(1)
    found: dict[str, str] = {}
    while len(found) < n:
        x, y = rng.randint(2, 999), rng.randint(2, 999)
        words = ["".join(rng.choice("bdfgklmn") + rng.choice("aeiou") for _ in range(3)) for _ in range(2)]
        kind = len(found) % 3
        if kind == 0:
            found[f"What is {x} plus {y}?"] = str(x + y)
        elif kind == 1:
            found[f"Which city is the capital of {words[0].title()}land?"] = words[1].title()
        else:
            found[f"Spell the word {words[0]} backwards."] = words[0][::-1]
    return found


class School:
    """The answers of the API: right by the skill of the model, else one of a few wrong ones, some of them popular."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    def says(self, model: str, prompt: str) -> str:
        """Return the answer of a model; the same for the same prompt."""
        right, chance = self.known[prompt], random.Random(zlib.crc32(f"{model} {prompt}".encode()))
        if chance.random() < SKILLS[model][prompt.split()[0]]:
            return right if chance.random() < 0.5 else f"The answer is {right}."
        wrong = chance.choice((0, 0, 1, 2, 3))
        return str(int(right) + 1 + wrong) if right.isdigit() else f"{right}{'xyzw'[wrong]}"


@pytest.fixture
def run(tmp_path: Path, api: Any, api_entry: Callable[..., str]) -> Run:
    """Learn from a table with these experts; `criteria` may change, and a store may be shared."""
    (tmp_path / "pool.toml").write_text("".join(api_entry(name, PRICES[name], 16) for name in SKILLS))
    api.usage = _TOKENS
    api.usd_per_m = {"": (1.0, 1.0), **{name: (price, price) for name, price in PRICES.items()}}

    def make(
        rows: list[dict[str, Any]],
        criteria: Criteria,
        how: Learning = Learning(),  # noqa: B008
        store: str = "store",
        **more: Any,
    ) -> Learned:
        table = pa.Table.from_pylist(rows)
        with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / store) as engine, engine.delivery():
            return learn_rows(engine, table.to_reader(), replace(criteria, learn=True), how, **more)

    return make


def _accuracy(found: Learned, known: dict[str, str]) -> float:
    assert found.rows is not None
    pairs = zip(found.rows["question"].to_pylist(), found.rows["answer"].to_pylist(), strict=True)
    return sum(known[q] in (a or "").removesuffix(".").split() for q, a in pairs) / len(found.rows)


def _sent(api: Any) -> int:
    return sum(api.asked.values())


def test_it_beats_the_default_expert_at_the_same_cost(run: Run, api: Any) -> None:
    """Without outcomes, labels and router, 900 questions come out better than from any expert alone, for less money."""
    known = questions(900)
    api.says = School(known).says
    found = run([{"question": q} for q in known], Criteria(max_cost_usd=900 * ALPHA_USD))
    alone = sum(School(known).says("alpha", q).split()[-1].strip(".") == known[q] for q in known) / 900
    assert _accuracy(found, known) > alone + 0.03
    assert found.rows is not None
    assert sum(found.rows["cost_usd"].to_pylist()) <= 900 * ALPHA_USD
    assert found.rows["error"].null_count == 900
    assert found.findings.spent_usd == pytest.approx(api.account_usd)  # the report's money is the provider's
    assert found.router is not None
    assert set(found.router.experts) == set(SKILLS)


def test_a_repeated_batch_is_the_same_and_free(run: Run, api: Any) -> None:
    """The same command again sends nothing, costs nothing, and gives the same table and findings."""
    known = questions(150)
    api.says = School(known).says
    rows = [{"question": q} for q in known]
    first = run(rows, Criteria(max_cost_usd=0.05))
    sent = _sent(api)
    second = run(rows, Criteria(max_cost_usd=0.05))
    assert _sent(api) == sent
    assert first.rows is not None
    assert second.rows is not None
    paid = ["cost_usd", "latency_ms"]
    assert second.rows.drop_columns(paid).equals(first.rows.drop_columns(paid))
    assert sum(second.rows["cost_usd"].to_pylist()) == 0
    assert second.findings.experts == first.findings.experts


def test_duplicates_blanks_and_own_columns_stay(run: Run, api: Any) -> None:
    """Rows keep their order and columns; equal questions share an answer that one row pays for; blanks stay NULL."""
    known = questions(60)
    api.says = School(known).says
    texts: list[str | None] = [*known, next(iter(known)), None, " "]
    found = run([{"id": i, "question": q} for i, q in enumerate(texts)], Criteria(max_cost_usd=0.02, prefix="x_"))
    assert found.rows is not None
    assert found.rows["id"].to_pylist() == list(range(63))
    last = found.rows.slice(60).to_pylist()
    assert last[0]["x_answer"] == found.rows["x_answer"][0].as_py() is not None
    assert (last[0]["x_cost_usd"], last[1]["x_answer"], last[2]["x_answer"]) == (0, None, None)
    assert [row["x_error"] for row in last] == [None, None, None]
    assert found.findings.questions == 60


def test_gold_is_used_where_it_is(run: Run, api: Any) -> None:
    """With right answers for a half of the rows the inferred rates come near to the true ones."""
    known = questions(240)
    api.says = School(known).says
    true = {name: sum(skill.values()) / 3 for name, skill in SKILLS.items()}
    rows = [{"question": q, "right": a if i % 2 else ""} for i, (q, a) in enumerate(known.items())]
    found = run(rows, Criteria(max_cost_usd=0.08, gold="right"))
    assert found.findings.gold == 120
    assert sum(abs(each.rate.value - true[each.expert]) for each in found.findings.experts) < 0.25


_TAIL = "because " + "that is how it has always been done here and nobody has ever found a reason to doubt it " * 2


def _essays(known: dict[str, str], judge: Callable[[list[bool]], str]) -> Callable[[str, str], dict[str, float] | str]:
    """Return an API that answers at length, and judges answers by which of those that are shown are right."""
    school = School(known)

    def says(model: str, prompt: str) -> dict[str, float] | str:
        if "Which of the two answers is right?" not in prompt and "Is the answer right?" not in prompt:
            return f"{school.says(model, prompt)} {_TAIL}"
        question = next(q for q in known if q in prompt)
        said = prompt.split("Answer A:\n")[-1].split("Answer B:\n")
        return {judge([known[question] in part.replace(".", " ").split()[:5] for part in said]): 0.95}

    return says


def _fair(right: list[bool]) -> str:
    if len(right) == 1:
        return "right" if right[0] else "wrong"
    return {(1, 1): "both", (1, 0): "A", (0, 1): "B", (0, 0): "neither"}[int(right[0]), int(right[1])]


def _by_place(right: list[bool]) -> str:
    return "A" if len(right) == 2 else "right"


def test_long_answers_are_judged(run: Run, api: Any) -> None:
    """Answers that cannot be compared are judged by the expert that is named, whose requests the budget counts."""
    known = questions(120)
    api.says = _essays(known, _fair)
    found = run([{"question": q} for q in known], Criteria(max_cost_usd=0.1), Learning(judge="beta"))
    judge = found.findings.judge
    assert judge is not None
    assert (judge.name, judge.believed, judge.gold.n, judge.itself.share) == ("beta", True, 0, 1.0)
    [note] = [note for note in found.findings.notes if "judge " in note or " judge:" in note]
    assert note.startswith("the judge beta was not checked against gold; it agrees with itself on 100% of ")
    assert found.findings.spent_usd == pytest.approx(api.account_usd, rel=0.02)
    assert found.findings.spent_usd == pytest.approx(sum(wave.list_cost_usd for wave in found.findings.waves))
    assert "judge" in {wave.what for wave in found.findings.waves}
    assert api.account_usd <= 0.1
    assert found.rows is not None
    assert found.rows["error"].null_count == 120
    assert found.router is not None


def test_a_judge_that_contradicts_itself_is_not_believed(run: Run, api: Any) -> None:
    """Without gold, a judge that takes whatever is shown first teaches nothing, and a note says why."""
    known = questions(60)
    api.says = _essays(known, _by_place)
    found = run([{"question": q} for q in known], Criteria(max_cost_usd=0.1), Learning(judge="beta"))
    [note] = [note for note in found.findings.notes if "judge " in note or " judge:" in note]
    assert note.startswith("beta is no judge: it contradicts itself on 100% of ")
    assert found.router is None
    assert found.tables["outcomes"].num_rows == 0
    assert found.rows is not None
    assert found.rows["error"].null_count == 60


def test_a_judge_is_checked_against_gold(run: Run, api: Any) -> None:
    """With enough gold its agreement with that counts: a judge that is sure of what is wrong is not believed."""
    known = questions(60)
    api.says = _essays(known, lambda right: _fair([not each for each in right]))
    rows = [{"question": q, "right": a} for q, a in known.items()]
    found = run(rows, Criteria(max_cost_usd=0.1, gold="right"), Learning(judge="beta"))
    judge = found.findings.judge
    assert judge is not None
    assert judge.itself.share == 1.0
    assert not judge.believed
    [note] = [note for note in found.findings.notes if "judge " in note or " judge:" in note]
    assert note.startswith("beta is no judge: it agrees with gold on 0% of ")
    assert found.router is not None  # gold teaches it


def test_an_expert_that_is_down_costs_no_row(run: Run, api: Any) -> None:
    """Rows of an expert that fails go to others, and it is not asked for ever."""
    known = questions(90)
    api.says = School(known).says
    api.replies = lambda call: BEHAVIOURS["404_model" if call.body["model"] == "beta" else "ok"](call)
    found = run([{"question": q} for q in known], Criteria(max_cost_usd=0.05))
    assert found.rows is not None
    assert found.rows["error"].null_count == 90
    assert "beta" not in set(found.rows["expert"].to_pylist())


def test_the_next_table_starts_from_what_was_learned(run: Run, api: Any) -> None:
    """The router of a batch is kept in the store, and the next batch of the pool starts from it; its own repeat not."""
    known = questions(300)
    api.says = School(known).says
    rows = [{"question": q} for q in known]
    said: list[str] = []
    run(rows[:150], Criteria(max_cost_usd=0.05), say=said.append)
    assert not any(line.startswith("starting") for line in said)
    run(rows[150:], Criteria(max_cost_usd=0.05), say=said.append)
    assert "starting from what earlier tables taught of this pool" in said
    said.clear()
    run(rows[:150], Criteria(max_cost_usd=0.05), say=said.append)
    assert not any(line.startswith("starting") for line in said)


def test_a_budget_too_small_for_a_pilot_says_so(run: Run, api: Any) -> None:
    """Where the money reaches few rows no pilot is run, the findings say so, and the budget holds."""
    known = questions(90)
    api.says = School(known).says
    found = run([{"question": q} for q in known], Criteria(max_cost_usd=0.002))
    assert api.account_usd <= 0.002
    assert any("sent to several experts" in note for note in found.findings.notes)
    assert found.rows is not None
    assert any("budget" in (error or "") for error in found.rows["error"].to_pylist())


@pytest.mark.parametrize("usd", [0.05, 0.02, 0.012, 0.008, 0.002])
def test_the_first_wave_is_as_foreseen(run: Run, api: Any, tmp_path: Path, usd: float) -> None:
    """The first wave has the questions that were foreseen, where money is short too; foreseeing sends nothing."""
    known = questions(40)
    api.says = School(known).says
    rows = [{"question": q} for q in known]
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "other") as engine:
        line = foresee_pilot(engine, pa.Table.from_pylist(rows).to_reader(), Criteria(max_cost_usd=usd))
    assert _sent(api) == 0
    waves = [wave for wave in run(rows, Criteria(max_cost_usd=usd)).findings.waves if wave.what == "pilot"]
    if waves:
        assert line.startswith(f"a first wave of {waves[0].answers // 3} questions to 3 experts")
    else:
        assert line.startswith("no pilot fits into $0.002")


def test_only_a_sample_is_asked_for_a_router(run: Run, api: Any) -> None:
    """Learning alone spends its budget on a sample of all experts, and advises on budgets for all questions."""
    known = questions(400)
    api.says = School(known).says
    found = run([{"question": q} for q in known], Criteria(max_cost_usd=0.04), answer_all=False)
    assert found.rows is None
    assert found.advice is not None
    assert 0.02 < api.account_usd <= 0.04
    assert len({call.prompt for call in api.calls}) < 200
    spent = [point.usd_per_1k for point in found.advice.frontier]
    assert spent == sorted(spent)
    assert found.advice.suggested in found.advice.frontier


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Criteria(), "learning spends a budget: give max_cost_usd"),
        (Criteria(cost_weight=1.0), "give max_cost_usd instead of weights"),
        (Criteria(max_cost_usd=1.0, expert="alpha"), "leave expert out"),
    ],
)
def test_conditions_that_cannot_be_are_refused(run: Run, api: Any, wrong: Criteria, says: str) -> None:
    """A batch without a budget, with weights or with one expert is refused in one line, and nothing is sent."""
    with pytest.raises(UsageError, match=says):
        run([{"question": "What is 1 plus 1?"}], wrong)
    assert _sent(api) == 0


def test_a_gold_column_that_is_not_there_is_named(run: Run) -> None:
    """The error names the missing column and those there are."""
    with pytest.raises(InputError, match="no column 'truth' for gold=; its columns are: question"):
        run([{"question": "What is 1 plus 1?"}], Criteria(max_cost_usd=1.0, gold="truth"))


def test_an_empty_table_costs_nothing(run: Run, api: Any) -> None:
    """A table of blank questions comes back as it was."""
    found = run([{"question": None}, {"question": " "}], Criteria(max_cost_usd=1.0))
    assert found.rows is not None
    assert found.rows["answer"].to_pylist() == [None, None]
    assert _sent(api) == 0


def test_the_order_of_rows_changes_nothing(run: Run, api: Any) -> None:
    """The same questions in another order get the same answers, from the same experts."""
    known = questions(90)
    api.says = School(known).says
    rows = [{"question": q} for q in known]
    answers = []
    for each in (rows, rows[::-1]):
        found = run(each, Criteria(max_cost_usd=0.03))
        assert found.rows is not None
        answers.append({row["question"]: (row["answer"], row["expert"]) for row in found.rows.to_pylist()})
    assert answers[0] == answers[1]


def test_private_rows_stay_local(tmp_path: Path, api: Any, api_entry: Callable[..., str]) -> None:
    """Private questions go to local experts alone, are not shown to a remote judge, and are not kept as outcomes."""
    known = questions(60)
    tail = "because that is how it has always been done here and nobody has found a reason to doubt it so far"
    api.says = lambda model, prompt: f"{model} {tail}" if prompt in known else {"neither": 0.9}
    pool = [api_entry("remote", 10, 32), *(api_entry(name, 1, 32, 'location = "local"') for name in ("near", "here"))]
    (tmp_path / "pool.toml").write_text("".join(pool))
    table = pa.Table.from_pylist([{"question": q, "secret": i % 2 == 0} for i, q in enumerate(known)])
    criteria = Criteria(max_cost_usd=0.1, private_column="secret", learn=True)
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine, engine.delivery():
        found = learn_rows(engine, table.to_reader(), criteria)
    private = [q for i, q in enumerate(known) if i % 2 == 0]
    to_remote = [call.prompt for call in api.calls if call.body["model"] == "remote"]
    assert to_remote
    assert not any(q in prompt for q in private for prompt in to_remote)
    assert not set(found.tables["queries"]["question"].to_pylist()) & set(private)
    assert found.rows is not None
    assert found.rows["error"].null_count == 60


def test_an_expert_that_always_takes_the_first_option_is_named(run: Run, api: Any) -> None:
    """An expert that gives one letter whatever is asked is named in a note; the others are not."""
    letters = [random.Random(i).choice("ABCD") for i in range(60)]
    rows = [f"Which of them is number {i}?\nA. one\nB. two\nC. three\nD. four" for i in range(60)]
    right = dict(zip(rows, letters, strict=True))
    api.says = lambda model, prompt: "A" if model == "gamma" else right[prompt]
    found = run([{"question": row} for row in rows], Criteria(max_cost_usd=0.1))
    [note] = [note for note in found.findings.notes if "lettered options" in note]
    assert note.startswith("gamma answers A to 100% of the questions with lettered options")
