"""What is a good input file, said again in the plainest way: `json.loads` and a few ifs.

Slow, and without a word of why. It knows nothing of the validator, so that both are wrong in the
same way only where the rules are misread twice.
"""

import json
from typing import Any, Final, NamedTuple

from overnight.domain.request import MODEL_CHARACTERS_MAX, LineRules

CONTENT: Final = {
    "/v1/chat/completions": {"messages"},
    "/v1/completions": {"prompt", "prompt_embeds"},
    "/v1/embeddings": {"input", "messages"},
}


class Request(NamedTuple):
    number: int
    line: bytes
    custom_id: str
    body: dict[str, Any]
    url: str | None


class Doubtful(Exception):  # noqa: N818  nobody's mistake
    """JSON leaves it open whether this is good: half surrogate pairs, endless nesting."""


def requests_of(data: bytes, rules: LineRules) -> list[Request] | None:
    """The requests of a good file, in order; None for any other. Raises `Doubtful`."""
    requests = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip(b" \t\r"):
            request = _request(number, line, rules)
            if request is None:
                return None
            requests.append(request)
    ids = {request.custom_id for request in requests}
    urls = {request.url for request in requests} - {None}
    good = requests and len(ids) == len(requests) and len(urls) <= 1
    return requests if good else None


def _request(number: int, line: bytes, rules: LineRules) -> Request | None:
    if len(line) > rules.line_bytes_max:
        return None
    try:
        fields = _loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    custom_id, body, url = fields.get("custom_id"), fields.get("body"), _url(fields, rules)
    if not isinstance(custom_id, str) or not isinstance(body, dict) or url is False:
        return None
    if not 0 < len(custom_id.encode()) <= rules.custom_id_bytes_max:
        return None
    if fields.get("method") != "POST" and (rules.routed or fields.get("method") is not None):
        return None
    endpoint = url or rules.endpoint
    if not _is_good_body(body, endpoint):
        return None
    return Request(number, line, custom_id, body, url)


def _url(fields: dict[str, Any], rules: LineRules) -> Any:
    """None where the line need not name one and does not; False where it is wrong."""
    url = fields.get("url")
    if url is None:
        return False if rules.routed else None
    allowed = list(CONTENT) if rules.endpoint is None else [rules.endpoint]
    spelt = {way: each for each in allowed for way in (each, each.removeprefix("/v1"))}
    return spelt.get(url, False) if isinstance(url, str) else False


def _is_good_body(body: dict[str, Any], endpoint: str | None) -> bool:
    if body.get("stream") not in (None, False) or isinstance(body.get("stream"), _Number):
        return False
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MODEL_CHARACTERS_MAX:
        return False
    needed = set.union(*CONTENT.values()) if endpoint is None else CONTENT[endpoint]
    return model.isprintable() and bool(needed & body.keys())


class _Number(float):
    """Any number: none is `False`, as Python's 0 is."""


def _loads(line: bytes) -> Any:
    text = line.decode("utf-8")
    try:
        value = json.loads(
            text, parse_int=_number, parse_float=_number, parse_constant=_no_constant
        )
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise Doubtful from None
    except UnicodeEncodeError:
        raise Doubtful from None
    return value


def _number(_: str) -> _Number:
    return _Number(1)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
