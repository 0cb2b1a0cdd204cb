"""Files of requests."""

import json
from pathlib import Path

SENTENCE = "Tell me of the night the lantern went out. "


def body(prompt_bytes: int, model: str = "sim") -> dict[str, object]:
    prompt = (SENTENCE * (prompt_bytes // len(SENTENCE) + 1))[:prompt_bytes]
    return {"model": model, "messages": [{"role": "user", "content": prompt}]}


def one_body(prompt_bytes: int) -> bytes:
    return json.dumps(body(prompt_bytes)).encode()


def write_input(path: Path, requests: int, prompt_bytes: int) -> None:
    """As a user's script would: `custom_id` and `body`, nothing more."""
    end = b', "body": ' + one_body(prompt_bytes) + b"}\n"
    with path.open("wb", 1 << 20) as file:
        for number in range(requests):
            file.write(b'{"custom_id": "request-%d"' % number + end)
