"""What a simulated engine can be told to be."""

from dataclasses import dataclass

from overnight.domain.errors import ConfigurationError
from overnight.sim.faults import Faults, checked_faults
from overnight.sim.kv_cache import BLOCK_TOKENS


@dataclass(frozen=True, slots=True)
class SimOptions:
    """Raises `ConfigurationError` for values that make no sense."""

    models: tuple[str, ...] = ("sim",)
    latency_ms: tuple[float, float] = (0.0, 0.0)
    """Each attempt takes a time between the two, uniformly."""
    tokens_per_second: float | None = None
    """How fast one reply is written when it is alone, on top of the latency; None is instantly."""
    total_tokens_per_second: float | None = None
    """What all replies together come close to as they get more; None is without limit."""
    prefill_tokens_per_second: float | None = None
    """How fast prompts are read, one after another; None is instantly."""
    max_num_seqs: int | None = None
    """Requests worked on at once; others wait. None is without limit."""
    kv_cache_tokens: int | None = None
    """Memory for what is worked on, in whole blocks of 16; None is without limit."""
    max_model_len: int | None = None
    """Most tokens of a prompt and its reply; with a cache, at most what fits into it."""
    reply_tokens: tuple[int, int] | None = None
    """A reply's length is between the two, uniformly; None is some 25 to 75."""
    error_rate: float = 0.0
    """The share of attempts answered with 500 or 503."""
    faults: Faults = ()
    """Other kinds of failure and the share of attempts each of them gets."""
    seed: int = 0

    @property
    def context_tokens(self) -> int | None:
        """The limit in force: what one sequence can have."""
        if self.kv_cache_tokens is None or self.max_model_len is not None:
            return self.max_model_len
        return self.kv_cache_tokens // BLOCK_TOKENS * BLOCK_TOKENS

    @property
    def is_batching(self) -> bool:
        """Requests have an influence on each other, so that a batch must be kept."""
        return (
            self.total_tokens_per_second is not None
            or self.prefill_tokens_per_second is not None
            or self.max_num_seqs is not None
            or self.kv_cache_tokens is not None
        )

    def __post_init__(self) -> None:
        low, high = self.latency_ms
        if not self.models or not all(self.models):
            raise ConfigurationError("a simulated engine needs at least one model with a name")
        if not 0 <= low <= high < float("inf"):
            raise ConfigurationError(
                f"the latency is LO-HI with 0 <= LO <= HI, not {low:g}-{high:g}"
            )
        if self.reply_tokens is not None and not 1 <= self.reply_tokens[0] <= self.reply_tokens[1]:
            low_tokens, high_tokens = self.reply_tokens
            raise ConfigurationError(
                f"the length of replies is LO-HI with 1 <= LO <= HI, not {low_tokens}-{high_tokens}"
            )
        if not 0 <= self.seed < 2**64:
            raise ConfigurationError(f"the seed is between 0 and 2**64 - 1, not {self.seed}")
        self._check_speed()
        self._check_size()
        self._check_faults()

    def _check_speed(self) -> None:
        for name, rate in (
            ("tokens per second", self.tokens_per_second),
            ("total tokens per second", self.total_tokens_per_second),
            ("prefill tokens per second", self.prefill_tokens_per_second),
        ):
            if rate is not None and not 0 < rate < float("inf"):
                raise ConfigurationError(f"{name} must be above 0, not {rate:g}")
        alone, total = self.tokens_per_second, self.total_tokens_per_second
        if total is not None and (alone is None or alone > total):
            raise ConfigurationError(
                f"total tokens per second ({total:g}) need tokens per second, the speed of one"
                f" reply alone, and can not be less than that"
            )

    def _check_size(self) -> None:
        cache, context = self.kv_cache_tokens, self.max_model_len
        if self.max_num_seqs is not None and self.max_num_seqs < 1:
            raise ConfigurationError(f"max num seqs must be 1 or more, not {self.max_num_seqs}")
        if context is not None and context < 2:
            raise ConfigurationError(f"max model len must be 2 or more, not {context}")
        if cache is not None and cache < BLOCK_TOKENS:
            raise ConfigurationError(
                f"the KV cache has blocks of {BLOCK_TOKENS} tokens, {cache} are none"
            )
        if (
            cache is not None
            and context is not None
            and context > cache // BLOCK_TOKENS * BLOCK_TOKENS
        ):
            raise ConfigurationError(
                f"a sequence of max model len ({context}) must fit into the KV cache ({cache})"
            )

    def _check_faults(self) -> None:
        if not 0 <= self.error_rate <= 1:
            raise ConfigurationError(f"the error rate is between 0 and 1, not {self.error_rate:g}")
        checked_faults(dict(self.faults))
        total = self.error_rate + sum(rate for _, rate in self.faults)
        if total > 1:
            raise ConfigurationError(f"faults and error rate add up to {total:g}, more than 1")
