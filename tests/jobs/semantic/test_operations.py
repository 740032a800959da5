"""Joins, deduplications and rankings: right results from few requests, all of them in common batches."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.semantic.decisions import Tally, run_together
from leeroo.engine.jobs.semantic.dedupe import Dedupe
from leeroo.engine.jobs.semantic.join import Join
from leeroo.engine.jobs.semantic.plan import Work, foresee, most_requests, operation_of
from leeroo.engine.jobs.semantic.rank import Rank
from tests.provider import Provider

Run = Callable[..., list[tuple[pa.Table, Tally]]]

NAMES = ["apple", "banana", "cherry", "desk", "engine", "forest", "guitar", "hammer", "island", "jacket"]


def decides(model: str, prompt: str) -> str:
    """Choose the largest number of a list; say yes where the two last quoted words are the same."""
    if prompt.startswith("Which of these"):
        lines = {line[0]: int(line.split()[-1]) for line in prompt.splitlines() if line[1:2] == "."}
        return max(lines, key=lambda letter: lines[letter])
    words = re.findall(r"'(\w+)", prompt)
    return "yes" if words[-1] == words[-2] else "no"


@pytest.fixture
def engine(api: Provider, tmp_path: Path) -> Iterator[Engine]:
    """Return an engine over an API that decides as `decides` does."""
    api.says, api.usd_per_m = decides, {"": (1.0, 1.0)}
    pool = tmp_path / "pool.toml"
    pool.write_text(api.entry("a", 1.0, 5, "[expert.engine]\nmax_retries = 0\n"))
    with open_engine(pool, store=tmp_path / "store", router="none") as engine:
        yield engine


@pytest.fixture
def run(engine: Engine) -> Run:
    """Run some work to its end."""
    return lambda *works, **options: run_together(engine, [operation_of(work) for work in works], Criteria(**options))


def _join(k: int = 3, sample: float = 0.05, rows: int = 40, **more: object) -> Work:
    left = [json.dumps({"l_text": f"complaint {i} about the '{NAMES[i % 10]}'"}) for i in range(rows)]
    right = [json.dumps({"r_name": f"the '{name}'"}) for name in NAMES]
    return Join("{l.text} is about {r.name}", k, sample, **more), [left, right]  # type: ignore[arg-type]


def _pairs(table: pa.Table) -> set[tuple[str, str]]:
    rows = zip(table.column("left").to_pylist(), table.column("right").to_pylist(), strict=True)
    return {(re.findall(r"'(\w+)", left)[0], re.findall(r"'(\w+)", right)[0]) for left, right in rows}


def test_a_join_finds_the_pairs_its_statement_is_true_of(run: Run, api: Provider) -> None:
    """Each complaint meets its product, with similarity, confidence, expert, cost and recall, in one batch."""
    ((table, tally),) = run(_join())
    assert table.num_rows == 40
    assert _pairs(table) == {(name, name) for name in NAMES}
    assert tally.decisions == len(api.bodies) < 200  # of 400 pairs
    row = table.slice(0, 1).to_pylist()[0]
    assert (row["expert"], row["recall"]) == ("a", 1.0)
    assert 0 < row["similarity"] <= 1
    assert row["confidence"] == pytest.approx(0.9)
    assert tally.cost_usd == pytest.approx(api.account_usd)


def test_the_sample_shows_what_candidates_miss(run: Run) -> None:
    """With one candidate a row and statements that are true of all pairs, most are missed and the recall says so."""
    ((table, _),) = run(_join(k=1, sample=1.0))
    recall = table.column("recall")[0].as_py()
    assert recall == 1.0  # the nearest product is the right one
    left = [json.dumps({"l_text": f"'same' {i}"}) for i in range(30)]
    right = [json.dumps({"r_name": f"'same' {i}"}) for i in range(30)]
    ((table, tally),) = run((Join("{l.text} is {r.name}", 1, 1.0), [left, right]))
    assert table.num_rows == tally.decisions  # all are true
    assert table.column("recall")[0].as_py() == pytest.approx(table.num_rows / 900, rel=0.05)


def test_a_threshold_chooses_among_decisions(run: Run, api: Provider) -> None:
    """The confidence is the probability of a yes; another threshold costs nothing."""
    api.says = lambda _, prompt: {"no": 0.6, "yes": 0.4} if decides("", prompt) == "yes" else {"no": 0.9, "yes": 0.1}
    assert run(_join(sample=0.0))[0][0].num_rows == 0
    ((table, tally),) = run(_join(sample=0.0, threshold=0.3))
    assert (_pairs(table), tally.cost_usd) == ({(name, name) for name in NAMES}, 0)
    assert table.column("confidence").to_pylist() == pytest.approx([0.4] * 40)
    ((table, tally),) = run(_join(sample=0.0, threshold=0.0))
    assert table.num_rows == tally.decisions
    assert run(_dedupe(threshold=0.3))[0][0].column("number").to_pylist() == [1, 1, 1, 2, 2, 3]


def test_without_a_sample_no_recall_is_known(run: Run) -> None:
    """Nothing beyond the candidates is decided."""
    ((table, tally),) = run(_join(sample=0.0))
    assert set(table.column("recall").to_pylist()) == {None}
    assert tally.decisions <= 40 * 3 + 10 * 3


def test_operations_share_batches_and_the_budget(run: Run, engine: Engine) -> None:
    """Three operations take as many runs as the longest of them, and repeat nothing that is stored."""
    works = [_join(), (Rank("largest number", k=2, group=4), [[f"item {i}" for i in range(30)]]), _dedupe()]
    before = len(engine.store.runs())
    found = run(*works)
    assert [table.num_rows for table, _ in found] == [40, 2, 6]
    assert len(engine.store.runs()) - before == 6  # the tournament has three rounds, twice
    assert all(tally.cost_usd == 0 for _, tally in run(*works))


def _dedupe(**more: object) -> Work:
    texts = [
        "the red 'apple'",
        "a red 'apple'",
        "one red 'apple' here",
        "the big 'engine'",
        "a big 'engine'",
        "an 'island'",
    ]
    return Dedupe(similarity=0.3, **more), [texts]  # type: ignore[arg-type]


def test_duplicates_are_one_group_with_a_representative(run: Run) -> None:
    """Groups are numbered in the order of their first rows; each has one of its rows as representative."""
    ((table, tally),) = run(_dedupe())
    assert table.column("number").to_pylist() == [1, 1, 1, 2, 2, 3]
    named = table.column("right").to_pylist()
    assert len(set(named[:3])) == len(set(named[3:5])) == 1
    assert named[0] in table.column("left").to_pylist()[:3]
    assert named[5] == "an 'island'"
    assert tally.decisions <= 15


def test_links_through_others_make_one_group(run: Run, api: Provider) -> None:
    """Rows that no decision links directly are in one group where a third row links them."""
    chain = {("1", "2"), ("2", "3"), ("3", "4")}
    api.says = lambda _, prompt: "yes" if tuple(re.findall(r"part (\d)", prompt)) in chain else "no"
    ((table, _),) = run((Dedupe(similarity=-1), [[f"part {i}" for i in (1, 2, 3, 4, 5)]]))
    assert table.column("number").to_pylist() == [1, 1, 1, 1, 2]


def test_a_tournament_finds_the_best_in_few_requests(run: Run, api: Provider) -> None:
    """The k best come in order, for about n / (m - 1) requests and one a round for each further place."""
    texts = [f"item {i * 7 % 211}" for i in range(211)]
    rank = Rank("largest number", k=5)
    ((table, tally),) = run((rank, [texts]))
    assert table.column("left").to_pylist() == [f"item {i}" for i in (210, 209, 208, 207, 206)]
    assert table.column("number").to_pylist() == [1, 2, 3, 4, 5]
    assert rank.rounds(211) == [27, 4, 1]
    assert tally.decisions == len(api.bodies) <= rank.requests(211) == 44
    assert run((Rank("largest number", k=99, group=3), [["item 4", "item 6"]]))[0][0].num_rows == 2
    assert run((rank, [["item 4"]]))[0][0].to_pylist()[0]["left"] == "item 4"


def test_a_group_that_is_refused_is_decided_in_parts(run: Run, api: Provider) -> None:
    """One giant text loses to any other, and the best of the rest is found."""
    api.faults, api.repeat = {"giant": [400]}, True
    texts = [*(f"item {i}" for i in range(20)), f"giant {'x ' * 500} 999"]
    ((table, tally),) = run((Rank("largest number", k=2), [texts]))
    assert table.column("left").to_pylist() == ["item 19", "item 18"]
    assert tally.failed > 0
    assert "decisions failed" in str(tally.error)


def test_a_failed_decision_costs_no_other_pair(run: Run, api: Provider) -> None:
    """The pairs of one complaint fail; all others are found, and the tally counts the failures."""
    api.faults, api.repeat = {"complaint 7 ": [400]}, True
    ((table, tally),) = run(_join())
    assert table.num_rows == 39
    assert tally.failed >= 3
    assert str(tally.error).startswith(f"{tally.failed} of {tally.decisions} decisions failed: 400 Bad Request")


def test_a_budget_that_ends_is_kept(run: Run, api: Provider) -> None:
    """A join decides what it can pay for; a tournament gives no place that it could not decide."""
    ((table, tally),) = run(_join(), max_cost_usd=0.001)
    assert 0 < table.num_rows < 40
    assert "the budget of $0.001" in str(tally.error)
    assert api.account_usd <= 0.001
    ((table, tally),) = run((Rank("largest number", k=3), [[f"thing {i}" for i in range(300)]]), max_cost_usd=0.001)
    assert table.num_rows == 0
    assert "the budget of" in str(tally.error)


def test_an_estimate_counts_decisions_and_sends_nothing(run: Run, engine: Engine, api: Provider) -> None:
    """The plan has a line for each operation, and as many prompts as the run has requests."""
    works = [_join(), _dedupe()]
    estimate = foresee(engine, works, Criteria())
    assert api.bodies == []
    assert [line.split(":")[0] for line in estimate.plan] == [
        "join 40 x 10 different rows",
        "dedupe 6 different rows",
    ]
    assert "instead of 400" in estimate.plan[0]
    found = run(*works)
    assert estimate.prompts == sum(tally.decisions for _, tally in found) == len(api.bodies)
    assert estimate.cost_usd > 0
    ranked = foresee(engine, [(Rank("largest number", k=2), [[f"item {i}" for i in range(100)]])], Criteria())
    assert ranked.plan == (
        "the best 2 of 100 different rows: rounds of 13, 2, 1 requests, then up to 3 for each further place; 19 in all",
    )
    assert ranked.prompts == 19


def test_the_most_requests_are_known_without_vectors(run: Run) -> None:
    """They are the share of an operation in the budget of a statement; the run needs no more."""
    works = [_join(), _dedupe(k=2), (Rank("largest number", k=2, group=4), [[f"item {i}" for i in range(30)]])]
    most = [most_requests(work) for work in works]
    assert most == [158, 12, 14]  # 50 rows x 3 and a twentieth; 6 rows x 2; rounds of 8, 2, 1, then one of each
    assert all(tally.decisions <= m for (_, tally), m in zip(run(*works), most, strict=True))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Join("{l.a}", 10), "the prompt names no column of the right table: write {r.name}"),
        (lambda: Join("{a} {r.b}", 10), "{a} in the prompt is a column of neither side"),
        (lambda: Join("{l.a} {r.b}", 0), "k must be a number above 0, not 0"),
        (lambda: Join("{l.a} {r.b}", 1, 2.0), "sample must be from 0 to 1, not 2"),
        (lambda: Dedupe("{a} is it", 1), "the prompt must name both rows, {a} and {b}"),
        (lambda: Dedupe(similarity=3), "similarity must be from -1 to 1, not 3"),
        (lambda: Dedupe(threshold=3), "threshold must be from 0 to 1, not 3"),
        (lambda: Rank(" "), "the criterion is blank"),
        (lambda: Rank("x", group=1), "a group has from 2 to 26 rows, not 1"),
        (lambda: Rank("x", k=-1), "k must be a number above 0, not -1"),
        (
            lambda: Join("{l.a} {r.b}").check(600_000, 600_000),
            "up to 12,000,000 candidates (600,000 + 600,000 different",
        ),
        (lambda: Dedupe(k=100).check(200_000), "up to 20,000,000 candidates (200,000 different rows x k = 100)"),
    ],
)
def test_what_cannot_be_is_an_error(make: Callable[[], object], says: str) -> None:
    """One line says what is wrong, and how to mend it."""
    with pytest.raises(UsageError, match=re.escape(says)):
        make()
