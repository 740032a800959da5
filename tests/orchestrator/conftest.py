"""A small data folder in which what a question is about decides who can answer it, and a router learned from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import train

Rows = list[dict[str, Any]]

_SUMS = ["What is {} plus {}?", "Compute {} times {}.", "Divide {} by {}.", "Which is greater, {} or {}?"]
_PLACES = ["France", "Peru", "Kenya", "Japan", "Norway", "Egypt", "Chile", "India", "Spain", "Cuba"]
_FACTS = ["the capital of", "the king in 1700 of", "a famous poet from", "the longest river in", "the religion of"]


class Topics:
    """Questions on two topics, and what three experts make of them."""

    def sums(self, n: int) -> list[str]:
        """Return questions of arithmetic."""
        return [_SUMS[i % 4].format(17 * i % 101, 31 * i % 89) for i in range(n)]

    def facts(self, n: int) -> list[str]:
        """Return questions of geography and history."""
        return [f"Name {_FACTS[i % 5]} {_PLACES[i // 5 % 10]}, as known in {1800 + i}." for i in range(n)]

    def recorded(self, questions: Sequence[str], split: str = "train") -> tuple[Rows, Rows]:
        """Return queries and outcomes: 'counter' can do sums, 'reader' knows facts, one in ten goes wrong; 'oracle' never.

        'counter' writes 5 tokens on sums and 50 on facts; 'reader' was not timed and its tokens not counted.
        """
        queries: Rows = []
        outcomes: Rows = []
        for i, question in enumerate(questions):
            name, is_sum = f"{split}-{i:04}", not question.startswith("Name")
            queries.append({"query_id": name, "split": split, "question": question, "prompt": f"Q: {question}"})
            slip, spent = i % 10 == 0, 5 if is_sum else 50
            of_each = [
                ("counter", is_sum != slip, spent, 100.0 + 2 * spent),
                ("reader", is_sum == slip, None, None),
                ("oracle", True, 20, None),
            ]
            for expert, right, completion, latency in of_each:
                outcome = {"query_id": name, "expert": expert, "score": float(right), "latency_ms": latency}
                tokens = {"prompt_tokens": len(f"Q: {question}") // 3, "completion_tokens": completion}
                outcomes.append(outcome | tokens)
        return queries, outcomes

    def write(self, folder: Path, queries: Rows, outcomes: Rows) -> Path:
        """Return a data folder of these rows."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("queries", queries), ("outcomes", outcomes)):
            columns = dict.fromkeys(key for row in rows for key in row)
            table = pa.table({column: [row.get(column) for row in rows] for column in columns})
            pq.write_table(table, folder / f"{name}.parquet")
        return folder


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let torch have two threads, as on any machine, so that batches of texts are encoded side by side."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def topics() -> Topics:
    """Return questions on two topics, and what three experts make of them."""
    return Topics()


@pytest.fixture(scope="session")
def topics_folder(topics: Topics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 160 training questions on two topics, and 40 test questions whose outcomes must not be learned from."""
    queries, outcomes = topics.recorded(topics.sums(80) + topics.facts(80))
    held_out, wrong = topics.recorded(["Name " + q for q in topics.sums(120)[80:]], split="test")
    return topics.write(tmp_path_factory.mktemp("topics"), queries + held_out, outcomes + wrong)


@pytest.fixture(scope="session")
def router(topics_folder: Path) -> Router:
    """Return a router learned from the two topics, with the real sentence encoder."""
    return train([topics_folder], [DEFAULT_ENCODER])


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a causal language model of 8 layers with random weights that reads bytes, begun with a mark."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    alphabet = ["<s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    reader = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    reader.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reader.decoder = decoders.ByteLevel()
    reader.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    PreTrainedTokenizerFast(tokenizer_object=reader, bos_token="<s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(alphabet), hidden_size=32, intermediate_size=64, num_hidden_layers=8, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a plain Hugging Face model with random weights: no sentence encoder by name, but usable as one."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
