"""Make the environments that hold the official SDKs and their like, one each, outside the tree.

    python -m tests.sdk.prepare          from the checkout's root; `make test` does it

Their locks are beside this file. Several checkouts share them: a folder is named by the digest of
what it was made from. What can not be installed fails the run, for a promise not tested is none.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.sdk.node import NodeEnvironment
from tools.environment import ROOT, Environment

LOCKS = Path(__file__).resolve().parent


def names() -> list[str]:
    """`together-1`, `openai-3`, …: a product and the major version of its SDK."""
    return sorted(lock.stem for lock in LOCKS.glob("*.lock"))


def environment_of(name: str) -> Environment:
    """Raises `ValueError` when no lock has that name."""
    lock = LOCKS / f"{name}.lock"
    if not lock.exists():
        raise ValueError(f"No SDK is called {name!r}; there are {', '.join(names())}.")
    unnamed = Environment(folder=_cache(), lock=lock)
    return Environment(_cache() / f"{name}-{unnamed.digest()[:16]}", lock)


def node_names() -> list[str]:
    """`npm-openai-6`, …: folders with a `package-lock.json`."""
    return sorted(lock.parent.name for lock in LOCKS.glob("*/package-lock.json"))


def node_environment_of(name: str) -> NodeEnvironment:
    unnamed = NodeEnvironment(folder=_cache(), source=LOCKS / name)
    return NodeEnvironment(_cache() / f"{name}-{unnamed.digest()[:16]}", LOCKS / name)


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    existing = next(path for path in (base, *base.parents) if path.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        return base / "overnight" / "sdk"
    return ROOT / ".cache" / "sdk"


def main() -> int:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
        pending = {name: threads.submit(environment_of(name).make) for name in names()}
        for name in node_names():
            pending[name] = threads.submit(node_environment_of(name).make)
    failed = 0
    for name, made in pending.items():
        try:
            made.result()
        except subprocess.CalledProcessError as failure:
            failed += 1
            sys.stderr.write(
                f"{failure.output}\nCould not install {name}; the lines above say why.\n"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
