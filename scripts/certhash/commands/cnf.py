"""Show what phones expect: the head-ends, certificate hashes and host-ID check of each file.

Each PATH is a file, a folder to search, or the address of a phone's cnf file:
  cnf files, plain or signed; a <vpnGroup> alone; a terminal's log of `more flash:/its/SEP….cnf.xml`
  running-configs of CME and ASA
  output of `show voice vpn` and `show crypto pki certificates verbose`
  certificates
  tftp://HOST/SEP001122334455.cnf.xml or http://HOST:6970/SEP001122334455.cnf.xml
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.cnf import describe_copies, read
from certhash.cnf.rules import shown, why_malformed
from certhash.commands import options
from certhash.digest import ios_fingerprint, thumbprint, to_base64
from certhash.judgement.causes import GET_THE_PLAIN_FILE
from certhash.model import Endpoint
from certhash.visible import visible

if TYPE_CHECKING:
    import argparse

    from certhash.model import CnfFile, DtlsPort, KnownCertificate, ServedAt, Unsettled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="file, folder, tftp:// or http:// address, or - for standard input",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print the expectations of every file; return 2 if something could not be read."""
    sources = read(arguments.paths)
    if arguments.json:
        from certhash.report import jsonform

        print(jsonform.render(sources), end="")
    else:
        blocks = [_describe(cnf) for cnf in sources.cnf_files]
        blocks += [_describe_certificate(certificate) for certificate in sources.known]
        blocks += [_describe_unsettled(line) for line in sources.unsettled]
        blocks += [_describe_dtls(line) for line in sources.dtls_ports]
        if blocks:
            print("\n\n".join(blocks))
    options.complain(sources.problems)
    if sources.copies:
        options.note(describe_copies(sources.copies))
    return 2 if sources.problems else 0


def _describe(cnf: CnfFile) -> str:
    lines = [f"{visible(cnf.device)}  {visible(cnf.source)}  ({cnf.kind})"]
    if cnf.kind == "encrypted":
        lines += [
            "  encrypted: the expected hashes cannot be read",
            *(f"  {line}" for line in GET_THE_PLAIN_FILE),
        ]
    elif cnf.group is None:
        lines.append("  no vpnGroup: the phone has no VPN")
    else:
        rows = [(f"url{url.number}", visible(url.value)) for url in cnf.group.urls]
        for item in cnf.group.hashes:
            value = shown(item.value)
            if item.algorithm is None:
                rows.append((f"certHash{item.number}", f"{value}  malformed: {why_malformed(item.value)}"))
            else:
                rows.append(
                    (f"certHash{item.number}", f"{value}  {item.algorithm} {thumbprint(item.digest)}")
                )
        check = {None: "not set (on by default)", True: "on", False: "off"}[cnf.group.host_id_check]
        rows.append(("host-ID check", check))
        lines += [f"  {label:13}  {value}" for label, value in rows]
    lines += [f"  warning: {visible(warning)}" for warning in cnf.warnings]
    return "\n".join(lines)


def _describe_certificate(certificate: KnownCertificate) -> str:
    title = " ".join(filter(None, ["certificate", certificate.role, certificate.trustpoint]))
    lines = [f"{visible(title)}  {visible(certificate.source)}"]
    lines.append(f"  certHash       {to_base64(certificate.sha1)}  SHA-1 {ios_fingerprint(certificate.sha1)}")
    if certificate.der is not None:
        from certhash.certificate import details

        lines.append(f"  subject        {details(certificate.der).subject or '(cannot be read)'}")
    lines += [f"  served at      {visible(_place(place))}" for place in certificate.served_at]
    return "\n".join(lines)


def _place(place: ServedAt) -> str:
    where = str(Endpoint(place.address or place.name or "an unknown address", place.port))
    only = f" for the name {place.name}" if place.name and place.address else ""
    return f"{where}{only}, line {place.line}: {place.says}" if place.line else f"{where}{only}"


def _describe_dtls(line: DtlsPort) -> str:
    at = Endpoint(line.address, line.dtls_port)
    return f"DTLS of {Endpoint(line.address, line.port)}  at {at}, line {line.line}: {visible(line.says)}"


def _describe_unsettled(line: Unsettled) -> str:
    return f"left open  {visible(line.source)}, line {line.line}: {visible(line.says)}\n  {visible(line.why)}"
