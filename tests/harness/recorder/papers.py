"""Write files other than captures: the forms of phones' files, and output of CME and ASA."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from tests.harness.recorder import certificates, phone_files, servers
from tests.harness.recorder.certificates import cert_hash, der
from tests.harness.recorder.visits import numbered

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from cryptography.x509 import Certificate
    from tests.harness.recorder.certificates import Identity
    from tests.harness.recorder.stage import Stage

_VPN = "https://203.0.113.10/SSLVPNphone"


def forms(stage: Stage) -> None:
    """Write phones' files in all forms to ``forms/``, each with its expected content.

    ``kind`` is plain or signed, or ``encrypted`` or ``refused`` if nothing can be read; a plain or signed
    file without URLs configures no VPN.
    """
    signer = certificates.server("TFTP")
    hashes = [cert_hash(certificates.server(f"vpn{number}.example.com")) for number in range(10)]
    vpn = phone_files.vpn_group([_VPN], hashes[:1])
    one: dict[str, Any] = {"urls": [_VPN], "hashes": hashes[:1]}
    own = hashlib.md5(b"a phone's certificate", usedforsecurity=False).hexdigest()

    def form(name: str, content: bytes, kind: str = "plain", note: str = "", **read: Any) -> None:
        stage.form(
            name,
            content,
            {"kind": kind, "urls": [], "hashes": [], "host_id_check": False, "note": note} | read,
        )

    def sep(number: int, suffix: str = ".cnf.xml") -> str:
        return f"SEP00005E0053{number:02X}{suffix}"

    form(
        sep(0xE0),
        phone_files.cucm(vpn, own),
        note="xsi: is not declared; /device/certHash is another thing",
        **one,
    )
    name = sep(0xE1, ".cnf.xml.sgn")
    form(name, phone_files.signed(phone_files.cucm(vpn, own), name, signer), "signed", **one)
    name = sep(0xE2, ".cnf.xml.sgn")
    stub = phone_files.signed(phone_files.encrypted_stub(own), name, signer)
    form(name, stub, "encrypted", note="the readable rest of an encrypted file")
    name = sep(0xE3, ".cnf.xml.enc.sgn")
    form(name, phone_files.encrypted(name, signer, bytes(range(256)) * 4), "encrypted")
    form(sep(0xE4, ".cnf.xml.sgn"), phone_files.cucm(vpn), note="unsigned content under a signed name", **one)
    comment = f"<!-- <!template -> for later\n{vpn}-->\n"
    form(sep(0xE5), phone_files.cme(comment), note="the vpnGroup is in a comment")
    form(sep(0xE6), phone_files.cme(), note="no vpnGroup")
    damaged = phone_files.cme(vpn).replace(b"</dateTemplate>", b"</dateTempliate>")
    form(sep(0xE7), damaged, note="a tag is closed by another name", **one)
    stray = phone_files.cme(vpn).replace(b"<timeZone>", b"<timeZone>>")
    form(sep(0xE8), stray, note="a stray >", **one)
    urls = [f"https://vpn{number}.example.com/phone?a=1&b=2" for number in (1, 2, 3)]
    full = phone_files.cucm(phone_files.vpn_group(urls, hashes, check_host=True))
    form(sep(0xE9), full, note="3 URLs, 10 hashes", urls=urls, hashes=hashes, host_id_check=True)
    form(f"vrf1_{sep(0xEA)}", phone_files.cme(vpn), note="flash, VRF", **one)
    form("XMLDefault7960.cnf.xml", phone_files.cme(vpn), note="one file for all phones of a type", **one)
    marked = b"\xef\xbb\xbf" + phone_files.cucm(vpn).replace(b"\n", b"\r\n")
    form(sep(0xEB), marked, note="byte order mark, CRLF", **one)
    form(sep(0xEC), phone_files.cme(vpn) + bytes(8), note="NUL bytes after the end", **one)
    form(sep(0xED).lower(), phone_files.cme(vpn), note="the name in small letters", **one)
    doctype = b'<!DOCTYPE device [<!ENTITY a "a"><!ENTITY b "&a;&a;&a;&a;">]>\n'
    form(sep(0xEE), doctype + phone_files.cme(vpn.replace(hashes[0], "&b;")), "refused", note="entities")
    form(sep(0xEF), b"\x89PNG\r\n\x1a\n", "refused", note="no XML at all")


def configurations(stage: Stage) -> None:
    """Write output of CME and ASA to ``config/``, and record the same two head-ends.

    CME pushes the root to the phone behind the ASA, which is right. To the phone that connects to CME itself
    it pushes its own leaf, but it presents the self-signed certificate of ``webvpn gateway``.
    """
    root = certificates.authority("Example Root CA 130")
    leaf = certificates.server("cme.example.com", by=root)
    asa = certificates.server("asa.example.com", by=root, names=("asa.example.com",))
    own = certificates.server("IOS-Self-Signed-Certificate-130")
    behind, direct = numbered(130), numbered(131)
    behind.hashes, direct.hashes = (cert_hash(root),), (cert_hash(leaf),)
    certificate_hex = {
        "CME_CA": _ios_hex(root.certificate),
        "CME_LEAF": _ios_hex(leaf.certificate),
        "CME_SELF": _ios_hex(own.certificate),
        "ROOT_SERIAL": _serial(root.certificate),
        "LEAF_SERIAL": _serial(leaf.certificate),
        "ASA_CA": _asa_hex(root.certificate),
        "ASA_LEAF": _asa_hex(asa.certificate),
        "ASA_SERIAL": _serial(asa.certificate).lower(),
        "ROOT_LOW": _serial(root.certificate).lower(),
        "ROOT_HASH": cert_hash(root),
        "LEAF_HASH": cert_hash(leaf),
        "ROOT_DETAILS": _details("CA Certificate", root, root, "cme_cert"),
        "LEAF_DETAILS": _details("Certificate", leaf, root, "cme_cert"),
        "SELF_DETAILS": _details("Router Self-Signed Certificate", own, own, "TP-self-signed-130"),
        "ROOT_PEM": certificates.pem(root.certificate),
        "LEAF_PEM": certificates.pem(leaf.certificate),
        "ASA_PEM": certificates.pem(asa.certificate),
    }

    def fill(template: str) -> str:
        for name, text in sorted(certificate_hex.items(), key=lambda item: -len(item[0])):
            template = template.replace(name, text)
        return template

    cme = fill(_CME_CONFIG)
    paper = stage.paper
    groups = [
        {"device": behind.name, "urls": [behind.url], "hashes": list(behind.hashes)},
        {"device": direct.name, "urls": [direct.url], "hashes": list(direct.hashes)},
    ]
    known = [_thumbprint(entry) for entry in (root.certificate, leaf.certificate, own.certificate)]
    served = [{"address": "203.0.113.131", "port": 443, "sha1": [cert_hash(own)]}]
    verdicts = [
        {"device": behind.name, "url": behind.url, "verdict": "match"},
        {"device": direct.name, "url": direct.url, "verdict": "mismatch"},
    ]
    read = {"kind": "ios", "expects": groups, "serves": served, "certificates": known}
    note = "the verdicts are those with asa.cfg beside it, or with configured.pcapng"
    paper("cme.cfg", cme.encode(), {**read, "note": note, "verdicts": verdicts})
    paper("cme-pasted.txt", _paged(cme).encode(), {**read, "note": "prompt, --More--, CRLF"})
    paper("cme-utf16.txt", cme.encode("utf-16"), {**read, "note": "UTF-16 with its mark"})
    asa_known = [_thumbprint(root.certificate), _thumbprint(asa.certificate)]
    paper(
        "asa.cfg",
        fill(_ASA_CONFIG).encode(),
        {
            "kind": "asa",
            "expects": [],
            "serves": [{"address": "203.0.113.130", "port": 443, "sha1": [cert_hash(asa), cert_hash(root)]}],
            "certificates": asa_known,
        },
    )
    voice = [{"device": None, "urls": entry["urls"], "hashes": entry["hashes"]} for entry in groups]
    paper("show-voice-vpn.txt", fill(_SHOW_VOICE_VPN).encode(), {"kind": "show voice vpn", "expects": voice})
    paper(
        "show-crypto-pki-certificates.txt",
        fill(_SHOW_CRYPTO).encode(),
        {"kind": "show crypto pki certificates verbose", "certificates": known},
    )
    paper(
        "crypto-pki-export.txt",
        fill(_IOS_EXPORT).encode(),
        {"kind": "crypto pki export", "certificates": known[:2]},
    )
    paper(
        "crypto-ca-export.txt",
        fill(_ASA_EXPORT).encode(),
        {"kind": "crypto ca export", "certificates": asa_known[1:]},
    )
    with (
        stage.cable(behind),
        servers.head_end(asa, "203.0.113.130", stage.work, chain=(root.certificate,)),
        servers.head_end(own, "203.0.113.131", stage.work),
        stage.recording() as caught,
    ):
        direct.plug_in()
        connections = behind.connect(), direct.connect()
    shown = [
        stage.handshake(connections[0], "unlisted", served=[asa, root]),
        stage.handshake(connections[1], "unlisted", served=[own]),
    ]
    note = (
        "no file of these phones is in cnf/; with config/cme.cfg the first is a match, the second a mismatch"
    )
    stage.save("configured.pcapng", caught, shown, note=note)


PAPERS: tuple[Callable[[Stage], None], ...] = (forms, configurations)

_CME_CONFIG = """!
version 15.1
hostname CME
!
crypto pki trustpoint cme_cert
 enrollment terminal
 revocation-check none
!
crypto pki trustpoint TP-self-signed-130
 enrollment selfsigned
 subject-name cn=IOS-Self-Signed-Certificate-130
 revocation-check none
 rsakeypair TP-self-signed-130
!
crypto pki certificate chain cme_cert
 certificate LEAF_SERIAL
CME_LEAF
  \tquit
 certificate ca ROOT_SERIAL
CME_CA
  \tquit
crypto pki certificate chain TP-self-signed-130
 certificate self-signed 01
CME_SELF
  \tquit
!
voice service voip
 vpn-group 1
  vpn-gateway 1 https://203.0.113.130/SSLVPNphone
  vpn-trustpoint 1 trustpoint cme_cert root
  vpn-hash-algorithm sha-1
 vpn-group 2
  vpn-gateway 1 https://203.0.113.131/SSLVPNphone
  vpn-trustpoint 1 trustpoint cme_cert leaf
  vpn-hash-algorithm sha-1
 vpn-profile 1
  host-id-check disable
 sip
!
telephony-service
 cnf-file location flash:
 cnf-file perphone
 max-ephones 10
 create cnf-files version-stamp Jan 01 2002 00:00:00
!
ephone  1
 device-security-mode none
 mac-address 0000.5E00.5382
 type 7965
 vpn-group 1
 vpn-profile 1
 button  1:1
!
ephone  2
 device-security-mode none
 mac-address 0000.5E00.5383
 type 7965
 vpn-group 2
 vpn-profile 1
 button  1:2
!
webvpn gateway sslvpn_gw
 ip address 203.0.113.131 port 443
 ssl encryption 3des-sha1 aes128-sha1
 ssl trustpoint TP-self-signed-130
 inservice
 !
webvpn context SSLVPNphone
 gateway sslvpn_gw domain SSLVPNphone
 inservice
!
end
"""
_ASA_CONFIG = """: Saved
:
ASA Version 9.1(7)
!
hostname asa
interface GigabitEthernet0/0
 nameif outside
 security-level 0
 ip address 203.0.113.130 255.255.255.0
!
crypto ca trustpoint ASA_TP
 enrollment terminal
 subject-name CN=asa.example.com
 crl configure
crypto ca certificate chain ASA_TP
 certificate ASA_SERIAL
ASA_LEAF
  quit
 certificate ca ROOT_LOW
ASA_CA
  quit
ssl trust-point ASA_TP outside
webvpn
 enable outside
tunnel-group SSLVPNphone webvpn-attributes
 group-url https://203.0.113.130/SSLVPNphone enable
: end
"""
_SHOW_VOICE_VPN = """CME#show voice vpn
The Voice Service VPN Group 1 setting:
VPN Gateway 1 URL https://203.0.113.130/SSLVPNphone
VPN Trustpoint hash in sha-1
VPN Trustpoint 1 trustpoint cme_cert root ROOT_HASH
The Voice Service VPN Group 2 setting:
VPN Gateway 1 URL https://203.0.113.131/SSLVPNphone
VPN Trustpoint hash in sha-1
VPN Trustpoint 1 trustpoint cme_cert leaf LEAF_HASH
The Voice Service VPN Profile 1 setting:
The host_id_check setting: 0
"""
_SHOW_CRYPTO = """CME#show crypto pki certificates verbose
LEAF_DETAILS
ROOT_DETAILS
SELF_DETAILS"""
_IOS_EXPORT = """CME(config)#crypto pki export cme_cert pem terminal
% CA certificate:
ROOT_PEM
% General Purpose Certificate:
LEAF_PEM
CME(config)#
"""
_ASA_EXPORT = """asa(config)# crypto ca export ASA_TP identity-certificate

The PEM encoded identity certificate follows:
ASA_PEM
asa(config)#
"""


def _groups(text: str, per_line: int, indent: str) -> str:
    words = [text[at : at + 8] for at in range(0, len(text), 8)]
    return "\n".join(indent + " ".join(words[at : at + per_line]) for at in range(0, len(words), per_line))


def _ios_hex(certificate: Certificate) -> str:
    return _groups(der(certificate).hex().upper(), 8, "  ")


def _asa_hex(certificate: Certificate) -> str:
    return _groups(der(certificate).hex(), 8, "    ")


def _serial(certificate: Certificate) -> str:
    digits = f"{certificate.serial_number:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def _thumbprint(certificate: Certificate) -> str:
    return hashlib.sha1(der(certificate), usedforsecurity=False).hexdigest()


def _details(heading: str, identity: Identity, issuer: Identity, trustpoint: str) -> str:
    """Return a certificate as IOS shows it: fingerprints in groups of eight, with a blank after the last."""
    md5 = hashlib.md5(identity.der, usedforsecurity=False).hexdigest().upper()
    sha1 = _thumbprint(identity.certificate).upper()

    def moment(when: dt.datetime) -> str:
        return when.strftime("%H:%M:%S UTC %b %d %Y")

    return f"""{heading}
  Status: Available
  Version: 3
  Certificate Serial Number (hex): {_serial(identity.certificate)}
  Certificate Usage: General Purpose
  Issuer:
    cn={issuer.common_name}
    o=Example
  Subject:
    cn={identity.common_name}
    o=Example
  Validity Date:
    start date: {moment(identity.certificate.not_valid_before_utc)}
    end   date: {moment(identity.certificate.not_valid_after_utc)}
  Subject Key Info:
    Public Key Algorithm: rsaEncryption
    RSA Public Key: (2048 bit)
  Signature Algorithm: SHA256 with RSA Encryption
  Fingerprint MD5: {_groups(md5, 5, "")}
  Fingerprint SHA1: {_groups(sha1, 5, "")}{" "}
  Associated Trustpoints: {trustpoint}
"""


def _paged(text: str) -> str:
    """Return the text as a terminal program saved it: a prompt, a page break in each 24 lines, CRLF."""
    lines = ["CME#show running-config", "Building configuration...", ""]
    for number, line in enumerate(text.splitlines()):
        more = " --More-- " + "\b" * 9 + " " * 8 + "\b" * 9 if number and number % 24 == 0 else ""
        lines.append(more + line)
    return "\r\n".join([*lines, "CME#", ""])
