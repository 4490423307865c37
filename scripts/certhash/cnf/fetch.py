"""Download a cnf file as a phone does, over TFTP or HTTP (``http://HOST:6970/SEP....cnf.xml``).

tftpy implements TFTP, for IPv4 only; this module limits size and time. The standard library's plain client
implements HTTP, without the environment's proxy, redirection or credentials: a phone does not use them
either.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import struct
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from certhash.cnf.rules import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 3.0
"""Seconds to wait for an answer, and again for each of two repetitions."""
LIMIT = 30.0
"""Seconds for a whole transfer."""
TFTP_PORT, HTTP_PORT = 69, 80


def fetch(url: str) -> bytes:
    """Return a file, downloaded over TFTP or HTTP as a phone does.

    Raises:
        ValueError: the download failed or exceeded the limits; the message is one line that says why.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        raise ValueError("https is not fetched: use http://HOST:6970/FILE or tftp://HOST/FILE")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"it is not a valid address: {error}") from error
    path = unquote(parts.path)
    if not host or not path.strip("/"):
        raise ValueError("it does not name a host and a file: write tftp://HOST/SEP001122334455.cnf.xml")
    try:
        if parts.scheme == "tftp":
            return _tftp(host, port or TFTP_PORT, path.lstrip("/"))
        return _http(host, port or HTTP_PORT, parts.path)
    except socket.gaierror as error:
        raise ValueError(f"the name {host} cannot be resolved") from error
    except TimeoutError as error:
        raise ValueError(f"no answer from {host} in time") from error
    except OSError as error:
        raise ValueError(f"{host} cannot be reached ({error.strerror or error})") from error


def _watch() -> Callable[[int], None]:
    """Return a function that takes the number of bytes so far and raises if a limit is exceeded."""
    end = time.monotonic() + LIMIT

    def check(size: int) -> None:
        if size > LARGEST:
            raise ValueError("it is too large for a phone's config, and the download was stopped")
        if time.monotonic() > end:
            raise ValueError(f"the transfer took longer than {LIMIT:.0f} seconds and was stopped")

    return check


def _tftp(host: str, port: int, name: str) -> bytes:
    # Imported here, because no other source needs it.
    from tftpy import TftpClient
    from tftpy.TftpShared import TftpException, TftpFileNotFoundError, TftpTimeout

    if ":" in host:
        raise ValueError(
            "certhash supports TFTP over IPv4 only: download the file with "
            f"`curl -O 'tftp://[{host}]/{name}'`, and give that file"
        )
    # tftpy would print a warning for each repetition on the user's terminal.
    logging.getLogger("tftpy").propagate = False
    logging.getLogger("tftpy").addHandler(logging.NullHandler())
    check = _watch()
    content = io.BytesIO()
    said = ""

    def watch(packet: object) -> None:
        nonlocal said
        said = _first_line(getattr(packet, "errmsg", None) or b"")
        check(content.tell())

    try:
        TftpClient(host, port).download(name, content, packethook=watch, timeout=PATIENCE)
    except TftpTimeout as error:
        raise ValueError(f"no answer from {host} port {port} over TFTP") from error
    except TftpFileNotFoundError as error:
        raise ValueError(f"there is no such file on {host}") from error
    except (TftpException, struct.error) as error:
        raise ValueError(f"{host} refuses it over TFTP ({said or _first_line(str(error))})") from error
    return content.getvalue()


def _http(host: str, port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    check = _watch()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ValueError(f"{host} answers {answer.status} {_first_line(answer.reason)}")
        content = b""
        while part := answer.read1(65536):
            content += part
            check(len(content))
        if answer.length:
            raise ValueError(f"{host} closed the connection before the file was complete")
    except http.client.HTTPException as error:
        raise ValueError(f"{host} sends no valid HTTP response ({type(error).__name__})") from error
    finally:
        connection.close()
    return content


def _first_line(text: str | bytes) -> str:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return " ".join(text.split())[:100]
