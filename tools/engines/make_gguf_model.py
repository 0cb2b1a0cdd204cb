"""Make a small Llama with random weights as a GGUF file, with a tokenizer of bytes and words.

    python make_gguf_model.py FOLDER TEXT

Run by the environment of llama.cpp's server, which has `gguf` and `numpy`.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import gguf  # type: ignore[import-not-found]  # the engine's environment has it, ours has not
import numpy as np  # type: ignore[import-not-found]

CONTEXT_TOKENS = 4096
WIDTH, LAYERS, HEADS, KV_HEADS = 64, 2, 4, 2
WORDS = 2000
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""How SentencePiece writes the space before a word."""

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{m['role']}}|>{{m['content']}}\n{% endfor %}<|assistant|>"
)


def pieces_of(words: list[str]) -> list[str]:
    """SentencePiece joins two pieces at a time, so all beginnings of a word must be pieces too."""
    found = {SPACE + word[:length] for word in words for length in range(len(word) + 1)}
    found |= {letter for word in words for letter in word}
    return sorted(found, key=lambda piece: (len(piece), piece))


def add_tokenizer(writer: "gguf.GGUFWriter", text: str) -> int:
    """Returns the number of tokens. Longer pieces score higher, so that they are preferred."""
    common = [word for word, _ in Counter(re.findall(r"[a-zA-Z]+", text)).most_common(WORDS)]
    pieces = pieces_of(common)
    kind = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL]
    types += [kind.BYTE] * 256 + [kind.NORMAL] * len(pieces)
    scores = [0.0] * 259 + [float(len(piece) - 100) for piece in pieces]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)
    return len(tokens)


def add_shape(writer: "gguf.GGUFWriter", vocabulary: int) -> None:
    writer.add_name("tiny-random-llama")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(3 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def add_weights(writer: "gguf.GGUFWriter", vocabulary: int) -> None:
    chance = np.random.default_rng(0)

    def random(name: str, *shape: int) -> None:
        values = chance.standard_normal(shape) * 0.05
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))

    kv_width = WIDTH // HEADS * KV_HEADS
    random("token_embd", vocabulary, WIDTH)
    random("output", vocabulary, WIDTH)
    ones("output_norm")
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        ones(f"{block}.attn_norm")
        ones(f"{block}.ffn_norm")
        random(f"{block}.attn_q", WIDTH, WIDTH)
        random(f"{block}.attn_k", kv_width, WIDTH)
        random(f"{block}.attn_v", kv_width, WIDTH)
        random(f"{block}.attn_output", WIDTH, WIDTH)
        random(f"{block}.ffn_gate", 3 * WIDTH, WIDTH)
        random(f"{block}.ffn_up", 3 * WIDTH, WIDTH)
        random(f"{block}.ffn_down", WIDTH, 3 * WIDTH)


def main(folder: str, text: str) -> None:
    writer = gguf.GGUFWriter(str(Path(folder) / "tiny.gguf"), "llama")
    vocabulary = add_tokenizer(writer, Path(text).read_text("utf-8"))
    add_shape(writer, vocabulary)
    add_weights(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
