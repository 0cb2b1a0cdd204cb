"""`overnight sim`: a simulated inference engine."""

from typing import Annotated

import typer


def sim(  # noqa: PLR0913, PLR0917  an option each
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8025,
    model: Annotated[list[str] | None, typer.Option(help="A model to serve; repeatable.")] = None,
    latency_ms: Annotated[
        str, typer.Option(metavar="LO[-HI]", help="Time an attempt takes, uniform in between.")
    ] = "0",
    tokens_per_second: Annotated[
        float | None, typer.Option(help="Speed of writing one reply; instant by default.")
    ] = None,
    error_rate: Annotated[
        float, typer.Option(help="Share of attempts that fail with 500 or 503, 0 to 1.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed, same replies and faults.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Simulate an OpenAI-compatible engine.

    Replies, latencies and faults follow from the seed and the request.
    """
    import os

    from overnight.domain.errors import ConfigurationError
    from overnight.sim import SimOptions, serve

    models = tuple(model or ["sim"])
    options = SimOptions(
        models=models,
        latency_ms=parse_latency(latency_ms),
        tokens_per_second=tokens_per_second,
        error_rate=error_rate,
        seed=seed,
    )

    def announce(bound: int) -> None:
        _print_address(host, bound, models, as_json=as_json)

    try:
        serve(options, host, port, announce)
    except OSError as error:
        # asyncio's own text repeats the address; a name that does not resolve has no errno of ours.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        raise ConfigurationError(f"can not listen on {host}:{port}: {reason}") from None


def parse_latency(text: str) -> tuple[float, float]:
    """`"20"` or `"20-80"`, in milliseconds. Raises `ConfigurationError`."""
    from overnight.domain.errors import ConfigurationError

    low, dash, high = text.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError:
        raise ConfigurationError(
            f"--latency-ms takes milliseconds as LO or LO-HI, such as 20 or 20-80, not {text!r}"
        ) from None


def _print_address(host: str, port: int, models: tuple[str, ...], *, as_json: bool) -> None:
    import json

    name = f"[{host}]" if ":" in host else host
    base_url = f"http://{name}:{port}/v1"
    if as_json:
        print(json.dumps({"port": port, "base_url": base_url, "models": models}), flush=True)
        return
    print(f"Simulated engine at {base_url} with {', '.join(models)}. Ctrl-C ends it.", flush=True)
