"""Readable English made from a prompt and a digest. One word counts as one token."""

TOPIC_WORDS = 8
TOPIC_CHARACTERS = 120

_OPENINGS = (
    "In short, “{}” comes down to one question asked well.",
    "A good way into “{}” is to start from what is already known.",
    "Thank you for asking about “{}” at this quiet hour.",
    "Three things matter most about “{}” and the rest is detail.",
    "Put plainly, “{}” is simpler than it looks at first.",
    "Seen from a distance, “{}” is a story about patience.",
    "Most people who ask about “{}” want a clear next step.",
    "Here is a calm look at “{}” without any hurry.",
)

# Sixteen, so that any odd stride walks over all of them before it repeats one.
_SENTENCES = (
    "The first step is small, and it is usually the one that counts.",
    "Numbers help, as long as somebody remembers what they measure.",
    "Whoever writes the question down has already answered half of it.",
    "It pays to keep the simple case simple and let the rare one be rare.",
    "Nothing here needs to be decided before the morning.",
    "The same pattern turns up in gardens, in kitchens and in large machines.",
    "A second look tends to be cheaper than a second attempt.",
    "Where two answers seem equally good, the shorter one ages better.",
    "Careful people try it once by hand before they do it a million times.",
    "The details differ from place to place, but the shape stays the same.",
    "If something is unclear, an example says more than a definition.",
    "What looks like luck is often just good preparation.",
    "The cost is known in advance, which makes the plan easy to trust.",
    "Time works for those who can let a thing run while they sleep.",
    "Old tools remain useful when their limits are understood.",
    "In the end the result should be boring, complete and correct.",
)


def write(prompt: str, digest: int, limit: int | None, length: int | None) -> tuple[str, int, bool]:
    """The text, its tokens, and whether `limit` cut it short. `length` is in tokens too."""
    topic = " ".join(prompt[:TOPIC_CHARACTERS].split(None, TOPIC_WORDS)[:TOPIC_WORDS])
    parts = [_OPENINGS[digest & 7].format(topic.rstrip(".,:;!?") or "nothing at all")]
    place, stride = digest >> 3, (digest >> 7 & 7) * 2 + 1
    sentences = 1 + (digest >> 10 & 3) if length is None else 1 + length // _SHORTEST_SENTENCE
    for _ in range(sentences):
        parts.append(_SENTENCES[place & 15])
        place += stride
    text = " ".join(parts)
    tokens = text.count(" ") + 1
    if length is not None and length < tokens:
        text, tokens = _first(length, text), length
    if limit is None or tokens <= limit:
        return text, tokens, False
    return _first(limit, text), limit, True


def count_tokens(text: str) -> int:
    return text.count(" ") + 1


def _first(tokens: int, text: str) -> str:
    return " ".join(text.split(" ", tokens)[:tokens])


_SHORTEST_SENTENCE = min(map(count_tokens, _SENTENCES))
