"""Make a small Llama with random weights and a tokenizer that learned its words from a text.

    python make_hf_model.py FOLDER TEXT [HEADS]

Run by an engine's own Python, which has torch and transformers. What is made has the files, the
configuration and the loading code of any Llama: only the weights mean nothing.
"""

import sys
from pathlib import Path

import torch  # type: ignore[import-not-found]  # the engine's environment has it, ours has not
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import (  # type: ignore[import-not-found]
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

SPECIAL = ("<unk>", "<s>", "</s>")
VOCABULARY = 4096
CONTEXT_TOKENS = 4096
WIDTH = 128
HEADS = 2
"""vLLM's attention on CPU takes heads of 64 numbers, and dies at the first request of 16."""

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(text: Path) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train([str(text)], trainer)
    unk, bos, eos = SPECIAL
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=unk, bos_token=bos, eos_token=eos, pad_token=eos
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_model(vocabulary: int, heads: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config)


def main(folder: str, text: str, heads: str = str(HEADS)) -> None:
    tokenizer = make_tokenizer(Path(text))
    tokenizer.save_pretrained(folder)
    make_model(len(tokenizer), int(heads)).save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
