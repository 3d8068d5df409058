"""Write a small chat model with random weights that vLLM serves; runs in vLLM's environment.

Usage: ``python vllm_model.py DIRECTORY [SIZE]``. ``tiny`` has about 6 million parameters, ``base``
about 90 million. A byte-level BPE vocabulary trained on the standard library's own sources (text
that every machine has), and a chat template in ChatML with tools in the form of Hermes. The same
Python writes the same model: seeded weights, files in sorted order. What it says is noise; that it
speaks the protocol is the point, and of ``base`` that its steps take as long as a model's do.
"""

import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch  # type: ignore[import-not-found,unused-ignore]
import transformers  # type: ignore[import-not-found,unused-ignore]
from tokenizers import (  # type: ignore[import-not-found,unused-ignore]
    AddedToken,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

SEED = 20_260_101
VOCABULARY = 8_000
CONTEXT = 4_096
SOURCES = 150
SIZES = {
    "tiny": {
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "base": {
        "hidden_size": 768,
        "intermediate_size": 2_048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    },
}
"""Shapes by name; the heads have 64 dimensions, as in larger models."""
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TOOL_TOKENS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")

CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
Call a function by writing JSON between <tool_call> and </tool_call>. Functions:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}
{%- elif message.content %}{% for part in message.content %}{{ part.text }}{% endfor %}
{%- endif %}
{%- for call in message.tool_calls or [] %}<tool_call>
{{ {"name": call.function.name, "arguments": call.function.arguments} | tojson }}
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def main(directory: Path, size: str) -> None:
    """Write tokenizer, configuration and weights into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = _train_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    _write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": TURN_END,
            "pad_token": END_OF_TEXT,
            "model_max_length": CONTEXT,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    config = transformers.Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        **SIZES[size],
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(TURN_END),
        pad_token_id=tokenizer.token_to_id(END_OF_TEXT),
    )
    torch.manual_seed(SEED)
    transformers.Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)


def _train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(TOOL_TOKENS),
        special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    # Not special: the tool parser must see them in the decoded text.
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in TOOL_TOKENS])
    return tokenizer


def _texts() -> Iterator[str]:
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:SOURCES]
    for source in sources:
        # Without runs of white space as tokens, a grammar that allows white space between the
        # parts of a JSON value gets its value from random weights within a few tokens.
        yield " ".join(source.read_text(encoding="utf-8", errors="ignore").split())


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "tiny")  # noqa: PLR2004
