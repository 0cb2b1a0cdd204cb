"""What a simulated engine can be told to be."""

from dataclasses import dataclass

from overnight.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class SimOptions:
    """Raises `ConfigurationError` for values that make no sense."""

    models: tuple[str, ...] = ("sim",)
    latency_ms: tuple[float, float] = (0.0, 0.0)
    """Each attempt takes a time between the two, uniformly."""
    tokens_per_second: float | None = None
    """How fast one reply is written, on top of the latency; None is instantly."""
    error_rate: float = 0.0
    """The share of attempts answered with 500 or 503."""
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.latency_ms
        if not self.models or not all(self.models):
            raise ConfigurationError("a simulated engine needs at least one model with a name")
        if not 0 <= low <= high < float("inf"):
            raise ConfigurationError(f"the latency is LO-HI with 0 <= LO <= HI, not {low}-{high}")
        if self.tokens_per_second is not None and not self.tokens_per_second > 0:
            raise ConfigurationError(
                f"tokens per second must be above 0, not {self.tokens_per_second}"
            )
        if not 0 <= self.error_rate <= 1:
            raise ConfigurationError(f"the error rate is between 0 and 1, not {self.error_rate}")
        if not 0 <= self.seed < 2**64:
            raise ConfigurationError(f"the seed is between 0 and 2**64 - 1, not {self.seed}")
