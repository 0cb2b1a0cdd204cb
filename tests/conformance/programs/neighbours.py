"""What others of the same tenant left in its lists: of both dialects, and of purposes that only one
of them knows. A client that can not read one object of a list shows none of it."""

import json
import urllib.request

OTHER_PURPOSES = ("user_data", "assistants", "fine-tune")


def move_in(base_url: str, key: str, line: bytes) -> None:
    """A file of each purpose, and a job of each dialect, of one request (`line`)."""
    for purpose in OTHER_PURPOSES:
        _upload(base_url, key, purpose, line)
    file_id = _upload(base_url, key, "batch", line)
    wanted = {"input_file_id": file_id, "endpoint": "/v1/chat/completions"}
    for dialect, more in (("openai", {"completion_window": "24h"}), ("together", {})):
        body = json.dumps(wanted | more).encode()
        _post(f"{base_url}/{dialect}/v1/batches", key, body, "application/json")


def _upload(base_url: str, key: str, purpose: str, data: bytes) -> str:
    body = (
        f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
        '--b\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    ).encode() + data
    form = "multipart/form-data; boundary=b"
    answer = _post(f"{base_url}/openai/v1/files", key, body + b"\r\n--b--\r\n", form)
    return str(answer["id"])


def _post(url: str, key: str, body: bytes, content_type: str) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, object] = json.load(answer)
    return told
