"""Fine-tune a causal language model on recorded outcomes, to predict who will answer a question right.

This is the LLM-based orchestrator in full (Mohammadshahi et al. 2024, arXiv 2401.13979). It has low-rank adapters (Hu
et al. 2021, arXiv 2106.09685) in every linear layer. Each expert has one linear head on the mean of the last layer's
states. Meant for a GPU; a small model learns on a CPU too, at about a third of the speed at which it reads. Knows
nothing of routers.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leeroo.engine.arrays import Bools, Float32s, Int64s
from leeroo.engine.errors import RouterError
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.adapter import Adapter
from leeroo.engine.orchestrator.encoders import hidden
from leeroo.engine.weights import locate

_RANK, _ALPHA, _DROPOUT = 16, 32, 0.05
_EPOCHS, _BATCH = 2, 16
_LEARNING_RATE = 3e-4
# Number of lines of progress.
_PROGRESS_LINES = 20


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model.

    Attributes:
        adapter: The point where its states are read.
        weight, bias: [d, e] and [e], the heads: log-odds of success.
    """

    adapter: Adapter
    weight: Float32s
    bias: Float32s


def finetune(encoder: str, texts: list[str], scores: Float32s, out: Path, seed: int, say: LineListener) -> Tuned:
    """Learn from texts [n] and scores [n, e], NaN where not recorded; write the adapter into the folder `out`.

    The loss is the cross entropy of the recorded scores, each outcome counting the same.

    Args:
        encoder: A causal language model, a hub id or a folder, without a layer.
        texts: Questions.
        scores: In [0, 1].
        out: A folder that does not exist yet.
        seed: Random seed of the order of the texts, the dropout and the adapters' first weights.
        say: Called with progress, in lines for people.

    Raises:
        RouterError: peft is not installed, or the model cannot be loaded or is no causal language model.
        PoolError: the model is nowhere to be found.
    """
    try:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed
    except ImportError as error:
        raise RouterError(f"fine-tuning needs peft and transformers: pip install 'leeroo[local]' ({error})") from error
    place = locate(encoder)
    if not hidden.is_causal(place):
        raise RouterError(f"{encoder!r} is no causal language model, so it cannot be fine-tuned: name one")
    loaded = hidden.load(encoder, place)
    set_seed(seed)
    adapters = LoraConfig(r=_RANK, lora_alpha=_ALPHA, lora_dropout=_DROPOUT, target_modules="all-linear")
    model: Any = get_peft_model(loaded.model, adapters)
    scorer = _scorer(model, scores)
    tokens = hidden.token_ids(loaded.tokenizer, texts)
    rows = [{"input_ids": ids, "scores": of_text} for ids, of_text in zip(tokens, scores, strict=True)]
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=scorer,
            args=TrainingArguments(
                output_dir=scratch,
                num_train_epochs=_EPOCHS,
                per_device_train_batch_size=_BATCH,
                learning_rate=_LEARNING_RATE,
                lr_scheduler_type="cosine",
                warmup_steps=max(1, len(rows) * _EPOCHS // _BATCH // 20),
                bf16=gpu,
                use_cpu=not gpu,
                seed=seed,
                save_strategy="no",
                logging_steps=max(1, len(rows) * _EPOCHS // _BATCH // _PROGRESS_LINES),
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            ),
            train_dataset=rows,
            data_collator=_collate,
            callbacks=[_reporting_callback(say)],
        )
        trainer.remove_callback(PrinterCallback)  # which would write to standard output
        trainer.train()
    # Its base is named as the user named it, so that the adapter finds it on another machine too.
    model.peft_config["default"].base_model_name_or_path = encoder
    model.save_pretrained(out)
    head = {name: np.asarray(value.detach().float().cpu().numpy()) for name, value in scorer.head.named_parameters()}
    return Tuned(Adapter(out, f"{loaded.depth}-mean"), head["weight"].T, head["bias"])


def _scorer(model: Any, scores: Float32s) -> Any:
    """Make the module from tokens and scores to the loss."""
    import torch
    from torch import nn

    class Scorer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.head = nn.Linear(model.config.get_text_config().hidden_size, scores.shape[1])
            nn.init.zeros_(self.head.weight)
            rate = torch.tensor((np.nansum(scores, axis=0) + 1) / (np.isfinite(scores).sum(axis=0) + 2))
            self.head.bias.data = torch.logit(rate).float()
            self.head.to(model.device)

        def forward(self, input_ids: Any, lengths: Any, scores: Any) -> dict[str, Any]:
            states = self.model(input_ids=input_ids, use_cache=False).last_hidden_state.float()
            inside = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
            pooled = torch.einsum("btd,bt->bd", states, inside.float()) / lengths[:, None]
            logits = self.head(pooled)
            known = torch.isfinite(scores)
            return {"loss": nn.functional.binary_cross_entropy_with_logits(logits[known], scores[known])}

    return Scorer()


def _collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Pad on the right: a causal model's tokens do not see it."""
    import torch

    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    ids = torch.zeros((len(rows), int(lengths.max())), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : lengths[i]] = torch.tensor(row["input_ids"])
    return {"input_ids": ids, "lengths": lengths, "scores": torch.tensor(np.stack([row["scores"] for row in rows]))}


def _reporting_callback(say: LineListener) -> Any:
    from transformers import TrainerCallback

    class LossReporter(TrainerCallback):  # type: ignore[misc]  # the library is not typed
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
            if logs and "loss" in logs:
                say(f"fine-tuning: step {state.global_step:,} of {state.max_steps:,}, loss {float(logs['loss']):.4f}")

    return LossReporter()


def hold_out(groups: Int64s, seed: int) -> Bools:
    """Choose the rows [n] that the model does not see, one question in five, so that its predictions can be judged.

    Args:
        groups: [n], the number of each row's question.
        seed: Random seed.
    """
    numbers = np.unique(groups)
    unseen = np.random.default_rng(seed).permutation(numbers)[: len(numbers) // 5]
    return np.asarray(np.isin(groups, unseen), bool)
