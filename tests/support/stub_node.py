"""Stands in for `overnight.node`: keeps the supervisor's protocol and does no work.

Each process leaves `DIR/seen/PID.json`, `{"role", "assignment", "end"}`. Files in the data folder
steer it: `migrate-code` (exit code of that role), `fragile` (exit 7 at once), `stubborn`
(ignore SIGTERM).
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    parser.add_argument("--assignment", type=int, required=True)
    parser.add_argument("--lock", type=int, required=True)
    parser.add_argument("--socket", type=int)
    args = parser.parse_args()
    os.fstat(args.lock)
    pipe = os.fdopen(args.assignment, "rb", buffering=0)
    assignment = json.loads(pipe.readline())
    folder = Path(assignment["settings"]["data_dir"])
    record = {"role": args.role, "assignment": assignment, "end": None}
    signal.signal(signal.SIGTERM, lambda *_: on_term(folder, record))
    save(folder, record)
    if args.role == "migrate":
        sys.exit(int(read(folder / "migrate-code") or 0))
    if (folder / "fragile").exists():
        sys.exit(7)
    if args.socket is not None:
        threading.Thread(target=serve, args=(args.socket,), daemon=True).start()
    pipe.read()
    save(folder, record | {"end": "eof"})
    os._exit(0)


def on_term(folder: Path, record: dict[str, Any]) -> None:
    if (folder / "stubborn").exists():
        save(folder, record | {"end": "refused"})
        return
    save(folder, record | {"end": "term"})
    os._exit(0)


def serve(listen_fd: int) -> None:
    listener = socket.socket(fileno=listen_fd)
    while True:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            body = f"{os.getpid()}".encode()
            head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)


def save(folder: Path, record: dict[str, Any]) -> None:
    seen = folder / "seen"
    seen.mkdir(exist_ok=True)
    new = seen / f"{os.getpid()}.new"
    new.write_text(json.dumps(record))
    new.replace(seen / f"{os.getpid()}.json")


def read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    main()
