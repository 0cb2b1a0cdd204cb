"""Record the commands as they are and draw them into docs/images.

    python -m tools.screens [NAME …]        from the checkout's root; all of them by default

Each scene runs the real program on a terminal of its own, against `overnight sim` and `overnight
serve` where it needs them. Times, ports and rates differ from one recording to the next.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from overnight.cli.demo.novel import paragraphs
from overnight.cli.demo.processes import running
from tools.screens.frames import frames
from tools.screens.recording import Size
from tools.screens.session import Session
from tools.screens.svg import drawing

ROOT: Final = Path(__file__).resolve().parent.parent.parent
IMAGES: Final = ROOT / "docs" / "images"
COLUMNS: Final = 100

_FAULTY: Final = b"""\
{"custom_id": "one", "body": {"model": "sim", "messages": [{"role": "user", "content": "Hello"}]}}
{"custom_id": "two", "body": {"model": "sim", "messages": [{"role": "user", "content": "Hello"}]}
{"custom_id": "one", "body": {"model": "sim", "messages": [{"role": "user", "content": "Again"}]}}
{"custom_id": "four", "body": {"messages": [{"role": "user", "content": "Hello"}]}}
{"custom_id": "five", "body": {"model": "sim", "stream": true, "messages": []}}
{"custom_id": "six", "url": "/v1/embeddings", "body": {"model": "sim", "messages": []}}
"""


def validate(session: Session) -> None:
    (session.folder / "prompts.jsonl").write_bytes(_FAULTY)
    session.run("overnight validate prompts.jsonl --endpoint /v1/chat/completions")


def run(session: Session) -> None:
    """Stopped once, and gone on with by the same command."""
    with _engine(session.folder, "--error-rate", "0.02") as url:
        _write_prompts(session.folder)
        command = f"overnight run prompts.jsonl -o answers.jsonl --upstream {url}"
        session.run(command, interrupt_when=lambda text: "300/600" in text or " 5" in text[-40:])
        session.run(command)


def watch(session: Session) -> None:
    with _engine(session.folder) as url, _service(session.folder, url):
        _write_prompts(session.folder)
        session.run("overnight submit prompts.jsonl --watch --output answers.jsonl")
        session.run("overnight jobs list")


def doctor(session: Session) -> None:
    with _engine(session.folder) as url, _service(session.folder, url):
        _write_prompts(session.folder)
        session.unseen("overnight submit prompts.jsonl --watch")
        session.run("overnight doctor --data-dir data")


SCENES: Final[Mapping[str, Callable[[Session], None]]] = {
    "validate": validate,
    "run": run,
    "watch": watch,
    "doctor": doctor,
}


@contextmanager
def _engine(folder: Path, *flags: str) -> Iterator[str]:
    words = ("sim", "--port", "0", "--model", "sim", "--latency-ms", "200-900", *flags)
    with running(*words, folder=folder) as engine:
        yield str(engine["base_url"])


@contextmanager
def _service(folder: Path, url: str) -> Iterator[None]:
    """On the port where all commands look for it; it must be free."""
    with running("serve", "--data-dir", "data", "--upstream", url, folder=folder):
        yield


def _write_prompts(folder: Path) -> None:
    prompts = b"".join(paragraph.request("sim") for paragraph in paragraphs())
    (folder / "prompts.jsonl").write_bytes(prompts)


def main(names: list[str]) -> None:
    IMAGES.mkdir(exist_ok=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name in names or list(SCENES):
        with tempfile.TemporaryDirectory(prefix="overnight-screens-") as folder:
            session = Session(Path(folder), Size(COLUMNS))
            SCENES[name](session)
        target = IMAGES / f"{name}.svg"
        target.write_text(drawing(frames(session.recording), f"overnight {name}", COLUMNS))
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
