"""Read text from a terminal: a configuration, show output, exported certificates, or a log of these.

Each text is treated as one device: trustpoints are resolved within it and never across files, since two
routers may have trustpoints of the same name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from certhash.cnf import asa, broken_lines, ios, show, show_served
from certhash.cnf.configuration import Configuration, Stored, doubt_replaced
from certhash.cnf.history import MARKER, without_history
from certhash.cnf.rules import problems_of
from certhash.cnf.sections import parse
from certhash.cnf.terminal import read_lines
from certhash.cnf.unread import unread
from certhash.cnf.voice_vpn import read_voice_vpn
from certhash.model import KnownCertificate, Problem, ServedAt, Sources
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.cnf.served import Serving
    from certhash.model import Unsettled

_MOST_PROBLEMS = 20
"""A larger file is something else."""

_MARKERS = re.compile(
    r"vpn-(?:g|t)|(?:Service|Group|Profile)\s+VPN|VPN\s+Trustpoint|trust-?points?\b|Fingerprint|-----BEGIN"
    r"|certificate (?:chain|ca|self-signed|configured)|Certificate\s+Status:|pkcs12 follows|host.?id.?check"
    rf"|crypto ssl policy|\b30 ?8[0-4][0-9A-Fa-f ]{{12}}|{MARKER}",
    re.IGNORECASE,
)
"""A text without any of these is irrelevant; this check avoids parsing large logs."""


def read_pasted(text: str, source: str) -> Sources | None:
    """Return the content of a cleaned text, or None if it has no phone VPN settings and no certificates.

    `text` is the result of :func:`certhash.cnf.cleaning.clean`.
    """
    if not _MARKERS.search(text):
        return None
    lines, history = without_history(read_lines(text))
    lines, unclear = broken_lines.joined(lines)
    configuration = parse(lines)
    configuration.problems += history
    for line in unclear:
        configuration.problems.append(f'line {line.number} "{line.shown}" {broken_lines.WHY}')
        configuration.left_open.append((line, "it continues on the next line in an unclear way"))
    show.read_certificates(lines, configuration)
    show.read_pem(lines, configuration)
    show.read_pkcs12(lines, configuration)
    show_served.read_ssl(lines, configuration)
    show_served.read_gateways(lines, configuration)
    doubt_replaced(configuration)
    shown = read_voice_vpn(lines, configuration)
    files, problems = ios.expectations(configuration, shown, source)
    on_ios, on_asa = ios.served(configuration), asa.served(configuration)
    known = _known(configuration, source, (on_ios, on_asa))
    problems += configuration.problems + on_ios.problems + on_asa.problems
    problems += unread(lines, configuration)
    for serving in (on_ios, on_asa):
        serving.leave_damaged_open(configuration)
    unsettled = _each_once(
        replace(item, source=source, says=visible(item.says)) for item in on_ios.unsettled + on_asa.unsettled
    )
    dtls_ports = dict.fromkeys(
        replace(each, source=source, says=visible(each.says))
        for each in on_ios.dtls_ports + on_asa.dtls_ports
    )
    if not (files or known or problems or unsettled):
        return None
    reported = [Problem(source, visible(text)) for text in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        reported.append(Problem(source, f"{len(problems) - _MOST_PROBLEMS:,} more lines cannot be read"))
    reported += dict.fromkeys(problem for cnf in files for problem in problems_of(cnf))
    return Sources(
        tuple(files), tuple(known), tuple(reported), unsettled=unsettled, dtls_ports=tuple(dtls_ports)
    )


def _each_once(unsettled: Iterable[Unsettled]) -> tuple[Unsettled, ...]:
    """Return each line once, with all places for which it leaves open what is presented."""
    found: dict[tuple[int, str, str], Unsettled] = {}
    for item in unsettled:
        key = item.line, item.says, item.why
        earlier = found.get(key, item)
        places = tuple(dict.fromkeys((*earlier.at, *item.at)))
        found[key] = replace(earlier, at=places, presents=earlier.presents or item.presents)
    return tuple(found.values())


def _known(configuration: Configuration, source: str, serving: tuple[Serving, ...]) -> list[KnownCertificate]:
    """Return each certificate once per trustpoint, with its bytes if they are anywhere in the text."""

    def places(item: Stored) -> tuple[ServedAt, ...]:
        key = item.trustpoint or "", item.role or ""
        return tuple(dict.fromkeys(place for one in serving for place in one.places.get(key, ())))

    found: dict[tuple[str | None, bytes], Stored] = {}
    for item in configuration.stored:
        if not item.sha1:
            continue
        key = item.trustpoint, item.sha1
        earlier = found.get(key)
        if earlier is None:
            found[key] = item
        elif {earlier.role, item.role} == {"ca", "leaf"}:
            # An export prints a self-signed certificate twice, as CA and as identity certificate.
            found[key] = Stored(
                earlier.line, item.trustpoint, "self-signed", item.sha1, earlier.der or item.der
            )
        elif earlier.der is None:
            found[key] = item
    return [
        KnownCertificate(
            source,
            item.line,
            item.trustpoint,
            item.role,
            item.sha1,
            item.der,
            places(item),
        )
        for item in found.values()
    ]
