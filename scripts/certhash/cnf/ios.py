"""Find what phones expect by a CME configuration, and what an IOS head-end presents.

``vpn-trustpoint N trustpoint NAME leaf`` pushes the hash of the trustpoint's first leaf certificate, ``root``
that of its root (CME command reference); a self-signed certificate is both. ``webvpn gateway`` serves the
leaf of its ``ssl trustpoint`` ("uses the child certificate during SSL authentication", IOS SSL VPN with CME
guide).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.cnf.rules import HASHES, URLS
from certhash.cnf.served import Serving, has_certificate
from certhash.digest import to_base64
from certhash.model import CnfFile, ExpectedHash, HeadEndUrl, ServedAt, VpnGroup

if TYPE_CHECKING:
    from certhash.cnf.configuration import Configuration, Group, Stored, Trustpoint

DIGEST = "SHA-1"
"""The only keyword of ``vpn-hash-algorithm``."""


def expectations(
    configuration: Configuration, shown: dict[tuple[int, int], bytes], source: str
) -> tuple[list[CnfFile], list[str]]:
    """Return what each ephone with a vpn-group expects, or the group if it has no ephone; and problems.

    `shown` are the digests from ``show voice vpn``, used if the certificates are not in the text.
    """
    problems: list[str] = []
    files: list[CnfFile] = []
    used: set[int] = set()
    for number, ephone in sorted(configuration.ephones.items()):
        if ephone.group is None:
            continue
        device = f"SEP{ephone.mac}" if ephone.mac else f"ephone {number}"
        group = configuration.groups.get(ephone.group)
        if group is None:
            problems.append(
                f"line {ephone.line}: {device} is in vpn-group {ephone.group}, which is not in the text"
            )
            continue
        used.add(ephone.group)
        warnings = [] if ephone.mac else ["the ephone has no mac-address"]
        check = configuration.profiles.get(ephone.profile) if ephone.profile is not None else None
        if ephone.profile is not None and ephone.profile not in configuration.profiles:
            warnings.append(f"its vpn-profile {ephone.profile} is not in the configuration")
        files.append(_file(device, ephone.group, group, configuration, shown, check, source, warnings))
    checks = set(configuration.profiles.values())
    only = checks.pop() if len(checks) == 1 else None
    files += [
        _file(f"vpn-group {tag}", tag, group, configuration, shown, only, source, [])
        for tag, group in sorted(configuration.groups.items())
        if tag not in used
    ]
    unresolved = dict.fromkeys(text for cnf in files if cnf.group for text in cnf.group.unresolved)
    # Errors in the hex itself are reported at its own lines.
    problems += [t for t in unresolved if not t.endswith(tuple(configuration.damaged.values()))]
    return files, problems


def served(configuration: Configuration) -> Serving:
    """Return what ``webvpn gateway`` and ``crypto ssl policy`` present, what is unclear, and problems."""
    serving = Serving()
    for gateway in configuration.gateways.values():
        name = gateway.line.text
        interface = configuration.interfaces.get(gateway.interface or "")
        address = gateway.address or (interface.addresses[0] if interface and interface.addresses else None)
        place = ServedAt(address, gateway.port, gateway.line.number, name)
        places = [place] if address else []
        if not gateway.in_service:
            serving.leave_open(gateway.line, "it is not in service", places, presents=False)
            continue
        serving.move_dtls(gateway.dtls_port, places)
        if address is None:
            line = gateway.trustpoint[1] if gateway.trustpoint else gateway.line
            stands = f" ({interface.elsewhere})" if interface and interface.elsewhere else ""
            missing_address = f"the address of {name} is not in the configuration{stands}"
            serving.problems.append(f"line {line.number}: {missing_address}, so its URL is unknown")
            serving.leave_open(line, missing_address)
        if gateway.trustpoint is None:
            why = (
                "it names no trustpoint, so IOS presents its default certificate "
                "(the self-signed TP-self-signed-NUMBER)"
            )
            serving.leave_open(gateway.line, why, places)
            continue
        trustpoint, line = gateway.trustpoint
        serving.serve(
            trustpoint,
            ("leaf", "self-signed"),
            [ServedAt(each.address, each.port, line.number, line.text) for each in places],
        )
        if places and not has_certificate(configuration, trustpoint):
            serving.complain(line, missing(configuration, trustpoint))
            serving.leave_open(line, "its certificate is not in the configuration", places)
    return serving


def missing(configuration: Configuration, trustpoint: str) -> str:
    """Return a message that a trustpoint's certificate is not in the text, and how to get it."""
    file = next(
        (item.file for item in configuration.stored if item.trustpoint == trustpoint and item.file), None
    )
    if file:
        return f"the certificate is in {file}: add the output of `show running-config` to the same file"
    if trustpoint in configuration.damaged:
        return configuration.damaged[trustpoint]
    return (
        "its certificate is not in the configuration: "
        "add the output of `show crypto pki certificates verbose` to the same file"
    )


def _file(  # noqa: PLR0913, PLR0917 - they are the parts of one record
    device: str,
    tag: int,
    group: Group,
    configuration: Configuration,
    shown: dict[tuple[int, int], bytes],
    check: bool | None,
    source: str,
    warnings: list[str],
) -> CnfFile:
    hashes: list[ExpectedHash] = []
    unresolved: list[str] = []
    for number, trustpoint in sorted(group.trustpoints.items()):
        if not 1 <= number <= HASHES:
            warnings.append(f"line {trustpoint.line} is ignored: a phone accepts at most {HASHES} hashes")
            continue
        digest, reason = _resolve(configuration, trustpoint)
        printed = shown.get((tag, number), b"")
        if digest and printed and printed != digest:
            digest = printed = b""
            reason = "`show voice vpn` prints a hash that is not that of its certificate"
        digest = digest or printed
        if digest:
            hashes.append(ExpectedHash(number, to_base64(digest), digest, DIGEST, trustpoint.line))
        else:
            unresolved.append(f'line {trustpoint.line} "{trustpoint.text}": {reason}')
    unresolved += [
        f'line {line.number} "{line.shown}" cannot be read: it may set another hash' for line in group.unread
    ]
    urls = [
        HeadEndUrl(number, *group.gateways[number]) for number in sorted(group.gateways) if number <= URLS
    ]
    if not group.trustpoints and not group.unread:
        warnings.append(f"vpn-group {tag} has no vpn-trustpoint: the phone can trust no head-end")
    if not group.hash_algorithm:
        warnings.append(f"vpn-group {tag} has no vpn-hash-algorithm: CME's default is not documented")
    if not urls:
        warnings.append(f"vpn-group {tag} has no vpn-gateway: the phone has nowhere to connect")
    vpn_group = VpnGroup(tuple(urls), tuple(hashes), check, None, tuple(unresolved))
    return CnfFile(device, source, "configuration", vpn_group, None, tuple(warnings))


def _resolve(configuration: Configuration, trustpoint: Trustpoint) -> tuple[bytes, str]:
    """Return the digest of the certificate that a ``vpn-trustpoint`` line means, or why it is unknown."""
    if trustpoint.form == "raw":
        return b"", "the meaning of the word after raw is not documented; `show voice vpn` prints the hash"
    if not trustpoint.form:
        return b"", "the hash cannot be read"
    stored = [item for item in configuration.stored if item.trustpoint == trustpoint.name]
    roles = {"leaf": {"leaf", "self-signed"}, "root": {"ca", "self-signed"}}.get(
        trustpoint.end or "", {"leaf", "ca", "self-signed"}
    )
    if any((trustpoint.name, role) in configuration.damaged_roles for role in (*roles, None)):
        # An undamaged certificate of the same trustpoint may be from before a renewal.
        damage = configuration.damaged[trustpoint.name]
        return b"", f"{damage}; its other certificate may be from before a renewal" if stored else damage
    candidates = [item for item in stored if item.role in roles]
    digests = list(dict.fromkeys(item.sha1 for item in candidates if item.sha1))
    if not digests:
        return b"", _why_unresolved(configuration, trustpoint, stored)
    if len(digests) > 1:
        # CME uses the first of several leaves, but a log may also contain one from before a renewal.
        return b"", f"trustpoint {trustpoint.name} has {len(digests)} certificates that this line may mean"
    return digests[0], ""


def _why_unresolved(configuration: Configuration, trustpoint: Trustpoint, stored: list[Stored]) -> str:
    if any(item.sha1 for item in stored):
        return f"trustpoint {trustpoint.name} has no {trustpoint.end} certificate in the configuration"
    return missing(configuration, trustpoint.name)
