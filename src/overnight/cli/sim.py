"""`overnight sim`: a simulated inference engine."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.sim import SimOptions, Stats


UdsOption = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Unix socket to listen on instead, as vLLM's --uds."),
]
LatencyOption = Annotated[
    str, typer.Option(metavar="LO[-HI]", help="Time an attempt takes, uniform in between.")
]
SpeedOption = Annotated[
    float | None, typer.Option(metavar="N", help="Speed of writing one reply; instant by default.")
]
TotalSpeedOption = Annotated[
    float | None,
    typer.Option(metavar="N", help="What all replies at once approach, as each gets slower."),
]
PrefillSpeedOption = Annotated[
    float | None, typer.Option(metavar="N", help="Speed of reading prompts; instant by default.")
]
SlotsOption = Annotated[
    int | None, typer.Option(metavar="N", help="Requests worked on at once; others wait.")
]
CacheOption = Annotated[
    int | None, typer.Option(metavar="N", help="Memory for the prompts and replies at work.")
]
ContextOption = Annotated[
    int | None, typer.Option(metavar="N", help="Most tokens of a prompt with its reply.")
]
ReplyOption = Annotated[
    str | None, typer.Option(metavar="LO[-HI]", help="Length of replies, uniform in between.")
]
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND[=RATE]",
        help="Share of attempts (0.01 if not given) with a fault: reset, hang, slow, garbage, cut,"
        " or a status such as 429; may be repeated.",
    ),
]


def sim(  # noqa: PLR0913, PLR0917  an option each
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 takes a free one."),
    ] = 8025,
    uds: UdsOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A model to serve; may be repeated. [default: sim]"),
    ] = None,
    latency_ms: LatencyOption = "0",
    tokens_per_second: SpeedOption = None,
    total_tokens_per_second: TotalSpeedOption = None,
    prefill_tokens_per_second: PrefillSpeedOption = None,
    max_num_seqs: SlotsOption = None,
    kv_cache_tokens: CacheOption = None,
    max_model_len: ContextOption = None,
    reply_tokens: ReplyOption = None,
    error_rate: Annotated[
        float,
        typer.Option(metavar="F", help="Share of attempts that fail with 500 or 503, 0 to 1."),
    ] = 0.0,
    fault: FaultOption = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Same seed, same replies and faults.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Simulate an OpenAI-compatible engine, such as vLLM.

    Replies, latencies and faults follow from the seed and the request. Answers `/metrics` as
    vLLM does.

    \b
    Example:
      overnight sim --tokens-per-second 100 --total-tokens-per-second 10000
    """
    from overnight.sim import SimOptions, parse_faults

    options = SimOptions(
        models=tuple(model or ["sim"]),
        latency_ms=parse_latency(latency_ms),
        tokens_per_second=tokens_per_second,
        total_tokens_per_second=total_tokens_per_second,
        prefill_tokens_per_second=prefill_tokens_per_second,
        max_num_seqs=max_num_seqs,
        kv_cache_tokens=kv_cache_tokens,
        max_model_len=max_model_len,
        reply_tokens=parse_reply_tokens(reply_tokens) if reply_tokens else None,
        error_rate=error_rate,
        faults=parse_faults(fault or ()),
        seed=seed,
    )
    if uds is None:
        _serve(options, host, port, as_json=as_json)
    else:
        _serve_unix(options, uds.absolute(), as_json=as_json)


def parse_latency(text: str) -> tuple[float, float]:
    """`"20"` or `"20-80"`, in milliseconds. Raises `ConfigurationError`."""
    low, dash, high = text.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError:
        raise ConfigurationError(
            f"--latency-ms takes milliseconds as LO or LO-HI, such as 20 or 20-80, not {text!r}"
        ) from None


def parse_reply_tokens(text: str) -> tuple[int, int]:
    """`"200"` or `"100-500"`. Raises `ConfigurationError`."""
    low, dash, high = text.partition("-")
    try:
        return int(low), int(high if dash else low)
    except ValueError:
        raise ConfigurationError(
            f"--reply-tokens takes LO or LO-HI, such as 200 or 100-500, not {text!r}"
        ) from None


def _serve(options: "SimOptions", host: str, port: int, *, as_json: bool) -> None:
    import os

    from overnight.sim import serve

    def announce(bound: int) -> None:
        name = f"[{host}]" if ":" in host else host
        place = {"port": bound, "base_url": f"http://{name}:{bound}/v1"}
        _print_address(place, options, as_json=as_json)

    try:
        stats = serve(options, host, port, announce)
    except OSError as error:
        # asyncio's own text repeats the address; a name that does not resolve has no errno of ours.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        raise ConfigurationError(f"can not listen on {host}:{port}: {reason}") from None
    _print_summary(stats, as_json=as_json)


def _serve_unix(options: "SimOptions", path: Path, *, as_json: bool) -> None:
    from overnight.domain.unix_url import UnixUrl
    from overnight.sim import serve_unix

    if path.exists() and not path.is_socket():
        raise ConfigurationError(f"can not listen on {path}: it is there, and no socket")
    base_url = str(UnixUrl(str(path), "/v1"))

    def announce() -> None:
        place = {"uds": str(path), "base_url": base_url}
        _print_address(place, options, as_json=as_json)

    try:
        stats = serve_unix(options, path, announce)
    except OSError as error:
        raise ConfigurationError(f"can not listen on {path}: {error.strerror or error}") from None
    _print_summary(stats, as_json=as_json)


def _print_summary(stats: "Stats", *, as_json: bool) -> None:
    if not as_json:
        begun = "\n" if sys.stdout.isatty() else ""  # The line that the terminal's ^C is on.
        print(f"{begun}{summary(stats)}", flush=True)


def _print_address(place: Mapping[str, object], options: "SimOptions", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**place, "models": options.models}), flush=True)
        return
    models = ", ".join(options.models)
    print(f"Simulated engine at {place['base_url']} with {models}. Ctrl-C ends it.")
    for label, said in description(options):
        print(f"  {label:8}  {said}")
    print(end="", flush=True)


def description(options: "SimOptions") -> list[tuple[str, str]]:
    """What is simulated: a label and a phrase each."""
    said = [("speed", _speed(options))]
    if options.max_num_seqs is not None:
        said.append(("batch", f"{options.max_num_seqs:,} requests at once, others wait"))
    if options.kv_cache_tokens is not None:
        said.append(("memory", f"KV cache of {options.kv_cache_tokens:,} tokens"))
    if options.context_tokens is not None:
        said.append(("context", f"{options.context_tokens:,} tokens of prompt and reply"))
    if options.reply_tokens is not None:
        said.append(("replies", f"{_between(options.reply_tokens)} tokens long"))
    rates = [*options.faults]
    if options.error_rate:
        rates.insert(0, ("500 or 503", options.error_rate))
    if rates:
        said.append(("faults", ", ".join(f"{kind} {rate:.3g}" for kind, rate in rates)))
    return said


def _speed(options: "SimOptions") -> str:
    parts = []
    if options.latency_ms[1]:
        parts.append(f"{_between(options.latency_ms)} ms")
    if options.prefill_tokens_per_second is not None:
        parts.append(f"reads {options.prefill_tokens_per_second:,.10g} tokens/s")
    if options.tokens_per_second is not None:
        writes = f"writes {options.tokens_per_second:,.10g} tokens/s alone"
        if options.total_tokens_per_second is not None:
            writes += f", up to {options.total_tokens_per_second:,.10g} in all"
        parts.append(writes)
    return ", ".join(parts) or "answers at once"


def _between(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def summary(stats: "Stats") -> str:
    """Of a simulation that has ended."""
    if not stats["requests"]:
        return "No requests."
    sent = ", ".join(f"{n:,} with {status}" for status, n in stats["by_status"].items())
    lines = [f"{stats['requests']:,} requests; answered: {sent or 'no one'}."]
    if stats["repeated"]:
        lines.append(f"{stats['repeated']:,} of them had had their answer before.")
    lines.append(f"{stats['prompt_tokens']:,} tokens read, {stats['generation_tokens']:,} written.")
    if stats["by_fault"]:
        faults = ", ".join(f"{kind} {n:,}" for kind, n in sorted(stats["by_fault"].items()))
        lines.append(f"Faults: {faults}.")
    return "\n".join(lines)
