"""Tiny models of many kinds with random weights, which read and write letters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

# Small sizes of each kind; windows that are shorter than the prompts.
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_attention_heads": 2, "intermediate_size": 64},
    "gemma2": {
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 64,
        "sliding_window": 8,
    },
    "mamba": {"state_size": 8},
    "mamba2": {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 16},
    "falcon_mamba": {"state_size": 8},
    "jamba": {
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 64,
        "num_experts": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "falcon_h1": {
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 64,
        "mamba_d_ssm": 32,
        "mamba_n_heads": 4,
        "mamba_d_head": 8,
        "mamba_d_state": 8,
        "mamba_n_groups": 1,
        "mamba_chunk_size": 16,
    },
    "recurrent_gemma": {
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 64,
        "lru_width": 32,
        "attention_window_size": 8,
    },
    "rwkv": {"attention_hidden_size": 32},
}


def save_model(
    folder: Path, kind: str = "llama", template: str | None = None, marks: tuple[str, ...] = (), **more: Any
) -> Path:
    """Write a model of this kind, with a tokenizer that has a token for each byte and mark, into a folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    alphabet = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *marks]
    reader = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    reader.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reader.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=reader, pad_token="<pad>", bos_token="<s>", eos_token="</s>", chat_template=template
    )
    tokenizer.add_tokens(list(marks))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(alphabet), "hidden_size": 32, "num_hidden_layers": 2, **KINDS[kind], **more}
    config = AutoConfig.for_model(kind, pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes)
    model = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        if weight.dim() > 1:  # as they are made all texts would come out alike
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, seed: int, **more: Any) -> Path:
    """Write a LoRA adapter of a model with random weights, strong enough to change every answer, into a folder."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"], **more}
    config = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, weight in tuned.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(weight, std=0.2)
    tuned.save_pretrained(str(folder))
    return folder


def save_quantised(base: Path, folder: Path) -> Path:
    """Write a model with weights of 8 bits, in the form of compressed-tensors, into a folder."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in load_file(base / "model.safetensors").items():
        if "_proj" in name:
            scale = weight.abs().amax(1, keepdim=True) / 127  # [outputs, 1]
            tensors |= {name: (weight / scale).round().to(torch.int8), f"{name}_scale": scale}
        else:
            tensors[name] = weight
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    int8 = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {
        "targets": ["Linear"],
        "weights": {**int8, "strategy": "channel", "dynamic": False},
        "input_activations": {**int8, "strategy": "token", "dynamic": True},
    }
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder
