"""The settings: names, types, limits, defaults, and what each means (its docstring)."""

from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    field_validator,
    model_validator,
)

from overnight.domain.dialect import Dialect
from overnight.domain.request import LineRules
from overnight.domain.retry import RetryPolicy
from overnight.domain.unix_url import is_unix_url, parse_unix_url

DEFAULT_PORT: Final = 8024

_REVEAL: Final = {"reveal": True}
_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3
_TEN_YEARS_SECONDS: Final = 10 * 365 * 86_400
"""Deadlines are told as dates, which have an end."""


def _show_secret(value: SecretStr, info: SerializationInfo) -> str:
    return value.get_secret_value() if info.context == _REVEAL else str(value)


def _not_blank(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("a key can not be empty; leave it out instead")
    return value


def _fit_for_header(value: SecretStr) -> SecretStr:
    if not _is_plain(value.get_secret_value()):
        raise ValueError("a key can only be printable ASCII without spaces, to be sent as a header")
    return value


Secret = Annotated[SecretStr, AfterValidator(_not_blank), PlainSerializer(_show_secret)]
"""Shown as stars everywhere but on the pipe to a child process."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


class UpstreamSettings(_Frozen):
    url: str
    """OpenAI-compatible base, such as `http://127.0.0.1:8000/v1`; or a Unix socket, as
    `unix:/run/vllm.sock`, with another base than `/v1` as `unix:/run/vllm.sock:/base`."""
    api_key: Annotated[Secret, AfterValidator(_fit_for_header)] | None = None
    """Sent to this upstream as a bearer token."""
    max_in_flight: int = Field(default=128, ge=1, le=65_536)
    """Requests that may be unanswered at one moment."""
    models: tuple[str, ...] = ()
    """Serve only these; empty: all it lists at `{url}/models`, or any when it lists none."""
    lanes: int = Field(default=1, ge=1, le=64)
    """Workers that may share it, for an engine too fast for one. Each sends its part of
    `max_in_flight` and lends none of it, so a job of one shard (1,000 requests) uses one part."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return checked_upstream_url(url)

    @model_validator(mode="after")
    def _check_lanes(self) -> Self:
        if self.lanes > self.max_in_flight:
            raise ValueError(
                f"its {self.lanes} lanes can not share max_in_flight = {self.max_in_flight};"
                " each needs one request at least"
            )
        return self


class LimitSettings(_Frozen):
    file_bytes_max: int = Field(default=50 * _GIB, ge=1)
    """Largest input file, bytes."""
    files_max: int = Field(default=1_000_000, ge=1)
    """Most files of one tenant; more are refused until some are deleted."""
    storage_bytes_max: int | None = Field(default=None, ge=1)
    """Most bytes of one tenant's files together, results included; uploads beyond are refused,
    results never. Unset: no limit."""
    line_bytes_max: int = Field(default=16 * _MIB, ge=1 * _KIB)
    """Longest line of an input file, bytes."""
    custom_id_bytes_max: int = Field(default=512, ge=1, le=65_536)
    """Longest `custom_id`, bytes of UTF-8."""
    requests_max: int | None = Field(default=None, ge=1)
    """Most requests in one file; unset: no limit."""
    jobs_alive_max: int = Field(default=10_000, ge=1)
    """Most jobs of one tenant that have not ended."""
    metadata_pairs_max: int = Field(default=16, ge=0)
    """Most pairs in the metadata of a job."""
    metadata_key_characters_max: int = Field(default=64, ge=1)
    """Longest key in the metadata of a job, characters."""
    metadata_value_characters_max: int = Field(default=512, ge=1)
    """Longest value in the metadata of a job, characters."""
    reply_bytes_max: int = Field(default=64 * _MIB, ge=1 * _KIB)
    """Longest reply taken from an upstream, bytes."""
    replies_bytes_max: int = Field(default=512 * _MIB, ge=1 * _KIB)
    """Memory of one worker for long replies under way, bytes; beyond it they are read one by
    one."""

    def line_rules(self, endpoint: str | None, *, routed: bool = False) -> LineRules:
        return LineRules(
            endpoint=endpoint,
            routed=routed,
            line_bytes_max=self.line_bytes_max,
            custom_id_bytes_max=self.custom_id_bytes_max,
            requests_max=self.requests_max,
        )


class RetrySettings(_Frozen):
    attempts_max: int = Field(default=5, ge=1, le=1_000)
    """Charged attempts of a request, the first included."""
    backoff_first_seconds: Seconds = 1.0
    """Longest wait before the second attempt; doubles from there."""
    backoff_max_seconds: Seconds = 60.0
    """Longest wait before any attempt."""

    def policy(self) -> RetryPolicy:
        return RetryPolicy(self.attempts_max, self.backoff_first_seconds, self.backoff_max_seconds)


class TimeoutSettings(_Frozen):
    connect_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """For a connection to an upstream to open, TLS included."""
    first_byte_seconds: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """From the sending of a request to the first byte of its reply: queueing and generation."""
    idle_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Between two pieces of one reply."""
    reply_seconds: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """After `first_byte_seconds`, for all the rest of a reply, however steadily it drips."""


class WebhookSettings(_Frozen):
    allow_private: bool = False
    """Also send to this machine and private networks, and by plain HTTP. Whoever may create
    webhooks can then make this service send to them."""
    timeout_seconds: float = Field(default=15.0, ge=1, le=120)
    """For one attempt to deliver, from the name of the host to the whole answer."""
    give_up_seconds: float = Field(default=259_200.0, gt=0, allow_inf_nan=False)
    """How long after its event a delivery that is not acknowledged is tried again."""
    endpoints_max: int = Field(default=20, ge=1, le=1_000)
    """Most webhooks of one tenant."""


class Settings(_Frozen):
    """The effective configuration of a service. Frozen; `load` makes it."""

    data_dir: Path = Path("overnight-data")
    """Folder of the database and the files; on a local disk."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on."""
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""
    public_url: str | None = None
    """Base URL that clients reach this service by, when a proxy stands before it."""
    upstreams: tuple[UpstreamSettings, ...] = ()
    """Servers that answer the requests."""
    workers: int = Field(default=1, ge=1, le=256)
    """Dispatching processes; one is good for tens of thousands of requests a second."""
    api_keys: tuple[Secret, ...] = ()
    """Keys that clients may use, beside those of `overnight keys`; with none at all: open mode,
    for this machine only."""
    allow_open: bool = False
    """Listen beyond this machine although nobody needs a key."""
    default_dialect: Dialect = Dialect.OPENAI
    """How the API is spelt with clients that neither say it nor are known: openai or together."""
    deduplicate_uploads: bool = False
    """Point Together's clients to the file there is when they announce bytes that they have
    uploaded before, instead of taking them again."""
    endpoints: tuple[str, ...] = ()
    """Endpoints to take jobs for, beyond chat completions, completions and embeddings."""
    completion_window_seconds: float = Field(default=86_400.0, gt=0, le=_TEN_YEARS_SECONDS)
    """From the creation of a job to its deadline, when its `completion_window` is `24h` or
    not given."""
    any_completion_window: bool = False
    """Let jobs name a `completion_window` of their own, from `1h` to `14d`, such as `36h`."""
    lease_seconds: float = Field(default=15.0, ge=3, le=3_600)
    """How long a silent worker keeps its claims."""
    cancel_grace_seconds: Seconds = 30.0
    """For requests in flight when their job is cancelled."""
    expire_grace_seconds: Seconds = 30.0
    """For requests in flight when the completion window ends."""
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    webhooks: WebhookSettings = WebhookSettings()

    @field_validator("data_dir")
    @classmethod
    def _expand_home(cls, path: Path) -> Path:
        return path.expanduser()

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str | None) -> str | None:
        return None if url is None else checked_base_url(url)

    @field_validator("endpoints")
    @classmethod
    def _check_endpoints(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in endpoints:
            if not endpoint.startswith("/v1/"):
                raise ValueError(f"'{endpoint}' should start with /v1/, such as /v1/rerank")
        return endpoints

    @field_validator("upstreams")
    @classmethod
    def _check_distinct(
        cls, upstreams: tuple[UpstreamSettings, ...]
    ) -> tuple[UpstreamSettings, ...]:
        urls = [upstream.url for upstream in upstreams]
        for url in urls:
            if urls.count(url) > 1:
                raise ValueError(f"{url} is listed twice; raise its max_in_flight or lanes instead")
        return upstreams

    @property
    def base_url(self) -> str:
        """Where clients find us, without `/v1`."""
        return self.public_url or self.local_url

    @property
    def local_url(self) -> str:
        """Where this machine finds us, whatever stands before us."""
        return f"http://{_reachable(self.host)}:{self.port}"


class Assignment(_Frozen):
    """What a child process reads as the first line of its pipe, secrets included."""

    settings: Settings
    worker_id: str
    """Fresh at each process start; names this incarnation in the database."""
    replaces: tuple[str, ...] = ()
    """Dead incarnations that had this place before: their claims may be taken at once.

    Several, because one may die before it has reclaimed its predecessor.
    """

    def to_line(self) -> bytes:
        return self.model_dump_json(context=_REVEAL).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Assignment":
        return cls.model_validate_json(line)


def checked_upstream_url(url: str) -> str:
    """As `checked_base_url`; a Unix socket may be one too, and is written out with its base."""
    url = url.strip()
    if not is_unix_url(url):
        return checked_base_url(url)
    if not _is_plain(url):
        raise ValueError("the path of a socket can only be printable ASCII without spaces")
    parsed = parse_unix_url(url)
    _refuse_endpoint(str(parsed), parsed.base)
    return str(parsed)


def checked_base_url(url: str) -> str:
    """The URL without its trailing slash; raises `ValueError` when it can not be a base."""
    url = url.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        # The URL is not repeated here, for what it holds is a secret.
        raise ValueError("the URL holds a user or password; give an api_key instead")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        # What stands before an @ would be a secret here too.
        shown = url.rpartition("@")[2]
        is_bare = shown and ":/" not in shown and not shown.endswith(":")
        wanted = f"http://{shown}" if is_bare else "http://127.0.0.1:8000/v1"
        if shown.startswith("/"):
            wanted = f"unix:{shown}"
        raise ValueError(f"'{shown}' is no http(s) URL; write it like {wanted}")
    if parts.query or parts.fragment:
        base = url.partition("?")[0].partition("#")[0]
        raise ValueError(f"'{base}' has a query or fragment behind it; a base ends with its path")
    if not _is_plain(url):
        raise ValueError("a URL can only be printable ASCII without spaces; encode the rest")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError(f"'{parts.hostname}' can not be the name of a host") from None
    _refuse_endpoint(url, parts.path)
    if parts.netloc == "unix:":
        raise ValueError(f"a Unix socket is written like unix:{parts.path}, without http://")
    _ = parts.port  # raises ValueError with a sentence of its own when it is no port
    return url


def _refuse_endpoint(url: str, path: str) -> None:
    for endpoint in ("/chat/completions", "/completions", "/embeddings", "/models"):
        if path.endswith(endpoint):
            base = url.removesuffix(endpoint)
            raise ValueError(f"'{url}' is one endpoint; the base it belongs to is {base}")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _reachable(host: str) -> str:
    """An address to type into a client on this machine, for one to listen on."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104  compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
