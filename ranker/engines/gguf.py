"""Convert a GGUF file into an ordinary model folder, once.

A process of its own: `python -m ranker.engines.gguf FILE FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path


def convert(source: Path, target: Path) -> None:
    """Write the weights (bfloat16), configuration, tokenizer and chat template of `source` to the folder
    `target`.

    Raises:
        BadModel: the file carries no chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from ranker.errors import BadModel

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if not tokenizer.chat_template:
        raise BadModel(
            "a chat model needs a chat template",
            seen=f"none in {source.name}",
            remedy="choose an instruction-tuned model",
        )
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    if hasattr(model.config, "quantization_config"):
        delattr(
            model.config, "quantization_config"
        )  # save_pretrained refuses a model that says it is quantized
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
