"""Places for Unix sockets: pytest's own folders have longer names than a socket may have."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def socket_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="uds") as folder:
        yield Path(folder)
