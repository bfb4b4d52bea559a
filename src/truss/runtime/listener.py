"""The listening socket: opened before anything else, closed without resetting a connection."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
import sys

from truss.errors import ServerStartError

BACKLOG = 2048

_SO_ATTACH_FILTER = 26
_RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K with 0 bytes: drop the packet


def listen(host: str, port: int, *, silent: bool = False) -> socket.socket:
    """A listening socket; with `silent` it has its port, and refuses connections until a server listens.

    Raises:
        ServerStartError: the port is taken, not allowed, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        if not silent:
            listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServerStartError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", hint=_hint(error, port)
        ) from error
    except OverflowError as error:
        listener.close()
        raise ServerStartError(f"there is no port {port}", hint="ports are 0 to 65535") from error
    listener.setblocking(False)
    return listener


def _hint(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program uses the port: stop it, or choose another with --port {port + 1}"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges: choose a higher one with --port"
    return "choose an address of this machine with --host, e.g. 127.0.0.1 or 0.0.0.0"


def address(listener: socket.socket, scheme: str = "http") -> str:
    """The URL of a listening socket, e.g. `http://127.0.0.1:8080`."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def take_no_more(listener: socket.socket) -> None:
    """Let no further connection begin, while those that have begun can still be accepted.

    Closing a listening socket resets the connections that the kernel has completed and nobody has
    accepted yet: their clients have sent requests already. So before it is closed, a packet filter on it
    drops what arrives; a client that comes now tries again, and is refused once the socket is closed.
    Linux only, and not in every container: elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_RETURN_NOTHING)
    # struct sock_fprog: the number of instructions, and a pointer to them.
    filtering = struct.pack("HP", 1, ctypes.addressof(program))
    with contextlib.suppress(OSError):  # some container engines do not allow filters
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtering)
