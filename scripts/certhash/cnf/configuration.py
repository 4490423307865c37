"""Running-configurations of IOS (CME) and ASA: the lines that matter, gathered section by section.

Sections are told by their first line, not by indentation alone, since pasted configurations have often lost
it. A log of commands takes things back with ``no``: what holds at its end counts. What the lines mean is in
:mod:`certhash.cnf.ios` and :mod:`certhash.cnf.asa`. Syntax: Cisco's CME administrator guide and command
reference (``voice service voip``), IOS SSL VPN configuration guide (``webvpn gateway``) and ASA command
reference (``ssl trust-point``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from certhash.certfile import check_certificate
from certhash.cnf.abbreviations import expand
from certhash.cnf.terminal import Line
from certhash.digest import sha1
from certhash.headend import read_address

if TYPE_CHECKING:
    from collections.abc import Callable

Role = Literal["leaf", "ca", "self-signed"]


class Stored(Struct, frozen=True):
    """A certificate that a configuration or a show command names under a trustpoint."""

    line: int
    trustpoint: str | None
    role: Role | None
    sha1: bytes
    """Empty where its bytes are not there."""
    der: bytes | None
    file: str | None = None
    """Where a saved configuration says the bytes are (``nvram:...``)."""


class Trustpoint(Struct, frozen=True):
    """``vpn-trustpoint NUMBER raw|trustpoint NAME leaf|root``."""

    number: int
    form: str
    name: str
    end: str | None
    line: int
    text: str


class Group(Struct):
    """``vpn-group`` of ``voice service voip``."""

    line: int
    gateways: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Number to URL and line."""
    trustpoints: dict[int, Trustpoint] = field(default_factory=dict)
    hash_algorithm: bool = False
    """``vpn-hash-algorithm sha-1`` is there."""


class Ephone(Struct):
    """``ephone``, with what ties it to a group."""

    line: int
    mac: str | None = None
    group: int | None = None
    profile: int | None = None


class Gateway(Struct):
    """``webvpn gateway`` of IOS."""

    address: str | None = None
    interface: str | None = None
    port: int = 443
    trustpoint: tuple[str, int] | None = None
    in_service: bool = False


class Interface(Struct):
    """``interface``: the addresses, and ASA's name for it."""

    name: str | None = None
    addresses: list[str] = field(default_factory=list)


class Configuration(Struct):
    """All that was found; a pasted text may hold several devices' worth of it, or half of one."""

    stored: list[Stored] = field(default_factory=list)
    groups: dict[int, Group] = field(default_factory=dict)
    profiles: dict[int, bool | None] = field(default_factory=dict)
    """``vpn-profile``: the host-ID check, None where it says nothing."""
    ephones: dict[int, Ephone] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)
    ssl_trustpoints: list[tuple[str, str | None, int]] = field(default_factory=list)
    """ASA: trustpoint, interface (None: all others), line."""
    webvpn_interfaces: set[str] = field(default_factory=set)
    webvpn_port: int = 443
    damaged: dict[str | None, str] = field(default_factory=dict)
    """Trustpoint to what is wrong with the hex of its certificate; :attr:`problems` says so, too."""
    without_fingerprint: list[tuple[Line, tuple[str, ...]]] = field(default_factory=list)
    """Certificates that a show command describes without a fingerprint: the line, and their trustpoints."""
    problems: list[str] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    """The numbers of the lines that a reader used, or that a problem names (:mod:`certhash.cnf.unread`)."""


def parse(lines: list[Line]) -> Configuration:
    """Gather what the lines of one pasted text configure; what cannot be read goes to ``problems``."""
    reader = _Reader()
    for index, line in enumerate(lines):
        if line.typed and _was_refused(lines, index):
            reader.configuration.taken.add(line.number)
        else:
            reader.take(replace(line, text=expand(line.text)) if line.typed else line)
    reader.finish()
    return reader.configuration


def _was_refused(lines: list[Line], index: int) -> bool:
    """Tell whether IOS or ASA answered a typed line with an error, so that it changed nothing."""
    for line in lines[index + 1 : index + 3]:
        if line.typed:
            return False
        if _REFUSAL.match(line.text):
            return True
    return False


_REFUSAL = re.compile(
    r"(?:ERROR: )?% ?(?:Invalid input|(?:Incomplete|Ambiguous|Unrecognized|Unknown) command)",
    re.IGNORECASE,
)
"""``% Invalid input detected at '^' marker.``, below a line with the marker; ASA puts ``ERROR:`` before."""


def _match(pattern: str, text: str) -> re.Match[str] | None:
    """Match a whole line: IOS and ASA take keywords in either case."""
    return re.fullmatch(pattern, text, re.IGNORECASE)


_ROLES: dict[str | None, Role] = {"ca": "ca", "self-signed": "self-signed", None: "leaf"}
_CERTIFICATE = re.compile(
    r"certificate(?P<next> rollover)?(?: (?P<kind>self-signed|ca))? [0-9A-F]+(?: (?P<file>\S+:\S*))?",
    re.IGNORECASE,
)
PASTE_IT = "paste it whole, or add the output of `show crypto pki certificates verbose`"
_LONGEST_SHOWN = 80
"""Characters of a line that is repeated in a message."""
_BARE_HEX = re.compile(r"30 ?8[0-4][0-9A-Fa-f ]{28,}")
"""The first line of a certificate's hex whose ``certificate ...`` line is not there: 16 bytes or more."""
_ONCE = re.compile(
    r"(?:vpn-gateway \d+|vpn-trustpoint (?P<trustpoint>\d{1,5})|host-id-check|mac-address|nameif"
    r"|ssl trustpoint|ip address(?!.* secondary$)) ",
    re.IGNORECASE,
)
_NUMBER = r"(\d{1,5})"


class _Reader:
    """The state between lines: which section is open, and the certificate whose hex is being collected."""

    def __init__(self) -> None:
        self.configuration = Configuration()
        self._section: Callable[[Line], bool] | None = None
        self._indented = False
        self._chain: str | None = None
        self._certificate: tuple[Line, Role | None] | None = None
        self._hex: list[str] = []
        self._group_open: Group | None = None
        self._once: dict[str, Line] = {}
        """Of the open section, the lines that it can have once, by what they set."""

    def take(self, line: Line) -> None:
        taken = self.configuration.taken
        if self._certificate and self._take_hex(line):
            taken.add(line.number)
            return
        # In a text that has its indentation, a line without it ends the section.
        left = self._indented and not line.indented and not line.typed
        if line.text == "!" or left:
            self._section = self._chain = None
        if self._begin_certificate(line):
            taken.add(line.number)
            return
        if self._open(line) or self._take_back(line.text):
            taken.add(line.number)
            self._once.clear()
            self._indented = False
            return
        if self._section is None:
            self._section = self._voice
        if self._is_second(line) or self._section(line):
            taken.add(line.number)
        self._indented = self._indented or (line.indented and self._section != self._voice)

    def finish(self) -> None:
        self._close_certificate()

    def _is_second(self, line: Line) -> bool:
        """Tell whether a section sets something twice: the line that ends it and begins another is lost.

        The first of the two belongs to the section that is open, and nothing that follows does. What somebody
        typed may well change what was set before.
        """
        found = _ONCE.match(line.text)
        if not found or line.typed or self._section in (self._voice, _pass_over):
            return False
        first = self._once.setdefault(found[0].lower(), line)
        if first.text == line.text:
            return False
        self._complain(
            line, f"sets again what line {first.number} sets: a line that stands between them is missing"
        )
        self._section = _pass_over
        if found["trustpoint"] and self._group_open:
            # Which of the two the group has nobody can tell.
            number = int(found["trustpoint"])
            self._group_open.trustpoints[number] = Trustpoint(number, "", "", None, first.number, first.text)
        return True

    # -------------------------------------------------- sections, by their first line

    def _open(self, line: Line) -> bool:
        """Open the section that a line begins, if it begins one."""
        configuration, text = self.configuration, line.text
        if found := _match(r"crypto (?:pki|ca) certificate chain (\S+)", text):
            self._chain = found[1]
            self._section = _pass_over
        elif _match(r"voice service voip", text):
            self._section = self._voice
        elif found := _match(r"ephone +" + _NUMBER, text):
            ephone = configuration.ephones.setdefault(int(found[1]), Ephone(line.number))
            self._section = lambda line: self._ephone(ephone, line)
        elif found := _match(r"webvpn gateway (\S+)", text):
            gateway = configuration.gateways.setdefault(found[1], Gateway())
            self._section = lambda line: self._gateway(gateway, line)
        elif found := _match(r"interface (\S.*)", text):
            interface = configuration.interfaces.setdefault(_plain(found[1]), Interface())
            self._section = lambda line: self._interface(interface, line)
        elif text.lower() == "webvpn":
            self._section = self._webvpn
        elif found := _match(r"ssl trust-point (\S+)(?: (\S+))?(?: (\S+))?", text):
            # `domain NAME` answers to one name, `vpnlb-ip` to the shared address of a cluster.
            interface_name = found[2].lower() if found[2] else None
            if interface_name != "domain" and found[3] is None:
                configuration.ssl_trustpoints.append((found[1], interface_name, line.number))
        elif re.match(
            r"(?:webvpn context|telephony-service|ephone-\w+|dial-peer|line|router) ?", text, re.IGNORECASE
        ):
            self._section = _pass_over
        else:
            return False
        return True

    def _take_back(self, text: str) -> bool:
        """Forget what a ``no`` line names; one that stands within a section is left to that."""
        configuration = self.configuration
        if found := _match(r"no ephone +" + _NUMBER, text):
            configuration.ephones.pop(int(found[1]), None)
        elif found := _match(r"no webvpn gateway (\S+)", text):
            configuration.gateways.pop(found[1], None)
        elif found := _match(r"no ssl trust-point (\S+)(?: (\S+))?", text):
            interface = found[2].lower() if found[2] else None
            configuration.ssl_trustpoints = [
                item for item in configuration.ssl_trustpoints if item[:2] != (found[1], interface)
            ]
        elif found := _match(r"no crypto (?:pki|ca) (?:trustpoint|certificate chain) (\S+)", text):
            configuration.stored = [item for item in configuration.stored if item.trustpoint != found[1]]
        else:
            return False
        self._section = None
        return True

    def _voice(self, line: Line) -> bool:
        if found := _match(r"vpn-group " + _NUMBER, line.text):
            group = self.configuration.groups.setdefault(int(found[1]), Group(line.number))
            self._once.clear()
            self._group_open = group
            self._section = lambda line: self._group(group, line) or self._voice(line)
        elif found := _match(r"vpn-profile " + _NUMBER, line.text):
            tag = int(found[1])
            self.configuration.profiles.setdefault(tag, None)
            self._once.clear()
            self._section = lambda line: self._profile(tag, line) or self._voice(line)
        elif found := _match(r"no vpn-(group|profile) " + _NUMBER, line.text):
            tags = self.configuration.groups if found[1].lower() == "group" else self.configuration.profiles
            tags.pop(int(found[2]), None)
        elif re.match(r"vpn-(?:gateway|trustpoint) \d", line.text, re.IGNORECASE):
            self._complain(line, "stands outside a vpn-group: the configuration is not whole")
        else:
            return False
        return True

    def _group(self, group: Group, line: Line) -> bool:
        if found := _match(rf"vpn-gateway {_NUMBER} (\S+)", line.text):
            group.gateways[int(found[1])] = (found[2], line.number)
        elif found := _match(
            rf"vpn-trustpoint {_NUMBER}(?: (raw|trustpoint))? (\S+)(?: (leaf|root))?", line.text
        ):
            number = int(found[1])
            group.trustpoints[number] = Trustpoint(
                number,
                (found[2] or "trustpoint").lower(),
                found[3],
                found[4].lower() if found[4] else None,
                line.number,
                line.text,
            )
        elif found := _match(rf"no vpn-(gateway|trustpoint) {_NUMBER}(?: .*)?", line.text):
            numbers = group.gateways if found[1].lower() == "gateway" else group.trustpoints
            numbers.pop(int(found[2]), None)
        elif found := _match(r"(no )?vpn-hash-algorithm(?: sha-1)?", line.text):
            group.hash_algorithm = not found[1]
        elif re.match(r"vpn-(?:gateway|trustpoint|hash-algorithm)\b", line.text, re.IGNORECASE):
            self._complain(line, "cannot be read")
        else:
            return False
        return True

    def _profile(self, tag: int, line: Line) -> bool:
        found = _match(r"(no )?host-id-check(?: (enable|disable))?", line.text)
        if found:
            self.configuration.profiles[tag] = None if found[1] else (found[2] or "").lower() != "disable"
        return bool(found)

    def _ephone(self, ephone: Ephone, line: Line) -> bool:
        if found := _match(r"mac-address (\S+)", line.text):
            digits = re.sub(r"[.:-]", "", found[1]).upper()
            if re.fullmatch(r"[0-9A-F]{12}", digits):
                ephone.mac = digits
            else:
                self._complain(line, "is no MAC address")
        elif found := _match(r"vpn-group " + _NUMBER, line.text):
            ephone.group = int(found[1])
        elif found := _match(r"vpn-profile " + _NUMBER, line.text):
            ephone.profile = int(found[1])
        elif _match(r"no vpn-group\b.*", line.text):
            ephone.group = None
        elif _match(r"no vpn-profile\b.*", line.text):
            ephone.profile = None
        else:
            return False
        return True

    def _gateway(self, gateway: Gateway, line: Line) -> bool:
        if found := _match(rf"ip address (\S+)(?: port {_NUMBER})?(?: .*)?", line.text):
            gateway.address, gateway.port = read_address(found[1]), int(found[2] or 443)
        elif found := _match(rf"ip interface (\S+(?: [0-9/.]+)?)(?: port {_NUMBER})?(?: .*)?", line.text):
            gateway.interface, gateway.port = _plain(found[1]), int(found[2] or 443)
        elif found := _match(r"ssl trustpoint (\S+)", line.text):
            gateway.trustpoint = (found[1], line.number)
        elif _match(r"no ssl trustpoint\b.*", line.text):
            gateway.trustpoint = None
        elif found := _match(r"(no )?inservice", line.text):
            gateway.in_service = not found[1]
        else:
            return False
        return True

    def _interface(self, interface: Interface, line: Line) -> bool:
        if found := _match(r"nameif (\S+)", line.text):
            interface.name = found[1].lower()
        elif found := _match(r"ip(?:v6)? address ([0-9A-Fa-f.:]+)(?:/\d+)?(?: .*)?", line.text):
            address = read_address(found[1])
            # IOS lists the secondary addresses first, and a gateway takes the primary one.
            if address and not line.text.lower().endswith(" secondary"):
                interface.addresses.append(address)
        else:
            return False
        return True

    def _webvpn(self, line: Line) -> bool:
        if found := _match(r"enable (\S+)", line.text):
            self.configuration.webvpn_interfaces.add(found[1].lower())
        elif found := _match(r"no enable (\S+)", line.text):
            self.configuration.webvpn_interfaces.discard(found[1].lower())
        elif found := _match(r"port " + _NUMBER, line.text):
            self.configuration.webvpn_port = int(found[1])
        else:
            return False
        return True

    # -------------------------------------------------- certificates in hex

    def _begin_certificate(self, line: Line) -> bool:
        """Take ``certificate ...``, which names what follows, or the first line of hex without it."""
        found = _CERTIFICATE.fullmatch(line.text)
        if not found:
            if line.typed or not _BARE_HEX.fullmatch(line.text):
                return False
            self._certificate, self._hex = (line, None), ["".join(line.text.split())]
            return True
        role = None if found["next"] else _ROLES[found["kind"] and found["kind"].lower()]
        if found["file"]:
            stored = Stored(line.number, self._chain, role, b"", None, found["file"])
            self.configuration.stored.append(stored)
        else:
            self._certificate, self._hex = (line, role), []
        return True

    def _take_hex(self, line: Line) -> bool:
        digits, ends, _ = line.text.partition("quit")
        digits = "".join(digits.split())
        is_hex = not line.typed and re.fullmatch(r"[0-9A-Fa-f]*", digits) is not None
        if is_hex:
            self._hex.append(digits)
        if ends or not is_hex:
            self._close_certificate()
        return is_hex

    def _close_certificate(self) -> None:
        if self._certificate is None:
            return
        (line, role), self._certificate = self._certificate, None
        try:
            der = _certificate_of("".join(self._hex))
        except ValueError as error:
            self.configuration.damaged[self._chain] = str(error)
            self._complain(line, f"of trustpoint {self._chain}: {error}" if self._chain else f": {error}")
            return
        self.configuration.stored.append(Stored(line.number, self._chain, role, sha1(der), der))

    def _complain(self, line: Line, what: str) -> None:
        shown = line.text if len(line.text) <= _LONGEST_SHOWN else line.text[:_LONGEST_SHOWN] + "..."
        self.configuration.problems.append(
            f'line {line.number} "{shown}"{what if what[:1] == ":" else " " + what}'
        )
        self.configuration.taken.add(line.number)


def _certificate_of(digits: str) -> bytes:
    """Return the DER that a configuration's hex is; the bytes themselves say whether they are whole.

    Raises:
        ValueError: it is not that of one certificate; the message is one line that says what to do.
    """
    if not digits:
        raise ValueError(f"the hex of this certificate was taken out of the text: {PASTE_IT}")
    if len(digits) % 2:
        raise ValueError(f"the hex of this certificate is cut short: {PASTE_IT}")
    try:
        return check_certificate(bytes.fromhex(digits))
    except ValueError as error:
        raise ValueError(f"the hex of this certificate cannot be used ({error}): {PASTE_IT}") from error


def _pass_over(_: Line) -> bool:
    return False


def _plain(interface: str) -> str:
    """Make interface names comparable: ``GigabitEthernet 0/0`` and ``gigabitethernet0/0`` are one."""
    return interface.replace(" ", "").lower()
