"""Train the routers that ship, measure them on held-out questions, and write their cards.

    python bench/routing/shipped.py [--only NAME,NAME] [--keep]

Reads the data folders in LEEROO_DATA, or ../shared/data. Only sets that may be redistributed are used, and only their
training split is learned from. Writes leeroo/data/routers/NAME: the router with its landmarks as float16, about.json,
and CARD.md with the figures of the test split. With `--keep` routers that are there are only measured again. The router
of the embedded pool is trained by bench/jobs/local_pool.py; here its card is written.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.cards import card
from bench.routing.data import DATA
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation, evaluate
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.router_folder import ABOUT, CARD_FOR_PEOPLE
from leeroo.engine.orchestrator.shipped.catalogue import EMBEDDED, About, KnownModel
from leeroo.engine.orchestrator.training.learn import train
from leeroo.engine.pool import DEFAULT_ROUTER

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "leeroo" / "data" / "routers"
_MMLU = "MMLU (Hendrycks et al.), MIT, github.com/hendrycks/test"
_REDUX = "MMLU-Redux (Gema et al., Are We Done with MMLU?, arXiv 2406.04127), CC BY 4.0, github.com/aryopg/mmlu-redux"
_KNOWLEDGE = (
    "Multiple-choice knowledge questions in English, of 2023 and 2024, and models of that time. On other work - "
    "extraction, labels, code, long texts - the ranks of models may differ: train a router on outcomes of your own.",
    "Tokens are estimates by one tokenizer, and list prices are those of the time. Costs are computed with the "
    "prices of your pool.",
)


@dataclass(frozen=True)
class Source:
    """A data folder and what has to be known about it.

    Attributes:
        folder: The data folder.
        title, licence, attribution, whole_answers, moving: As in `About`.
        limits: What the router cannot know, a line each.
        left_out: Experts that are not learned.
    """

    folder: Path
    title: str
    licence: str
    attribution: tuple[str, ...]
    limits: tuple[str, ...] = _KNOWLEDGE
    whole_answers: bool = True
    moving: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=())


SOURCES = {
    "mmlu-redux": Source(
        DATA / "redux",
        "MMLU-Redux, zero-shot with a chain of thought",
        "Apache-2.0, CC BY 4.0, MIT",
        (
            f"{_REDUX}; joined and cut",
            "ZeroEval (Bill Yuchen Lin), Apache-2.0, github.com/WildEval/ZeroEval; outcomes rearranged",
            _MMLU,
        ),
        moving=("chatgpt-4o-latest",),
        limits=(
            *_KNOWLEDGE,
            "Lengths of answers are estimated from each model's mean and the question, and are those of a chain of "
            "thought in JSON.",
            "1,909 training questions are few for 50 experts: the ranks of similar models are uncertain.",
            "265 of the training questions are also in the test split of MMLU-Pro: measure nothing there with it.",
        ),
    ),
    "helm-mmlu": Source(
        DATA / "helm12",
        "MMLU, five-shot, one letter for an answer",
        "CC BY 4.0, Apache-2.0, MIT",
        (
            "HELM MMLU results (Stanford CRFM) as published with MMLU-Redux (Gema et al., arXiv 2406.04127), CC BY "
            "4.0, github.com/aryopg/mmlu-redux; joined",
            "RouteLLM (LMSYS), Apache-2.0, github.com/lm-sys/RouteLLM",
            _MMLU,
        ),
        limits=(
            *_KNOWLEDGE,
            "Answers are single letters without a chain of thought, so lengths are not learned: those of stored "
            "answers are expected, else max_tokens.",
            "1,147 of the training questions are also in the test split of MMLU-Pro: measure nothing there with it.",
        ),
        whole_answers=False,
        left_out=("gpt-4-1106-preview-helm",),
    ),
    "mmlu-pro": Source(
        DATA / "mmlu_pro",
        "MMLU-Pro, five-shot with a chain of thought",
        "Apache-2.0",
        ("MMLU-Pro (Wang et al., arXiv 2406.01574; TIGER-AI-Lab), Apache-2.0, github.com/TIGER-AI-Lab/MMLU-Pro", _MMLU),
        limits=(
            *_KNOWLEDGE,
            "Most runs are cut at about 256 new tokens, which costs wordy chat models points; base models were asked "
            "with examples.",
            "More than half of the questions are MMLU's with more options: measure nothing on MMLU with it.",
        ),
    ),
    EMBEDDED: Source(
        ROOT / "examples" / "local" / "data",
        "Our own short questions, answered by the embedded pool",
        "Apache-2.0",
        ("Leeroo, written for this package; answers by SmolLM2-135M-Instruct (Hugging Face), Apache-2.0",),
        limits=(
            "344 short questions, and one small model asked in two ways: it is there so that the embedded pool shows a "
            "choice.",
            "It belongs to the embedded pool and is the prior of no other.",
        ),
        moving=("HuggingFaceTB/SmolLM2-135M-Instruct",),
    ),
}


def main() -> None:
    """Train absent routers, measure all, and write their cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SOURCES), help="names, with commas")
    parser.add_argument("--keep", action="store_true", help="measure routers that are there as they are")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; Python {platform.python_version()}")
    for name in options.only:
        with tempfile.TemporaryDirectory() as place:
            data = _without(SOURCES[name], Path(place))
            _ship(name, SOURCES[name], data, keep=options.keep)


def _ship(name: str, source: Source, data: Path, *, keep: bool) -> None:
    start, folder = time.perf_counter(), HOME / name
    home = DEFAULT_ROUTER if name == EMBEDDED else folder
    whole = None
    if name != EMBEDDED and not (keep and home.is_dir()):
        whole = train([data], on_progress=lambda line: print(f"  {line}", flush=True))
        whole.save(home, half=True)
    router = Router.load(home)
    found = evaluate(router, [data])
    if whole is not None:
        _compare(found, evaluate(whole, [data]))
    folder.mkdir(parents=True, exist_ok=True)
    about = _about(source, data, router)
    (folder / ABOUT).write_text(about.model_dump_json(indent=1) + "\n", encoding="utf-8")
    text = card(name, about, source.limits, router, found)
    (folder / CARD_FOR_PEOPLE).write_text(text, encoding="utf-8")
    size = sum(file.stat().st_size for file in {*folder.iterdir(), *home.iterdir()}) / 1e6
    print(text)
    print(f"{name}: {size:.1f} MB, {time.perf_counter() - start:.0f} s\n", flush=True)


def _without(source: Source, place: Path) -> Path:
    """Return the data folder without the experts that are not learned."""
    if not source.left_out:
        return source.folder
    for table in ("queries", "outcomes", "experts"):
        only = "" if table == "queries" else "WHERE expert NOT IN (SELECT unnest($left))"
        given = {} if table == "queries" else {"left": list(source.left_out)}
        duckdb.execute(f"COPY (FROM '{source.folder}/{table}.parquet' {only}) TO '{place}/{table}.parquet'", given)
    return place


def _about(source: Source, data: Path, router: Router) -> About:
    rows = duckdb.execute(
        f"SELECT expert, model, usd_per_m_input, usd_per_m_output FROM '{data}/experts.parquet' ORDER BY expert"
    ).fetchall()
    learned = router.summary.experts
    return About(
        title=source.title,
        licence=source.licence,
        attribution=list(source.attribution),
        questions=router.summary.questions,
        whole_answers=source.whole_answers,
        moving=list(source.moving),
        experts={
            name: KnownModel(
                model=model, usd_per_m_input=usd_in, usd_per_m_output=usd_out, mean_score=learned[name].mean_score
            )
            for name, model, usd_in, usd_out in rows
            if name in learned
        },
    )


def _compare(stored: Evaluation, whole: Evaluation) -> None:
    """Print what storing landmarks as float16 changes."""
    moved = abs(stored.scores_pred - whole.scores_pred).max()
    print(f"  float16 landmarks move predicted scores by {moved:.5f} at most; accuracy in %, stored and float32:")
    for share, at in stored.shares.items():
        print(f"    {share:.2f} of the best: {100 * at.value:.2f} {100 * whole.shares[share].value:.2f}")


if __name__ == "__main__":
    main()
