"""Small pictures, and a tiny model with random weights that sees them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

# A token for each row and column of the parts into which an image is cut.
_CELLS = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
_MARKS = ("<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>", *_CELLS)
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def picture(color: str = "red", size: tuple[int, int] = (50, 40), kind: str = "PNG", **more: Any) -> bytes:
    """Return the file of a picture: a disc on a ground of this color."""
    image = Image.new("RGB", size, color)
    ImageDraw.Draw(image).ellipse((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), fill="white")
    written = io.BytesIO()
    image.save(written, kind, **more)
    return written.getvalue()


def save_seeing_model(folder: Path, template: str | None = TEMPLATE) -> Path:
    """Write a tiny Idefics3 with random weights and its processor, of the kind of SmolVLM, into a folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig, PreTrainedTokenizerFast
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

    alphabet = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *_MARKS]
    reader = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    reader.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reader.decoder = decoders.ByteLevel()
    ends: dict[str, Any] = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=reader, chat_template=template, **ends)
    tokenizer.add_tokens(list(_MARKS), special_tokens=True)
    cut = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    Idefics3Processor(
        image_processor=cut, tokenizer=tokenizer, image_seq_len=4, chat_template=template
    ).save_pretrained(folder)
    torch.manual_seed(0)
    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    # vLLM has kernels for heads of at least 32 numbers.
    sizes: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = LlamaConfig(vocab_size=len(alphabet), hidden_size=64, max_position_embeddings=1024, **sizes, **ids)
    seen = {"hidden_size": 32, "image_size": 32, "patch_size": 8, **sizes}
    marks: dict[str, Any] = {"image_token_id": alphabet.index("<image>"), "scale_factor": 2}
    model = Idefics3ForConditionalGeneration(Idefics3Config(vision_config=seen, text_config=text, **marks, **ids))
    for weight in model.parameters():
        if weight.dim() > 1:  # as they are made all texts would come out alike
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    return folder
