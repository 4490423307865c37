"""Parse the relevant sections of running-configurations of IOS (CME) and ASA.

The first line identifies a section, not indentation alone, which pasted configurations have often lost. In a
log of commands, ``no`` removes earlier settings: the final state counts. :mod:`certhash.cnf.ios` and
:mod:`certhash.cnf.asa` interpret the lines. Syntax: Cisco's CME administrator guide and command reference
(``voice service voip``), IOS SSL VPN configuration guide (``webvpn gateway``) and ASA command reference
(``ssl trust-point``).
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from certhash.cnf.abbreviations import expand
from certhash.cnf.configuration import (
    Configuration,
    Ephone,
    Gateway,
    Group,
    Interface,
    SslTrustpoint,
    Trustpoint,
)
from certhash.cnf.stored_hex import StoredHex
from certhash.headend import plain_name, read_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.cnf.terminal import Line


def parse(lines: list[Line]) -> Configuration:
    """Return the configuration in the lines of one text; lines that cannot be read go to ``problems``."""
    reader = _Reader()
    for index, line in enumerate(lines):
        if line.typed and _was_refused(lines, index):
            reader.configuration.taken.add(line.number)
        else:
            reader.take(replace(line, text=expand(line.text)) if line.typed else line)
            if line.typed and (found := _REPLACES.match(expand(line.text))):
                reader.configuration.replaced.append((line.number, found[0], found[1]))
    reader.hex.close()
    return reader.configuration


_REPLACES = re.compile(r"crypto (?:pki|ca) (?:enroll|import) (\S+)", re.IGNORECASE)


def _was_refused(lines: list[Line], index: int) -> bool:
    """Return whether IOS or ASA rejected a typed line with an error, so that it had no effect."""
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
    """Match a whole line, ignoring case, as IOS and ASA do."""
    return _compiled(pattern).fullmatch(text)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)  # re's own cache takes longer than the search in a line


ONE_LINE = "cannot be read: paste each setting on a line of its own"
_ONCE = re.compile(
    r"(?:vpn-gateway \d+|vpn-trustpoint (?P<trustpoint>\d{1,5})|host-id-check|mac-address|nameif"
    r"|ssl trustpoint|ip address(?!.* secondary$)) ",
    re.IGNORECASE,
)
_MAY_SET_HASH = re.compile(r"\W*(?:no )?(?:vpn-?(?:t\S*)?(?: |$)|trust-?point \d)", re.IGNORECASE)
"""``vpn-trustpoint``, also cut or misspelt."""
_LEFT_OUT = re.compile(
    r"[\W_]*(?:\w+ ){0,3}(?:omitted|snip|snipped|removed|truncated|redacted|cut|deleted)\b[\W_]*"
    r"|\W*(?:\.{2,}|\u2026)\W*",
    re.IGNORECASE,
)
"""What people write in place of lines: ``[output omitted]``, ``<snip>``, dots."""
_SAID_OF_GROUP = re.compile(r"%|\^|(?:!|exit|end|quit)$", re.IGNORECASE)
"""What may stand between a group's lines and sets nothing."""
_NUMBER = r"(\d{1,5})"
_PASSED_OVER = re.compile(
    r"(?:webvpn context|telephony-service|ephone-\w+|dial-peer|line|router|group-policy|crypto ssl \w+) ?",
    re.IGNORECASE,
)


class _Reader:
    """Parser state between lines: the open section, and what it can have once."""

    def __init__(self) -> None:
        self.configuration = Configuration()
        self._section: Callable[[Line], bool] | None = None
        self._indented = False
        self.hex = StoredHex(self.configuration)
        self._group_open: Group | None = None
        self._once: dict[str, Line] = {}
        """Of the open section, the lines that it can have once, by what they set."""
        self._once_of: dict[str, dict[str, Line]] = {}
        """The same of each section, by its first line: a text may open one again."""

    def take(self, line: Line) -> None:
        taken = self.configuration.taken
        if self.hex.take(line):
            taken.add(line.number)
            return
        if "  " in line.text:
            line = replace(line, text=" ".join(line.text.split()))
        # In an indented text, a line without indentation ends the section.
        left = self._indented and not line.indented and not line.typed
        if line.text == "!" or left:
            self._section = self.hex.chain = None
        if self.hex.begin(line):
            taken.add(line.number)
            return
        if self._open(line) or self._take_back(line.text):
            taken.add(line.number)
            self._once = self._once_of.setdefault(line.text.lower(), {})
            self._indented = False
            return
        if self._section is None:
            self._section = self._voice
        if self._is_second(line) or self._section(line):
            taken.add(line.number)
        self._indented = self._indented or (line.indented and self._section != self._voice)

    def _is_second(self, line: Line) -> bool:
        """Return whether a section sets something twice, because the line between two sections is missing.

        The first setting belongs to the open section; all that follows does not. A typed line may change an
        earlier setting, so it does not count.
        """
        found = _ONCE.match(line.text)
        if not found or line.typed or self._section in (self._voice, _pass_over):
            return False
        first = self._once.setdefault(found[0].lower(), line)
        if first.text == line.text:
            return False
        what = f"repeats the setting of line {first.number}: a line between them is missing"
        self.configuration.complain(line, what)
        self.configuration.left_open.append((line, f"it {what}"))
        self._section = _pass_over
        if found["trustpoint"] and self._group_open:
            # It is unknown which of the two belongs to the group.
            number = int(found["trustpoint"])
            self._group_open.trustpoints[number] = Trustpoint(number, "", "", None, first.number, first.text)
        return True

    # -------------------------------------------------- sections, by their first line

    def _open(self, line: Line) -> bool:
        """Open a new section if the line begins one, and return whether it does."""
        if self._open_ios(line) or self._open_asa(line):
            return True
        if not _PASSED_OVER.match(line.text):
            return False
        self._section = _pass_over
        return True

    def _open_ios(self, line: Line) -> bool:
        configuration, text = self.configuration, line.text
        if found := _match(r"crypto (?:pki|ca) certificate chain (\S+)", text):
            self.hex.chain = found[1]
            self._section = _pass_over
        elif _match(r"crypto (?:pki|ca) trustpoint \S+", text):
            self._section = lambda line: _is_accepted_fingerprint(line) or self._voice(line)
        elif _match(r"voice service voip", text):
            self._section = self._voice
        elif found := _match(r"ephone +" + _NUMBER, text):
            ephone = configuration.ephones.setdefault(int(found[1]), Ephone(line.number))
            self._section = lambda line: self._ephone(ephone, line)
        elif found := _match(r"(webvpn gateway|crypto ssl policy) (\S+)", text):
            # A policy is in service unless it is shut down.
            new = Gateway(line, in_service=found[1].lower() != "webvpn gateway")
            gateway = configuration.gateways.setdefault(found[2], new)
            self._section = lambda line: self._gateway(gateway, line)
        elif _match(r"(?:webvpn gateway|crypto ssl policy) \S+ .*\b(?:ssl|pki) trust-?point \S.*", text):
            self.configuration.complain(line, ONE_LINE)
            configuration.left_open.append((line, ONE_LINE))
            self._section = _pass_over
        elif found := _match(r"interface (\S.*)", text):
            interface = configuration.interfaces.setdefault(_plain(found[1]), Interface())
            self._section = lambda line: self._interface(interface, line)
        else:
            return False
        return True

    def _open_asa(self, line: Line) -> bool:
        text = line.text
        if text.lower() == "webvpn":
            self._section = self._webvpn
        elif _match(r"tunnel-group \S+ .*", text):
            self._section = self._tunnel_group
        elif _match(r"vpn load-balancing", text):
            self._section = self._load_balancing
        elif _match(r"ssl trust-point\b.*", text):
            self._ssl_trustpoint(line)
        elif (found := _match(r"name (\S+) (\S+)(?: .*)?", text)) and (address := read_address(found[1])):
            self.configuration.names[found[2].lower()] = address
        else:
            return False
        return True

    def _take_back(self, text: str) -> bool:
        """Remove what a global ``no`` line names; ``no`` lines inside a section are handled there."""
        configuration = self.configuration
        if found := _match(r"no ephone +" + _NUMBER, text):
            configuration.ephones.pop(int(found[1]), None)
        elif found := _match(r"no (?:webvpn gateway|crypto ssl policy) (\S+)", text):
            configuration.gateways.pop(found[1], None)
        elif found := _match(r"no (ssl trust-point \S+(?: .+)?)", text):
            taken = found[1].lower()
            configuration.ssl_trustpoints = [
                item for item in configuration.ssl_trustpoints if item.line.text.lower() != taken
            ]
        elif _match(r"clear configure ssl", text):
            configuration.ssl_trustpoints.clear()
        elif found := _match(r"no crypto (?:pki|ca) (?:trustpoint|certificate chain) (\S+)", text):
            configuration.stored = [item for item in configuration.stored if item.trustpoint != found[1]]
        else:
            return False
        self._section = None
        return True

    def _voice(self, line: Line) -> bool:
        if found := _match(r"vpn-group " + _NUMBER, line.text):
            group = self.configuration.groups.setdefault(int(found[1]), Group(line.number))
            self._once = self._once_of.setdefault(line.text.lower(), {})
            group.passed.clear()
            self._group_open = group
            self._section = lambda line: self._group(group, line) or self._voice(line)
        elif found := _match(r"vpn-profile " + _NUMBER, line.text):
            tag = int(found[1])
            self.configuration.profiles.setdefault(tag, None)
            self._once = self._once_of.setdefault(line.text.lower(), {})
            self._section = lambda line: self._profile(tag, line) or self._voice(line)
        elif found := _match(r"no vpn-(group|profile) " + _NUMBER, line.text):
            tags = self.configuration.groups if found[1].lower() == "group" else self.configuration.profiles
            tags.pop(int(found[2]), None)
        elif _match(r"vpn-(?:gateway|trustpoint) \d.*", line.text):
            self.configuration.complain(line, "is outside a vpn-group: the configuration is incomplete")
        elif _match(r"mac-address [0-9A-F]{4}\.[0-9A-F]{4}\.[0-9A-F]{4}", line.text):
            self.configuration.complain(line, "is outside an ephone: the configuration is incomplete")
        elif _match(r"nameif \S+", line.text):
            self.configuration.complain(line, "is outside an interface: the configuration is incomplete")
        else:
            return False
        return True

    def _group(self, group: Group, line: Line) -> bool:
        if not self._set_of_group(group, line):
            if not line.typed and not _SAID_OF_GROUP.match(line.text):
                group.passed.append(line)
            return False
        if not line.typed:
            # Lines between two lines of a group belong to the group, too.
            self._leave_unread(group, *group.passed)
        group.passed.clear()
        return True

    def _leave_unread(self, group: Group, *lines: Line) -> None:
        group.unread += lines
        self.configuration.taken.update(line.number for line in lines)

    def _set_of_group(self, group: Group, line: Line) -> bool:
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
        elif _MAY_SET_HASH.match(line.text) or (not line.typed and _LEFT_OUT.fullmatch(line.text)):
            self._leave_unread(group, line)
        elif re.match(r"vpn-(?:gateway|hash-algorithm)\b", line.text, re.IGNORECASE):
            self.configuration.complain(line, "cannot be read")
        else:
            return False
        return True

    def _profile(self, tag: int, line: Line) -> bool:
        if found := _match(r"(no )?host-id-check(?: (enable|disable))?", line.text):
            self.configuration.profiles[tag] = None if found[1] else (found[2] or "").lower() != "disable"
        elif _match(r"host-id-check\b.*", line.text):
            self.configuration.complain(line, "cannot be read: enable or disable must follow")
        else:
            return False
        return True

    def _ephone(self, ephone: Ephone, line: Line) -> bool:
        if found := _match(r"mac-address (\S+)", line.text):
            digits = re.sub(r"[.:-]", "", found[1]).upper()
            if re.fullmatch(r"[0-9A-F]{12}", digits):
                ephone.mac = digits
            else:
                self.configuration.complain(line, "is not a MAC address")
        elif found := _match(r"vpn-group " + _NUMBER, line.text):
            ephone.group = int(found[1])
        elif found := _match(r"vpn-profile " + _NUMBER, line.text):
            ephone.profile = int(found[1])
        elif _match(r"no vpn-group\b.*", line.text):
            ephone.group = None
        elif _match(r"no vpn-profile\b.*", line.text):
            ephone.profile = None
        elif _match(r"(?:mac-address|vpn-group|vpn-profile)\b.*", line.text):
            self.configuration.complain(line, "cannot be read")
        else:
            return False
        return True

    def _gateway(self, gateway: Gateway, line: Line) -> bool:
        port, text = rf"(?: port {_NUMBER})?(?: .*)?", line.text
        if found := _match(r"ip address (?:local )?([0-9A-F.:]+)" + port, text):
            gateway.address, gateway.port = read_address(found[1]), int(found[2] or 443)
            if gateway.address is None:
                self.configuration.complain(line, "has no readable address")
        elif found := _match(r"ip interface (?:local )?([A-Z]\S*(?: [0-9/.]+)?)" + port, text):
            gateway.interface, gateway.port = _plain(found[1]), int(found[2] or 443)
        elif found := _match(r"(?:ssl|pki) trustpoint (\S+)(?: sign)?", text):
            gateway.trustpoint = (found[1], line)
        elif _match(r"no (?:ssl|pki) trustpoint\b.*", text):
            gateway.trustpoint = None
        elif found := _match(r"(no )?inservice|(no )?shutdown", text):
            gateway.in_service = text.lower() in {"inservice", "no shutdown"}
        elif found := _match(rf"(no )?dtls port(?: {_NUMBER})?", text):
            gateway.dtls_port = None if found[1] else line
        elif _match(r"(?:dtls port|ip (?:address|interface)|(?:ssl|pki) trustpoint|inservice)\b.*", text):
            self.configuration.complain(line, "cannot be read")
        else:
            return False
        return True

    def _interface(self, interface: Interface, line: Line) -> bool:
        if found := _match(r"nameif (\S+)", line.text):
            interface.name = found[1].lower()
        elif _match(r"nameif\b.*", line.text):
            self.configuration.complain(line, "cannot be read")
        elif found := _match(r"ip(?:v6)? address (\S+?)(?:/\d+)?(?: .*)?", line.text):
            address = read_address(self.configuration.names.get(found[1].lower(), found[1]))
            # IOS lists the secondary addresses first; a gateway uses the primary one.
            if address is None:
                interface.elsewhere = line.text
            elif not line.text.lower().endswith(" secondary"):
                self._set_address(interface, address, line)
        elif _match(r"no ip address\b.*", line.text):
            interface.addresses.clear()
        else:
            return False
        return True

    def _set_address(self, interface: Interface, address: str, line: Line) -> None:
        """Add an address; a typed one replaces the previous address of the same family."""
        others = [one for one in interface.addresses if (":" in one) == (":" in address)]
        if line.typed and ":" not in address:
            interface.addresses = [one for one in interface.addresses if one not in others]
        elif others and address not in others and ":" not in address:
            self.configuration.complain(line, "is a second address of the same interface: neither is used")
            interface.addresses = [one for one in interface.addresses if one not in others]
            interface.elsewhere = line.text
            return
        if address not in interface.addresses:
            interface.addresses.append(address)

    # -------------------------------------------------- the ASA's own sections

    def _ssl_trustpoint(self, line: Line) -> None:
        found = _match(
            r"ssl trust-point (\S+)(?: domain [\"']?(?P<domain>[\w.*-]+)[\"']?"
            r"| (?P<interface>\S+)(?P<shared> vpnlb-ip)?)?",
            line.text,
        )
        if found is None or (found["interface"] or "").lower() == "domain":
            self.configuration.complain(line, "cannot be read")
            self.configuration.left_open.append((line, "it cannot be read"))
            return
        domain = plain_name(found["domain"]) if found["domain"] else None
        interface = found["interface"].lower() if found["interface"] else None
        item = SslTrustpoint(found[1], interface, line, domain, bool(found["shared"]))
        self.configuration.ssl_trustpoints.append(item)

    def _webvpn(self, line: Line) -> bool:
        if found := _match(r"enable (\S+)(?: (?:(tls-only)|.*))?", line.text):
            self.configuration.webvpn_interfaces[found[1].lower()] = line
            if found[2]:
                self.configuration.without_dtls.add(found[1].lower())
        elif found := _match(r"no enable (\S+)", line.text):
            self.configuration.webvpn_interfaces.pop(found[1].lower(), None)
        elif found := _match(r"port " + _NUMBER, line.text):
            self.configuration.webvpn_port = int(found[1])
        elif _match(r"no port\b.*", line.text):
            self.configuration.webvpn_port = 443
        elif found := _match(rf"(no )?dtls port(?: {_NUMBER})?", line.text):
            self.configuration.dtls_port = None if found[1] else line
        elif _match(r"(?:enable|port|dtls port)\b.*", line.text):
            self.configuration.complain(line, "of webvpn cannot be read")
        else:
            return False
        return True

    def _tunnel_group(self, line: Line) -> bool:
        if found := _match(r"group-url (\S+)(?: (enable|disable))?", line.text):
            if (found[2] or "").lower() != "disable":
                self.configuration.group_urls[found[1]] = line
        elif found := _match(r"no group-url (\S+)(?: .*)?", line.text):
            self.configuration.group_urls.pop(found[1], None)
        elif _match(r"group-url\b.*", line.text):
            self.configuration.complain(line, "cannot be read")
        else:
            return False
        return True

    def _load_balancing(self, line: Line) -> bool:
        found = _match(r"cluster ip address (\S+)", line.text)
        if found:
            name = found[1].lower()
            self.configuration.cluster_address = read_address(self.configuration.names.get(name, name))
        return bool(found)


def _is_accepted_fingerprint(line: Line) -> bool:
    """Return whether it is the ``fingerprint`` that IOS compares before it accepts a CA."""
    return _match(r"fingerprint [0-9A-F ]+", line.text) is not None


def _pass_over(_: Line) -> bool:
    return False


def _plain(interface: str) -> str:
    """Return an interface name for comparison: ``GigabitEthernet 0/0`` equals ``gigabitethernet0/0``."""
    return interface.replace(" ", "").lower()
