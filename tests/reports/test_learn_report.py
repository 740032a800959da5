"""The report of a batch that learned: what is said of experts, waves and other ways, on a terminal and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from leeroo.engine.jobs.judge import JudgeAgreement
from leeroo.engine.jobs.learn.advice import Advice, BudgetPoint
from leeroo.engine.jobs.learn.asked import WaveFigures
from leeroo.engine.jobs.learn.findings import Alternative, ExpertFinding, Findings
from leeroo.engine.jobs.learn.judging import JudgeFound
from leeroo.engine.orchestrator.analysis.frontier import Interval
from leeroo.reports.learn import learn_report, plot_found, sample_report
from leeroo.reports.report import cells
from leeroo.reports.terminal import print_report

NAMES = ("claude-3-5-sonnet-20240620", "llama-3.1-nemotron-70b-instr", "gpt-4o-2024-05-13", "mixtral-8x7b-instruct")


_UNSURE = Interval(0.03, -0.02, 0.08)


def findings_of(names: Sequence[str] = NAMES, gain: Interval = _UNSURE) -> Findings:
    """Make findings of experts that are better the more expensive they are; the last one answered nothing."""
    last = len(names) - 1
    experts = [
        ExpertFinding(
            name, 10.0 ** (i % 4 - 4), Interval(0.5 + 0.4 * i / len(names), 0.4, 0.95), 10 * i, 9 * i * (i != last),
            "left out: others are as good for less" if i == last else "asked where it is worth its price",
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    others = [
        Alternative(f"the default expert {names[0]}", Interval(0.7, 0.6, 0.8), Interval(0.1, 0.05, 0.15)),
        Alternative(f"{names[1]} alone", Interval(0.77, 0.7, 0.8), gain),
    ]
    waves = [WaveFigures("pilot", 18, 1, 0.0005, 0.0006, {}), WaveFigures("pilot", 30, 2, 0.001, 0.001, {})]
    waves += [WaveFigures("answers", 1000, 0, 12.5, 12.5, {})]
    spent = sum(wave.list_cost_usd for wave in waves)
    return Findings(1200, 1000, 10, 40, 15.0, spent, Interval(0.8, 0.75, 0.85), experts, others, waves, ["a note"])


def test_tables_fit_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With names of real models no line of a table is broken at 80 columns, and no figure either."""
    monkeypatch.setenv("COLUMNS", "80")
    report = learn_report(findings_of(), "What was learned")
    print_report(report)
    lines = capsys.readouterr().out.splitlines()
    for table in report.tables:
        for row in cells(table):
            assert any(line.split() == " ".join(row).split() for line in lines), row


def test_waves_of_a_kind_are_one_row() -> None:
    """Waves are summed by kind, with what failed and what they cost."""
    [waves] = [table for table in learn_report(findings_of(), "x").tables if table.title == "Waves"]
    assert cells(waves) == [
        ["pilot", "2", "48", "3", "0.001500", "0.001600"],
        ["answers", "1", "1,000", "0", "12.500000", "12.500000"],
    ]


def test_reasons_name_their_experts() -> None:
    """Below the experts each reason stands once, with the experts that it holds of."""
    [experts] = [table for table in learn_report(findings_of(), "x").tables if table.title == "Experts"]
    assert experts.remarks == [
        f"asked where it is worth its price - {', '.join(NAMES[:3])}",
        f"left out: others are as good for less - {NAMES[3]}",
    ]


@pytest.mark.parametrize(
    ("gain", "claim"),
    [
        (Interval(0.03, -0.02, 0.08), "no gain over"),
        (Interval(0.03, 0.01, 0.08), "+3.0 points over"),
        (Interval(-0.03, -0.05, -0.01), "-3.0 points against"),
    ],
)
def test_no_gain_is_claimed_that_its_interval_does_not_show(gain: Interval, claim: str) -> None:
    """The sentence at the top claims a gain, or a loss, where its interval does not hold 0."""
    [line] = learn_report(findings_of(gain=gain), "x").summary
    assert claim in line


@pytest.mark.parametrize(("kappa", "believed"), [(0.9, True), (0.0, False)])
def test_it_says_who_judged(kappa: float, believed: bool) -> None:
    """The first sentence names the judge, and says so where it is not believed; the data has what was found of it."""
    judge = JudgeFound("oracle", JudgeAgreement(0, float("nan"), float("nan")), JudgeAgreement(50, 0.6, kappa))
    report = learn_report(replace(findings_of(), judge=judge), "x")
    [about] = report.about
    assert "were judged by oracle as a judge" in about
    assert ("not believed" in about) is not believed
    assert json.loads(json.dumps(report.data, allow_nan=False))["judge"] == {
        "name": "oracle",
        "believed": believed,
        "gold": {"n": 0, "share": None},
        "itself": {"n": 50, "share": 0.6},
    }


def test_a_sample_suggests_a_budget() -> None:
    """The report of leeroo learn says the budget, whom to keep, and what more outcomes may bring; its data has all."""
    points = [
        BudgetPoint(usd, usd / 2, 0.6 + usd / 100, {NAMES[0]: 0.25, NAMES[1]: 0.749, NAMES[2]: 0.001})
        for usd in range(1, 40)
    ]
    advice = Advice(points, points[11], [NAMES[0], NAMES[1]], 0.023)
    report = sample_report(findings_of(), advice, "What a sample teaches")
    assert report.summary[0].startswith("A budget of $12.00 for all 1,000 questions is expected to bring 72.0 %")
    assert report.summary[1] == f"Worth keeping: {NAMES[0]}, {NAMES[1]}."
    assert "2.3 points" in report.summary[2]
    [budgets] = [table for table in report.tables if table.title == "Budgets"]
    assert 10 <= len(budgets.rows) <= 15
    assert ["12.000000", "6.000000", "72.0", f"{NAMES[1]} 75%, {NAMES[0]} 25%"] in cells(budgets)
    [experts] = [table for table in report.tables if table.title == "Experts"]
    assert [column.name for column in experts.columns][-1] == "bought"  # rows got no answers
    assert cells(experts)[0][0] == NAMES[3]
    assert not experts.remarks  # who was asked in a sample says nothing of all questions
    assert report.data["advice"]["suggested"]["usd"] == 12
    assert "suggested" in plot_found(findings_of(), advice)


def test_experts_without_a_price_can_be_drawn() -> None:
    """Experts that cost nothing, or that nobody could ask, leave a picture."""
    found = findings_of()
    free = [replace(each, usd=0.0) for each in found.experts]
    assert "this run" in plot_found(replace(found, experts=free))
    gone = [replace(each, usd=float("inf")) for each in found.experts]
    assert "this run" in plot_found(replace(found, experts=gone))
    assert "this run" in plot_found(replace(found, experts=gone, spent_usd=0.0))


def test_a_judge_that_says_nothing_has_no_share() -> None:
    """Of no verdicts there is no part that agrees."""
    nothing = JudgeAgreement(0, float("nan"), float("nan"))
    note = JudgeFound("beta", nothing, nothing).note
    assert note == "the judge beta was not checked against gold, and gave no verdict twice"
