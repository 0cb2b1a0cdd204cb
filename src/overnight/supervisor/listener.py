"""The socket that clients connect to, bound before anything else is started."""

import errno
import os
import socket
from typing import Final

from overnight.domain.errors import ConfigurationError

_BACKLOG: Final = 2048
"""Clients that may queue while the API restarts."""


def bind(host: str, port: int) -> socket.socket:
    """Bind and listen; port 0 takes a free one. Raises `ConfigurationError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigurationError(f"There is no address '{host}' to listen on.") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(host, port, error) from error
    return listener


def _refusal(host: str, port: int, error: OSError) -> ConfigurationError:
    match error.errno:
        case errno.EADDRINUSE:
            refusal = ConfigurationError(f"Port {port} of {host} is in use by another program.")
            refusal.add_note("Choose another with --port; --port 0 takes a free one.")
        case errno.EACCES:
            refusal = ConfigurationError(f"Port {port} is reserved for the system's own services.")
            refusal.add_note("Choose one from 1024 up with --port.")
        case errno.EADDRNOTAVAIL:
            refusal = ConfigurationError(f"{host} is no address of this machine.")
            refusal.add_note("Choose one with --host; 127.0.0.1 is this machine only.")
        case number:
            reason = os.strerror(number) if number else str(error)
            refusal = ConfigurationError(f"Can not listen on {host} port {port}: {reason}.")
    return refusal
