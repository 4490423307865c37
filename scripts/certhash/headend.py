"""Parse the URL of a ``urlN`` element: the host and port that a phone connects to.

No name is resolved. RFC 3986 defines the syntax of an authority and the meaning of an empty port, RFC 1035
the maximum lengths of names.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from msgspec import Struct

HTTPS_PORT = 443
HIGHEST_PORT = 65535
LONGEST_NAME = 253

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#\\]*)")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


class HeadEnd(Struct, frozen=True):
    """A VPN head-end from a URL, normalized so that equal head-ends compare equal."""

    host: str
    """Lower case, no final dot; an address as :mod:`ipaddress` writes it, IPv6 without brackets."""
    port: int
    is_address: bool

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(text: str) -> HeadEnd:
    """Return the host and port of a head-end's URL.

    Raises:
        ValueError: the text is not the https URL of one host; the message is one line without the URL itself.
    """
    text = text.strip()
    if not text:
        raise ValueError("the URL is empty")
    if not text.isprintable() or " " in text:
        raise ValueError("the URL contains blanks or control characters")
    found = _URL.match(text)
    if not found:
        raise ValueError("the URL does not start with https:// and a host")
    if found["scheme"].lower() != "https":
        raise ValueError(f"the URL starts with {found['scheme']}://, but a phone's VPN client needs https://")
    if "\\" in text:
        # RFC 3986 has no backslash; browsers treat it as a slash, other programs as part of the host.
        raise ValueError("the URL contains a backslash, and it is unknown how a phone handles that")
    if "@" in found["authority"]:
        raise ValueError("the URL contains a user name, which a head-end's URL cannot have")
    parts = _AUTHORITY.fullmatch(found["authority"])
    if not parts:
        raise ValueError("the URL's host is ambiguous: an IPv6 address needs [ ] around it")
    host, is_address = _read_host(parts["host"])
    return HeadEnd(host, _read_port(parts["port"]), is_address)


def plain_name(name: str) -> str:
    """Return a host name normalized for comparison: lower case (RFC 4343), without the final dot."""
    return name.lower().rstrip(".")


@lru_cache(maxsize=65536)
def read_address(text: str) -> str | None:
    """Return an IPv4 or IPv6 address in its normal form, or None if the text is not an address.

    An IPv4-mapped IPv6 address (``::ffff:10.1.1.1``) becomes the IPv4 address, which the packets carry.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _read_host(text: str) -> tuple[str, bool]:
    if text.startswith("["):
        address = read_address(text[1:-1])
        if address is None or "%" in address:
            raise ValueError(f"the URL's host {text} is not an IPv6 address")
        return address, True
    name = text.lower().removesuffix(".")
    if not name:
        raise ValueError("the URL has no host")
    if not name.isascii():
        name = _to_ascii(name)
    labels = name.split(".")
    if labels[-1].isdigit():
        # No top-level domain is a number, so this can only be an IPv4 address.
        address = read_address(name)
        if address is None:
            raise ValueError(f"the URL's host {text} is neither an IPv4 address nor a name")
        return address, True
    if len(name) > LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"the URL's host {text} is not a valid name")
    return name, False


def _to_ascii(name: str) -> str:
    """Return an internationalised name in the form that DNS and SNI use."""
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise ValueError(f"the URL's host {name} is not a valid name") from error


def _read_port(text: str | None) -> int:
    if not text:
        return HTTPS_PORT
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(HIGHEST_PORT))):
        raise ValueError(f"the URL's port {text} is not a number from 1 to {HIGHEST_PORT}")
    port = int(text)
    if not 1 <= port <= HIGHEST_PORT:
        raise ValueError(f"the URL's port {text} is not a number from 1 to {HIGHEST_PORT}")
    return port
