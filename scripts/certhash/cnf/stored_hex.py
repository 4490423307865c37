"""Collect certificates that a configuration stores in hex, below their ``certificate ...`` lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from certhash.certfile import check_certificate
from certhash.cnf.configuration import Configuration, Role, Stored
from certhash.digest import sha1

if TYPE_CHECKING:
    from certhash.cnf.terminal import Line

_ROLES: dict[str | None, Role] = {"ca": "ca", "self-signed": "self-signed", None: "leaf"}
_CERTIFICATE = re.compile(
    r"certificate(?P<next> rollover)?(?: (?P<kind>self-signed|ca))? (?:[0-9A-F]+|[X*.]{2,}|<\w+>|\[\w+\])"
    r"(?: (?P<file>\S+:\S*))?",
    re.IGNORECASE,
)
"""People replace the serial number with ``xxxx`` or ``<removed>``; nothing depends on it."""
PASTE_IT = "paste it whole, or add the output of `show crypto pki certificates verbose`"
_HEX = re.compile(r"[0-9A-Fa-f]*")
_BARE_HEX = re.compile(r"30 ?8[0-4][0-9A-Fa-f ]{28,}")
"""The first line of a certificate's hex without its ``certificate ...`` line: 16 bytes or more."""


class StoredHex:
    """The certificate whose hex is being collected, if there is one.

    Args:
        configuration: receives the certificates.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.chain: str | None = None
        """The trustpoint of the open ``crypto pki certificate chain``."""
        self._certificate: tuple[Line, Role | None] | None = None
        self._hex: list[str] = []

    def begin(self, line: Line) -> bool:
        """Begin a certificate at its ``certificate ...`` line, or at the first line of hex without one."""
        found = _CERTIFICATE.fullmatch(line.text)
        if not found:
            if line.typed or not _BARE_HEX.fullmatch(line.text):
                return False
            self._certificate, self._hex = (line, None), ["".join(line.text.split())]
            return True
        role = None if found["next"] else _ROLES[found["kind"] and found["kind"].lower()]
        if found["file"]:
            stored = Stored(line.number, self.chain, role, b"", None, found["file"])
            self.configuration.stored.append(stored)
        else:
            self._certificate, self._hex = (line, role), []
        return True

    def take(self, line: Line) -> bool:
        """Add a line of hex, and return whether it is one; another line ends the certificate."""
        if self._certificate is None:
            return False
        digits, ends, _ = line.text.partition("quit")
        digits = "".join(digits.split())
        is_hex = not line.typed and _HEX.fullmatch(digits) is not None
        if is_hex:
            self._hex.append(digits)
        if ends or not is_hex:
            self.close()
        return is_hex

    def close(self) -> None:
        """End the certificate, and store it."""
        if self._certificate is None:
            return
        (line, role), self._certificate = self._certificate, None
        try:
            der = _certificate_of("".join(self._hex))
        except ValueError as error:
            self.configuration.damaged[self.chain] = str(error)
            self.configuration.damaged_roles.add((self.chain, role))
            of = f"of trustpoint {self.chain}" if self.chain else ""
            self.configuration.complain(line, f"{of}: {error}")
            return
        self.configuration.stored.append(Stored(line.number, self.chain, role, sha1(der), der))
        if not _CERTIFICATE.fullmatch(line.text):
            self.configuration.left_open.append((line, "the line that names its trustpoint is missing"))


def _certificate_of(digits: str) -> bytes:
    """Return the DER in a configuration's hex; its own length field shows whether it is complete.

    Raises:
        ValueError: it is not exactly one certificate; the message is one line that says what to do.
    """
    if not digits:
        raise ValueError(f"the hex of this certificate was removed from the text: {PASTE_IT}")
    if len(digits) % 2:
        raise ValueError(f"the hex of this certificate is cut short: {PASTE_IT}")
    try:
        return check_certificate(bytes.fromhex(digits))
    except ValueError as error:
        raise ValueError(f"the hex of this certificate cannot be used ({error}): {PASTE_IT}") from error
