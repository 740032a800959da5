"""The report of a loop of self-play: its rounds, the learning curve, and which expert answers what."""

from __future__ import annotations

import numpy as np

from leeroo.engine.jobs.selfplay.played import Played
from leeroo.reports.plot import BASELINES, EXPERT, ORACLE, OTHERS, OURS, as_svg, in_percent, new_axes, use_style
from leeroo.reports.report import Column, Figure, Report, Table, columns, percent


def selfplay_report(played: Played, name: str) -> Report:
    """Return how far a loop has come, its learning curve, its tables, and the notes of its rounds."""
    return Report(
        title=f"Self-play in {name}",
        summary=[headline(played)],
        parts=[
            Figure("Learning curve", lambda: plot_played(played)),
            _rounds(played),
            _experts(played),
            _topics(played),
            _judge_table(played),
        ],
        notes=[f"round {row['round']}: {note}" for row in played.rounds for note in row["notes"]],
        data=played.as_json(),
    )


def headline(played: Played) -> str:
    """Return a sentence about how far the router has come."""
    first, last, n = played.rounds[0], played.rounds[-1], len(played.rounds) - 1
    return (
        f"After {n} round{'' if n == 1 else 's'} and {last['outcomes_total']:,} outcomes the router's score on "
        f"{played.held_out:,} held-out questions is {last['score']:.3f} (standard error "
        f"{played.standard_error(last['score']):.3f}); at the start it was {first['score']:.3f}, and a "
        f"{BASELINES['random']} of the experts has {played.random_mix:.3f}. {last['best_expert']} alone is right on "
        f"{percent(last['best_accuracy'])} % of them, choosing with hindsight on "
        f"{percent(last['oracle_accuracy'])} %."
    )


def _rounds(played: Played) -> Table:
    values = ("outcomes", "outcomes_total", "cost_usd_total", "score")
    shares = ("accuracy_at_quarter", "accuracy_at_half", "accuracy_at_full", "log_loss")
    return Table(
        title="Rounds",
        about="On the held-out questions: the score is AIQ, the mean accuracy over the range of the experts' costs; "
        "then accuracy in % at parts of what the most expensive expert costs, and the log loss of what is predicted. "
        "Money in USD, with what the held-out questions cost.",
        columns=columns(
            "round | outcomes: count | in all: count | USD in all: usd | score: score | at 1/4: share | at 1/2: share "
            "| at 1: share | log loss: score | s: count"
        ),
        rows=[
            (row["round"] or "start", *(row[name] for name in (*values, *shares)), round(row["seconds"]))
            for row in played.rounds
        ],
    )


def _experts(played: Played) -> Table:
    values = ("expert", "outcomes", "mean_score", "accuracy", "cost_usd_per_1k", "traffic")
    return Table(
        title="Experts",
        about="Outcomes in all rounds with their mean score, on questions chosen to distinguish experts; accuracy and "
        "USD per 1,000 on the held-out questions; and the share of these that the router gives to each now, at half "
        "of what the most expensive one costs.",
        columns=columns(
            "expert | outcomes: count | mean score: score | accuracy %: share | USD per 1,000: usd | traffic %: share"
        ),
        rows=[[row[name] for name in values] for row in played.experts],
    )


def _topics(played: Played) -> Table:
    names = [row["expert"] for row in played.experts]
    return Table(
        title="Topics of the held-out questions",
        about="Accuracy of each expert in %.",
        columns=[*columns("topic | questions: count"), *(Column(name, "share") for name in names)],
        rows=[
            (topic["topic"], topic["questions"], *(topic["accuracy"].get(name) for name in names))
            for topic in played.topics
        ],
    )


def _judge_table(played: Played) -> Table:
    last = played.rounds[-1]
    about = "Outcomes of all rounds, by how their scores were found."
    if last["judge_n"]:
        about += (
            f" On {last['judge_n']:,} answers whose scores are computed the judge agrees on "
            f"{percent(last['judge_agreement'])} %; beyond chance (Cohen's kappa) that is {last['judge_kappa']:.2f}."
        )
    return Table(
        title="How answers were judged",
        about=about,
        columns=columns("by | outcomes: count"),
        rows=list(played.judged_by.items()),
    )


def plot_played(played: Played) -> str:
    """Draw the learning curve: outcomes against the score, and against the accuracy at half the cost of the best.

    Raises:
        UsageError: matplotlib is not installed.
    """
    last = played.rounds[-1]
    outcomes = [row["outcomes_total"] for row in played.rounds]
    with use_style():
        figure, axes = new_axes(7.5, 4.5)
        scores = np.array([row["score"] for row in played.rounds])
        errors = np.array([played.standard_error(score) for score in scores])
        axes.plot(outcomes, scores, "o-", color=OURS, linewidth=2.2, label="score (AIQ), with its standard error")
        axes.fill_between(outcomes, scores - errors, scores + errors, color=OURS, alpha=0.12, linewidth=0)
        half = [row["accuracy_at_half"] for row in played.rounds]
        axes.plot(
            outcomes,
            half,
            "o--",
            color=OTHERS[2],
            linewidth=1.4,
            label="accuracy at half of the most expensive one's cost",
        )
        axes.axhline(played.random_mix, color=OTHERS[0], linewidth=1, linestyle=":", label=BASELINES["random"])
        axes.axhline(
            last["best_accuracy"], color=EXPERT, linewidth=1, linestyle=":", label=f"{last['best_expert']} alone"
        )
        axes.axhline(last["oracle_accuracy"], color=ORACLE, linewidth=1, linestyle=":", label="with hindsight")
        axes.set(xlabel="outcomes that the router has learned from", ylabel="held-out questions", xlim=(0, None))
        in_percent(axes.yaxis)
        axes.grid(color="#eeeeee", zorder=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return as_svg(figure, "learning")
