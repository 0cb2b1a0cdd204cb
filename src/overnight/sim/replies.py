"""What the engine answers: pure functions of the model, the endpoint, the body and its digest."""

import base64
import math
import struct
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
import xxhash

from overnight.domain.errors import InvalidRequest, NotFound
from overnight.sim import prose
from overnight.sim.options import SimOptions

CREATED = 1_735_689_600
"""The `created` of everything, in Unix seconds: a reply must not depend on the clock."""

DEFAULT_DIMENSIONS = 32

BAD_REQUEST = "BadRequestError"
"""The code of what vLLM refuses under this type, with its status for a code."""

Count = Annotated[int, msgspec.Meta(ge=1)]
Texts = str | list[str | int | list[int]]
"""A text, token ids, or several of either."""


class _Body(msgspec.Struct, gc=False):
    model: str


class _Generation(_Body, gc=False, kw_only=True):
    max_tokens: Count | None = None
    n: int | None = None
    stream: bool | None = None


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str = ""


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None


class _Chat(_Generation, gc=False, kw_only=True):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: Count | None = None


class _Completion(_Generation, gc=False, kw_only=True):
    prompt: Texts


class _Embedding(_Body, gc=False, kw_only=True):
    input: Texts
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=8192)] | None = None
    encoding_format: Literal["float", "base64"] | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    body: bytes
    """The JSON of a 200."""
    prompt_tokens: int
    tokens: int
    """Written."""
    cut: bool
    """A limit ended it."""
    request: _Chat | _Completion | _Embedding


Endpoint = Callable[[bytes, int], Answer]
"""Takes the body and its digest."""

B = TypeVar("B", bound=_Body)


class Responder:
    """Each method raises `InvalidRequest` or `NotFound` for what the body gets wrong."""

    def __init__(self, options: SimOptions) -> None:
        self._models = {model: msgspec.json.encode(model) for model in options.models}
        self._context_tokens = options.context_tokens
        self._reply_tokens = options.reply_tokens
        self._chat = msgspec.json.Decoder(_Chat)
        self._completion = msgspec.json.Decoder(_Completion)
        self._embedding = msgspec.json.Decoder(_Embedding)
        self.endpoints: dict[bytes, Endpoint] = {
            b"/v1/chat/completions": self.chat,
            b"/v1/completions": self.completion,
            b"/v1/embeddings": self.embedding,
        }
        self.model_list = msgspec.json.encode(
            {
                "object": "list",
                "data": [_card(model, options.context_tokens) for model in options.models],
            }
        )

    def chat(self, body: bytes, digest: int) -> Answer:
        request = _decode(self._chat, body)
        model = self._model(request)
        _check_generation(request)
        prompt_tokens, topic = 0, ""
        for message in request.messages:
            content = message.content
            topic = content if isinstance(content, str) else _joined(content)
            prompt_tokens += topic.count(" ") + 1
        limit = request.max_completion_tokens or request.max_tokens
        if self._context_tokens is not None:
            name = "max_completion_tokens" if request.max_completion_tokens else "max_tokens"
            limit = _fit(self._context_tokens, prompt_tokens, limit, name)
        length = None if self._reply_tokens is None else _length(self._reply_tokens, digest)
        text, tokens, cut = prose.write(topic, digest, limit, length)
        reply = (
            b'{"id":"chatcmpl-%016x","object":"chat.completion","created":%d,"model":%b,'
            b'"choices":[{"index":0,"message":{"role":"assistant","content":%b},'
            b'"logprobs":null,"finish_reason":%b}],"usage":{"prompt_tokens":%d,'
            b'"completion_tokens":%d,"total_tokens":%d}}'
        ) % (
            *(digest, CREATED, model, msgspec.json.encode(text)),
            *(b'"length"' if cut else b'"stop"', prompt_tokens, tokens, prompt_tokens + tokens),
        )
        return Answer(reply, prompt_tokens, tokens, cut, request)

    def completion(self, body: bytes, digest: int) -> Answer:
        request = _decode(self._completion, body)
        self._model(request)
        _check_generation(request)
        prompts = _texts(request.prompt, "prompt")
        choices = []
        read = written = 0
        any_cut = False
        for index, prompt in enumerate(prompts):
            limit = request.max_tokens
            prompt_tokens = prose.count_tokens(prompt)
            if self._context_tokens is not None:
                limit = _fit(self._context_tokens, prompt_tokens, limit, "max_tokens")
            spread = self._reply_tokens
            length = None if spread is None else _length(spread, digest + index)
            text, tokens, cut = prose.write(prompt, digest + index, limit, length)
            reason = "length" if cut else "stop"
            choices.append(
                {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
            )
            read += prompt_tokens
            written += tokens
            any_cut |= cut
        reply = {
            "id": f"cmpl-{digest:016x}",
            "object": "text_completion",
            "created": CREATED,
            "model": request.model,
            "choices": choices,
            "usage": _usage(read, written),
        }
        return Answer(msgspec.json.encode(reply), read, written, any_cut, request)

    def embedding(self, body: bytes, digest: int) -> Answer:  # noqa: ARG002  as the others
        request = _decode(self._embedding, body)
        self._model(request)
        texts = _texts(request.input, "input")
        dimensions = request.dimensions or DEFAULT_DIMENSIONS
        data = []
        for index, text in enumerate(texts):
            if self._context_tokens is not None:
                _fit(self._context_tokens, prose.count_tokens(text), 0, "")
            vector: list[float] | str = embed(text, dimensions)
            if request.encoding_format == "base64":
                packed = struct.pack(f"<{dimensions}f", *vector)
                vector = base64.b64encode(packed).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        usage = _usage(sum(map(prose.count_tokens, texts)), 0)
        del usage["completion_tokens"]
        reply = {"object": "list", "data": data, "model": request.model, "usage": usage}
        read = usage["prompt_tokens"]
        return Answer(msgspec.json.encode(reply), read, 0, cut=False, request=request)

    def _model(self, request: _Body) -> bytes:
        """The model's name as JSON."""
        name = self._models.get(request.model)
        if name is None:
            raise NotFound(
                f"The model `{request.model}` does not exist; there is {', '.join(self._models)}.",
                param="model",
                code="model_not_found",
            )
        return name


def embed(text: str, dimensions: int) -> list[float]:
    """A unit vector; texts that share words point in similar directions."""
    vector = [0.0] * dimensions
    for word in text.lower().split() or [""]:
        digest = xxhash.xxh3_64_intdigest(word.encode())
        vector[(digest >> 1) % dimensions] += 1.0 if digest & 1 else -1.0
    length = math.sqrt(math.fsum(x * x for x in vector))
    if length == 0.0:  # opposite words cancelled each other out
        return [1.0] + [0.0] * (dimensions - 1)
    return [round(x / length, 6) for x in vector]


def _decode(decoder: msgspec.json.Decoder[B], body: bytes) -> B:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"Invalid body: {error}", code="invalid_value") from None
    # A broken UTF-8 sequence is a ValueError, brackets without end are a RecursionError.
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}", code="invalid_json") from None


def _length(between: tuple[int, int], digest: int) -> int:
    """Tokens of a reply."""
    low, high = between
    return low + (digest >> 16) % (high - low + 1)


def prompt_of(request: _Chat | _Completion | _Embedding) -> str:
    """All that has to be read, as one text."""
    if isinstance(request, _Chat):
        contents = (message.content for message in request.messages)
        return " ".join(one if isinstance(one, str) else _joined(one) for one in contents)
    if isinstance(request, _Completion):
        return " ".join(_texts(request.prompt, "prompt"))
    return " ".join(_texts(request.input, "input"))


def _fit(context_tokens: int, prompt_tokens: int, limit: int | None, name: str) -> int:
    """How many tokens may be written. Raises `InvalidRequest` in the words of vLLM.

    vLLM stops counting a prompt that is too long one token after the limit, hence «at least».
    """
    if limit is not None and limit > context_tokens:
        raise InvalidRequest(
            f"{name}={limit} cannot be greater than max_model_len={context_tokens}."
            " Please request fewer output tokens.",
            param=name,
            code=BAD_REQUEST,
        )
    left = context_tokens - prompt_tokens
    if left >= (1 if limit is None else limit):
        return left if limit is None else limit
    asked = limit or int(left == 0)
    at_least = context_tokens - asked + 1
    raise InvalidRequest(
        f"This model's maximum context length is {context_tokens} tokens. However, you requested"
        f" {asked} output tokens and your prompt contains at least {at_least} input tokens, for a"
        f" total of at least {context_tokens + 1} tokens. Please reduce the length of the input"
        " prompt or the number of requested output tokens."
        f" (parameter=input_tokens, value={at_least})",
        param="input_tokens",
        code=BAD_REQUEST,
    )


def _card(model: str, context_tokens: int | None) -> dict[str, object]:
    """As vLLM lists a model."""
    return {
        "id": model,
        "object": "model",
        "created": CREATED,
        "owned_by": "overnight",
        "root": model,
        "parent": None,
        "max_model_len": context_tokens,
    }


def _check_generation(request: _Generation) -> None:
    if request.stream:
        raise InvalidRequest("The simulator does not stream.", param="stream")
    if request.n is not None and request.n != 1:
        raise InvalidRequest("The simulator makes one choice; leave `n` out.", param="n")


def _joined(parts: list[_Part] | None) -> str:
    return " ".join(part.text for part in parts or ())


def _texts(given: Texts, param: str) -> list[str]:
    """One text per input; token ids are written out as numbers."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise InvalidRequest(f"`{param}` must not be empty.", param=param)
    if isinstance(given[0], int):
        return [" ".join(map(str, given))]
    return [" ".join(map(str, text)) if isinstance(text, list) else str(text) for text in given]


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
