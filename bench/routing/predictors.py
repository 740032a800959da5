"""Compare ways of predicting success by cross-validation inside the training split.

    python bench/routing/predictors.py [--data mmlu9,mmlu_pro]

Reads the data folders in LEEROO_DATA, or ../shared/data; test questions are not used. Questions of the training
split on which all experts have outcomes are divided into five parts. Each part is predicted from the others, and
calibrated by Platt's method on the held-out predictions of the others. All predictors see MiniLM's vector of a question
and its text features, never its subject. From the predictions and each expert's mean cost a choice is made for all
questions at once; recorded scores count. "Lead" is the recorded lead of an expert over the mean of all where its
predicted lead is 1: at 1 its differences are right on average, and at 0 they are noise.

Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import SETTINGS, STRONG, WEAK, Setting, Task, load
from bench.routing.rivals import Predicted, mean_costs
from bench.routing.table import make, table
from leeroo.engine.arrays import Bools, Float32s, Float64s, Int64s
from leeroo.engine.orchestrator.analysis.baselines import best_neighbours, neighbour_means
from leeroo.engine.orchestrator.analysis.frontier import expected_calibration_error, pair_measures
from leeroo.engine.orchestrator.encoders.encode import encode
from leeroo.engine.orchestrator.features import fit_features
from leeroo.engine.orchestrator.statistics import log_loss
from leeroo.engine.orchestrator.text_features import text_features
from leeroo.engine.orchestrator.training.calibration import fit_platt
from leeroo.engine.orchestrator.training.quality import learn_quality

_FOLDS = 5
# Penalties and ranks that are tried on a fifth of the training questions.
_CS = (0.001, 0.003, 0.01, 0.03, 0.1)
_RANKS, _DECAYS = (2, 8), (0.1, 1.0, 10.0)
_BOOSTING: dict[str, Any] = {
    "learning_rate": 0.04,
    "max_leaf_nodes": 8,
    "l2_regularization": 10,
    "early_stopping": True,
    "random_state": 0,
}
# Settings of each data folder; the first has all experts.
_SETTINGS = {"mmlu9": ("nine", "eight"), "mmlu_pro": ("pro28", "pro17")}

# From blocks of training questions [n, d], their scores [n, e] (NaN where not recorded) and blocks of others [m, d],
# to success probabilities [m, e].
Predictor = Callable[[list[Float32s], Float64s, list[Float32s]], Float64s]


def main() -> None:
    """Predict, choose, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mmlu9,mmlu_pro")
    for name in parser.parse_args().data.split(","):
        settings = [setting for key in _SETTINGS[name] for setting in SETTINGS if setting.key == key]
        print(f"### {name}\n\n{report(settings)}", flush=True)


def report(settings: list[Setting]) -> str:
    """Format a table of all predictors on the questions of some settings, the first of which has all experts."""
    task = load(settings[0])
    complete = np.isfinite(task.train.scores).all(axis=1) & np.isfinite(task.train.costs).all(axis=1)
    parts = [load(setting) for setting in settings]
    parts = [replace(part, test=part.train.at(np.flatnonzero(complete)), query_ids=[]) for part in parts]
    scores, fold = parts[0].test.scores, np.random.default_rng(0).integers(_FOLDS, size=int(complete.sum()))
    seen = [encode(task.train.prompts), text_features(task.train.prompts)]
    predictions = {}
    for name, predictor in PREDICTORS.items():
        start = time.perf_counter()
        predictions[name] = held_out(predictor, [block[complete] for block in seen], scores, fold)
        _log(f"{name}: {time.perf_counter() - start:.0f} s")
    predictions[MEAN_OF_FOUR] = expit(np.mean([_log_odds(predictions[name]) for name in _ENSEMBLE], axis=0))
    if not complete.all():
        # Questions without outcomes of some experts are always training questions.
        more = [block[~complete] for block in seen], task.train.scores[~complete]
        predictions[MORE] = held_out(principal, [block[complete] for block in seen], scores, fold, more)
    rows = [["", "log loss", "ECE", "lead"]]
    rows[0] += [f"{part.setting.key} at {goal.share:.2g}" for part in parts for goal in part.setting.goals]
    rows[0] += ["APGR of the pair"] if {WEAK, STRONG} <= set(task.experts) else []
    for name, raw in predictions.items():
        rows.append([name, *measures(parts, calibrate(raw, scores, fold))])
    return f"{len(scores):,} questions, {len(task.experts)} experts.\n\n" + table(rows)


def held_out(
    predictor: Predictor,
    seen: list[Float32s],
    scores: Float64s,
    fold: Int64s,
    more: tuple[list[Float32s], Float64s] | None = None,
) -> Float64s:
    """Predict [n, e] each fold from the others."""
    predicted = np.empty_like(scores)
    for k in range(_FOLDS):
        rest, these = fold != k, fold == k
        learned = [block[rest] for block in seen], scores[rest]
        if more:
            both = [np.concatenate(pair) for pair in zip(learned[0], more[0], strict=True)]
            learned = both, np.concatenate([learned[1], more[1]])
        predicted[these] = predictor(*learned, [block[these] for block in seen])
    return predicted


def calibrate(raw: Float64s, scores: Float64s, fold: Int64s) -> Float64s:
    """Calibrate by Platt's method, each fold [n] and expert by the predictions of the other folds."""
    log_odds, result = _log_odds(raw), np.empty_like(raw)
    for k in range(_FOLDS):
        rest, these = fold != k, fold == k
        for j in range(raw.shape[1]):
            slope, offset = fit_platt(log_odds[rest, j], scores[rest, j], np.ones(int(rest.sum())))
            result[these, j] = expit(slope * log_odds[these, j] + offset)
    return result


def measures(parts: list[Task], predicted: Float64s) -> list[str]:
    """Format cells of a row, for predictions of all experts of the first part."""
    whole = parts[0]
    scores = whole.test.scores
    loss = np.mean([log_loss(p, s, np.ones(len(s))) for p, s in zip(predicted.T, scores.T, strict=True)])
    cells = [f"{loss:.4f}", f"{expected_calibration_error(predicted, scores):.3f}", f"{_lead(predicted, scores):.2f}"]
    for part in parts:
        columns = [whole.experts.index(name) for name in part.experts]
        predictions = Predicted(predicted[:, columns], mean_costs(part))
        cells += [f"{100 * make(predictions, part, goal.share).scores.mean():.1f}" for goal in part.setting.goals]
    if {WEAK, STRONG} <= set(whole.experts):
        weak, strong = whole.experts.index(WEAK), whole.experts.index(STRONG)
        of_pair = pair_measures(predicted[:, strong] - predicted[:, weak], scores[:, weak], scores[:, strong])
        cells.append(f"{of_pair.apgr:.3f}" if of_pair else "")
    return cells


def _lead(predicted: Float64s, scores: Float64s) -> float:
    expected, true = (values - values.mean(axis=1, keepdims=True) for values in (predicted, scores))
    expected, true = expected - expected.mean(axis=0), true - true.mean(axis=0)
    return float((expected * true).sum() / max(np.square(expected).sum(), 1e-12))


def rates(seen: list[Float32s], scores: Float64s, new: list[Float32s]) -> Float64s:  # noqa: ARG001
    """Predict each expert's mean, for every question."""
    return np.broadcast_to(scores.mean(axis=0), (len(new[0]), scores.shape[1]))


def neighbours(seen: list[Float32s], scores: Float64s, new: list[Float32s]) -> Float64s:
    """Predict the means of the nearest by cosine; their number is chosen by leaving out each question in turn."""
    return neighbour_means(scores, seen[0], new[0], best_neighbours(scores, seen[0]))


def logistic(seen: list[Float32s], scores: Float64s, new: list[Float32s]) -> Float64s:
    """Predict each expert alone, its penalty chosen on a held-out part."""
    from sklearn.linear_model import LogisticRegression

    x, z = _standard(seen, new)
    held_out_rows = _hold_out(len(x))

    def fit(c: float, rows: Bools, of_one: Float64s, at: Float32s) -> Float64s:
        model = LogisticRegression(C=c, max_iter=300).fit(x[rows], of_one[rows] > 0.5)
        return np.asarray(model.predict_proba(at)[:, 1])

    columns = []
    for of_one in scores.T:
        tried, ones = of_one[held_out_rows], np.ones(int(held_out_rows.sum()))
        losses = [log_loss(fit(c, ~held_out_rows, of_one, x[held_out_rows]), tried, ones) for c in _CS]
        columns.append(fit(_CS[int(np.argmin(losses))], np.ones(len(x), bool), of_one, z))
    return np.stack(columns, axis=1)


def perceptron(seen: list[Float32s], scores: Float64s, new: list[Float32s]) -> Float64s:
    """Predict with one hidden layer that all experts share, stopped by a held-out part; the mean of four."""
    from sklearn.neural_network import MLPClassifier

    x, z = _standard(seen, new)
    predictions = []
    for seed in range(4):
        mlp: Any = MLPClassifier(64, alpha=1.0, early_stopping=True, max_iter=200, random_state=seed)
        predictions.append(mlp.fit(x, scores > 0.5).predict_proba(z))
    return np.asarray(np.mean(predictions, axis=0))


def item_response(seen: list[Float32s], scores: Float64s, new: list[Float32s]) -> Float64s:
    """Predict from abilities of an expert and demands of a question, which are linear in the question's features.

    This is the multidimensional two-parameter model of item response theory, its items explained by covariates. It is
    also matrix factorisation, as RouteLLM has it (Ong et al. 2024, arXiv 2406.18665). A held-out part chooses rank and
    penalty.
    """
    x, z = _standard(seen, new)
    held_out_rows = _hold_out(len(x))
    known = np.ones(int(held_out_rows.sum()))

    def loss(rank: int, decay: float) -> float:
        guess = _factors(x[~held_out_rows], scores[~held_out_rows], x[held_out_rows], rank, decay)
        return float(np.mean([log_loss(p, s, known) for p, s in zip(guess.T, scores[held_out_rows].T, strict=True)]))

    _, rank, decay = min((loss(rank, decay), rank, decay) for rank in _RANKS for decay in _DECAYS)
    return _factors(x, scores, z, rank, decay)


def _factors(x: Float32s, scores: Float64s, z: Float32s, rank: int, decay: float) -> Float64s:
    import torch

    torch.manual_seed(0)
    inputs, targets = torch.tensor(x), torch.tensor(scores, dtype=torch.float32)
    demand = torch.nn.Linear(x.shape[1], rank)
    ability = torch.nn.Linear(rank, scores.shape[1])
    fit: Any = torch.optim.LBFGS(
        [*demand.parameters(), *ability.parameters()], max_iter=200, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        fit.zero_grad()
        loss: Any = torch.nn.functional.binary_cross_entropy_with_logits(ability(demand(inputs)), targets)
        loss += decay / len(x) * (demand.weight.square().sum() + ability.weight.square().sum())
        loss.backward()
        return loss  # type: ignore[no-any-return]

    fit.step(closure)
    with torch.no_grad():
        return torch.sigmoid(ability(demand(torch.tensor(z)))).numpy().astype(np.float64)


def boost(seen: list[Float32s], scores: Float64s, new: list[Float32s]) -> Float64s:
    """Predict by gradient boosting for each expert, on text features, leading components, and neighbours' outcomes."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingClassifier

    pca = PCA(24, random_state=0).fit(seen[0])
    near = neighbour_means(scores, seen[0], new[0], 40)
    own = (neighbour_means(scores, seen[0], seen[0], 41) * 41 - scores) / 40  # without the question itself
    x = np.concatenate([pca.transform(seen[0]), seen[1], own], axis=1)
    z = np.concatenate([pca.transform(new[0]), new[1], near], axis=1)
    columns = []
    for of_one in scores.T:
        model: Any = HistGradientBoostingClassifier(**_BOOSTING)
        columns.append(model.fit(x, of_one > 0.5).predict_proba(z)[:, 1])
    return np.stack(columns, axis=1)


def kernel(seen: list[Float32s], scores: Float64s, new: list[Float32s]) -> Float64s:
    """Predict by kernel ridge regression of each expert alone."""
    return np.concatenate([principal(seen, of_one[:, None], new) for of_one in scores.T], axis=1)


def principal(seen: list[Float32s], scores: Float64s, new: list[Float32s]) -> Float64s:
    """Predict as `leeroo train` does: all experts together, each principal direction with its own penalty."""
    features = fit_features(seen, np.zeros((len(seen[0]), 0), np.int64), seed=0)
    whitening = features.whitening()
    at = [features.likeness(np.concatenate(blocks, axis=1)) @ whitening for blocks in (seen, new)]
    learned = learn_quality(at[0], scores.astype(np.float32), np.arange(len(at[0])))
    return np.asarray(expit(at[1] @ learned.weight + learned.bias), np.float64)


PREDICTORS: dict[str, Predictor] = {
    "each expert's mean": rates,
    "kNN": neighbours,
    "logistic heads": logistic,
    "shared MLP": perceptron,
    "item response, low rank": item_response,
    "gradient boosting, stacked": boost,
    "kernel ridge, each alone": kernel,
    "principal kernel ridge": principal,
}
_ENSEMBLE = ("logistic heads", "shared MLP", "gradient boosting, stacked", "principal kernel ridge")
MEAN_OF_FOUR = "mean of MLP, boosting, logistic and principal"
MORE = "principal kernel ridge, and questions that some were not asked"


def _standard(seen: list[Float32s], new: list[Float32s]) -> tuple[Float32s, Float32s]:
    features = fit_features(seen, np.zeros((len(seen[0]), 0), np.int64), seed=0)
    x, z = (
        (np.concatenate(blocks, axis=1) - features.mean) * features.scale * features.weight * 10
        for blocks in (seen, new)
    )
    return np.clip(x, -3, 3), np.clip(z, -3, 3)


def _hold_out(n: int) -> Bools:
    return np.random.default_rng(1).random(n) < 1 / 5


def _log_odds(probabilities: Float64s) -> Float64s:
    p = np.clip(probabilities, 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
