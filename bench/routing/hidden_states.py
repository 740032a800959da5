"""Compare the hidden states of a 0.5B model with MiniLM's vectors as what the router learns from.

    python bench/routing/hidden_states.py [--data mmlu9,mmlu_pro] [--questions 1000] [--layers 8 12 16]

Some questions of the training split are drawn by chance, the same for all encoders; test questions are not used. They
are predicted by cross-validation as in `predictors.py`, with the predictor of `leeroo train`, from an encoder's vectors
and text features. Differences from MiniLM are means over the questions, with their standard errors: the log loss is
that of all experts, and accuracies are those of the choice for all questions at once within a part of the reference
expert's cost. The best layer is read off the same questions, so its lead is a little too large.

The model is that of `bench/jobs/small_models.py`. Vectors are kept on disk: a killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.jobs.small_models import HALF, fetch
from bench.routing.data import SETTINGS, Task, load
from bench.routing.predictors import calibrate, held_out, principal, rates
from bench.routing.rivals import Predicted, mean_costs
from bench.routing.table import make, table
from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER, encode_all
from leeroo.engine.orchestrator.text_features import text_features

_FOLDS = 5
# The setting with all experts of each data folder, and another with the open ones.
_SETTINGS = {"mmlu9": ("nine", "eight"), "mmlu_pro": ("pro28", "pro17")}


def main() -> None:
    """Encode, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mmlu9,mmlu_pro")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 12, 16], help="of 24")
    asked = parser.parse_args()
    for name in asked.data.split(","):
        parts = [draw(key, asked.questions) for key in _SETTINGS[name]]
        print(f"### {name}\n\n{os.cpu_count()} cores. {report(parts, asked.layers)}", flush=True)


def draw(key: str, questions: int) -> Task:
    """Return a setting with some training questions on which all experts of its folder have outcomes, as its test."""
    widest = load(next(setting for setting in SETTINGS if setting.key == _widest(key)))
    complete = np.isfinite(widest.train.scores).all(axis=1) & np.isfinite(widest.train.costs).all(axis=1)
    drawn = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(complete))[:questions])
    task = load(next(setting for setting in SETTINGS if setting.key == key))
    return replace(task, test=task.train.at(drawn), query_ids=[])


def _widest(key: str) -> str:
    return next(keys[0] for keys in _SETTINGS.values() if key in keys)


def report(parts: list[Task], layers: list[int]) -> str:
    """Format a table of all encoders on the questions of some settings, the first of which has all experts."""
    prompts, scores = parts[0].test.prompts, parts[0].test.scores
    fold = np.random.default_rng(0).integers(_FOLDS, size=len(prompts))
    results = {}
    for name, blocks in encoded(prompts, layers).items():
        raw = held_out(principal, [*blocks, text_features(prompts)], scores, fold)
        results[name] = measure(parts, calibrate(raw, scores, fold))
    results["each expert's mean"] = measure(parts, held_out(rates, [text_features(prompts)], scores, fold))
    goals = [f"{part.setting.key} at {goal.share:.2g}" for part in parts for goal in part.setting.goals]
    rows = [["", "log loss", *goals]]
    for name, cells in results.items():
        rows.append([name, *(cell(*pair) for pair in zip(cells, results["MiniLM"], strict=True))])
    return f"{len(scores):,} questions, {len(parts[0].experts)} experts.\n\n" + table(rows)


def encoded(prompts: list[str], layers: list[int]) -> dict[str, list[Float32s]]:
    """Return the blocks of vectors of each encoder, and of pairs of MiniLM and a layer."""
    points = [(layer, pooling) for layer in layers for pooling in ("mean", "last")]
    qwen = {f"0.5B, layer {layer}, {pooling}": f"{fetch(HALF)}@{layer}-{pooling}" for layer, pooling in points}
    start = time.perf_counter()
    vectors = encode_all(prompts, [DEFAULT_ENCODER, *qwen.values()])
    print(f"encoded in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    minilm = vectors[DEFAULT_ENCODER]
    alone = {name: [vectors[spec]] for name, spec in qwen.items()}
    both = {f"MiniLM and {name}": [minilm, vectors[spec]] for name, spec in qwen.items()}
    return {"MiniLM": [minilm], **alone, **both}


def measure(parts: list[Task], predicted: Float64s) -> list[Float64s]:
    """Return measures of each question [n]: the log loss over the experts, and the score of each goal's choice."""
    whole = parts[0]
    p, scores = np.clip(predicted, 1e-6, 1 - 1e-6), whole.test.scores
    measures = [-(scores * np.log(p) + (1 - scores) * np.log(1 - p)).mean(axis=1)]
    for part in parts:
        columns = [whole.experts.index(name) for name in part.experts]
        predictions = Predicted(predicted[:, columns], mean_costs(part))
        measures += [100 * make(predictions, part, goal.share).scores for goal in part.setting.goals]
    return measures


def cell(values: Float64s, reference: Float64s) -> str:
    """Format the mean, and its difference from the reference with the standard error."""
    digits = 1 if values.max() > 10 else 4  # of percent, or of nats
    gap = values - reference
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    return f"{values.mean():.{digits}f}" + (f" ({gap.mean():+.{digits}f} ± {error:.{digits}f})" if error else "")


if __name__ == "__main__":
    main()
