"""Meaning, evidence and advice for every verdict, cause and hidden certificate.

The reports and `certhash explain` share them.

Advice is a sequence of lines. A line that begins with :data:`TYPED` is typed as it is; any other line is a
sentence. Words in capitals are placeholders. Callers that know the value may fill it in.

Sources: Cisco TAC 116638, the CME administration guide (SSL VPN for SCCP phones, cnf files), the CUCM VPN
chapter, TAC 115785 (ASA and AnyConnect VPN Phone) and field notice 70489.
"""

from __future__ import annotations

from msgspec import Struct

TYPED = "  "
"""The prefix of an advice line that is typed as it is."""


class Topic(Struct, frozen=True):
    """One entry of `certhash explain`."""

    title: str
    meaning: str
    evidence: str
    """How certhash decides that it applies."""
    advice: tuple[str, ...] = ()


def is_typed(line: str) -> bool:
    """Return whether an advice line is a command to type."""
    return line.startswith(TYPED)


# ---------------------------------------------------------------- commands that several topics share

CME_REBUILD = (
    "Regenerate the phone's cnf file, then reset the phone so that it downloads it:",
    "  telephony-service",
    "   cnf-file location flash:",
    "   cnf-file perphone",
    "   no create cnf-files",
    "   create cnf-files",
    "  ephone TAG",
    "   reset",
)
"""Cisco's order: clear the files, create them, then reset the phone."""

CME_SHOW = ("  show voice vpn",)
"""Prints the hashes that CME writes into cnf files, in Base64."""

CME_LEAF = (
    "If IOS is the head-end, let CME use the hash of its leaf certificate:",
    "  voice service voip",
    "   vpn-group TAG",
    "    vpn-trustpoint NUMBER trustpoint NAME leaf",
    "    vpn-hash-algorithm sha-1",
)

CME_ROOT = (
    "If an ASA is the head-end, let CME use the hash of the CA certificate that the ASA sends:",
    "  voice service voip",
    "   vpn-group TAG",
    "    vpn-trustpoint NUMBER trustpoint NAME root",
    "    vpn-hash-algorithm sha-1",
)

ASA_SERVE = (
    "An ASA presents the certificate of this trustpoint:",
    "  ssl trust-point TRUSTPOINT outside",
)

CME_HOST_ID = (
    "Or disable the host-ID check for these phones. They still compare the hash:",
    "  voice service voip",
    "   vpn-profile TAG",
    "    host-id-check disable",
)

CUCM_REBUILD = (
    (
        "On CUCM: upload the head-end's certificate to Phone-VPN-trust, select it for the VPN gateway, and"
        " reset the phones."
    ),
)

CHECK_INPUT = (
    "Compute the hash of the certificate that the head-end presents, and compare:",
    "  certhash hash FILE.cer",
)

GET_THE_PLAIN_FILE = (
    (
        "Only the phone has the private key. On CUCM, clear TFTP Encrypted Config in the phone's security"
        " profile, reset the phone, and give the file that it downloads then."
    ),
)
"""CUCM security guide, encrypted phone configuration files."""

# ---------------------------------------------------------------- causes

CAUSES: dict[str, Topic] = {
    "stale-hash": Topic(
        "the hash of an earlier certificate",
        "The phone expects a certificate that this head-end presented earlier. The certificate was renewed or"
        " replaced, but the phone's cnf file was not regenerated.",
        "This head-end presented a certificate with this hash in an older handshake. If the capture shows"
        " that the phone did not get its cnf file (TFTP error, no answer, another file), a warning says so.",
        (*CME_REBUILD, *CUCM_REBUILD),
    ),
    "other-head-end": Topic(
        "the hash of another server's certificate",
        "The hash belongs to another server. This is typical of a CME behind an ASA: CME writes the hash of"
        " its own certificate, but the phone connects to the ASA.",
        "Another server presents a certificate with this hash, or a given configuration contains one. This"
        " head-end never presented it.",
        (
            (
                "Let CME use the hash of the certificate that the head-end presents: import the head-end's CA"
                " certificate into a trustpoint of CME, and refer to that trustpoint in the vpn-group."
            ),
            *CME_ROOT,
            *ASA_SERVE,
            *CME_REBUILD,
        ),
    ),
    "issuer-hash": Topic(
        "the hash of another certificate of the chain",
        "The hash belongs to the issuer of the presented certificate, or to a certificate that it issued. The"
        " head-end does not send that certificate, so the phone cannot match it.",
        "A known certificate has this hash, and its name and key make it part of the same chain. No"
        " certificate of the handshake has the hash.",
        (
            "Choose leaf or root according to what the head-end sends, or let it send the whole chain.",
            *CME_LEAF,
            *CME_ROOT,
            *CME_REBUILD,
        ),
    ),
    "wrong-input": Topic(
        "a digest of something else",
        "The value was computed from the right certificate in the wrong way: from the PEM text instead of the"
        " DER bytes, from the public key alone, from the hexadecimal text, or with another algorithm than"
        " SHA-1.",
        "The value equals one of these digests of a presented certificate.",
        (*CHECK_INPUT, "Put that value into the cnf file, or let CME generate the file.", *CME_REBUILD),
    ),
    "malformed-hash": Topic(
        "not a hash",
        "The value is not Base64, or it decodes to a length that no digest has. A SHA-1 has 20 bytes: 28"
        " Base64 characters, the last of them =. No certificate can match the value.",
        "The value was decoded, and its length checked.",
        (*CHECK_INPUT, *CME_REBUILD),
    ),
    "unknown-certificate": Topic(
        "the hash of an unknown certificate",
        "The hash is well-formed, but no handshake, configuration or certificate file has a certificate with"
        " this hash. It may belong to a certificate from before the captures.",
        "Every certificate in the captures and in the given files was hashed and compared.",
        (
            "Compare the hash in CME with the certificate that the head-end presents:",
            *CME_SHOW,
            "  certhash probe URL --cnf FOLDER",
            "Older captures or the routers' configurations may reveal the cause: add them to the audit.",
            *CME_LEAF,
            *CME_REBUILD,
        ),
    ),
    "host-id": Topic(
        "the certificate does not name the host of the URL",
        "The hash matches, and the host-ID check is on (the default of CME and CUCM). The host of the URL is"
        " neither a subject alternative name nor the common name of the certificate. A wildcard does not"
        " count. The phone then rejects the certificate.",
        "The host of the URL was compared with the names in the matching certificate.",
        (
            (
                "Issue the head-end's certificate with the host of the URL as a subject alternative name, or"
                " use a URL with a host that the certificate names."
            ),
            *CME_HOST_ID,
            *CME_REBUILD,
        ),
    ),
    "validity": Topic(
        "not valid at the time of the handshake",
        "The certificate had expired or was not yet valid at the time of the handshake. Cisco does not"
        " document whether phones check this when the hash matches, so it is a hint, not a proof. Self-signed"
        " certificates of older IOS releases all expire on 2020-01-01 (field notice 70489).",
        "The validity of the certificate was compared with the time of the handshake.",
        (
            (
                "Check the clock of the router and of the capturing host. Renew the certificate if it has"
                " expired:"
            ),
            "  show clock detail",
            "  show crypto pki certificates verbose NAME",
            "A new certificate has a new hash.",
            *CME_REBUILD,
        ),
    ),
    "alert-only": Topic(
        "rejected, though the hash matches",
        "The phone sent a fatal certificate alert although the hash matches, and nothing shows why. The phone"
        " may still use an older cnf file than the one that was given.",
        "After the certificate, the client sent an alert 42 to 46 or 48.",
        (
            (
                "Reset the phone so that it downloads its cnf file again. Capture the download (TFTP, UDP 69)"
                " and the VPN handshake."
            ),
            (
                "Check that the URL is the group-url of the tunnel group, and that the head-end and the phone"
                " share a cipher suite for TLS and DTLS."
            ),
            "For an 88xx with firmware 12.5(1) that sends unknown_ca, see CSCvn76864.",
        ),
    ),
}

# ---------------------------------------------------------------- verdicts

_COMPARED = (
    "Every certificate of the presented chain was hashed (SHA-1 of the DER) and compared with every hash of"
    " the cnf file, byte by byte."
)
_SEE_CAUSE = ("See what to do about the cause:", "  certhash explain CAUSE")

VERDICTS: dict[str, Topic] = {
    "match": Topic(
        "the phone trusts the head-end",
        "In the newest verifiable handshake, the head-end presents a certificate with one of the phone's"
        " hashes, and the client continues.",
        _COMPARED,
    ),
    "mismatch": Topic(
        "the phone expects another certificate",
        "In the newest verifiable handshake, the head-end presents no certificate with one of the phone's"
        " hashes. The phone answers with a fatal bad_certificate alert and builds no tunnel.",
        _COMPARED,
        _SEE_CAUSE,
    ),
    "rejected": Topic(
        "the hash matches, but the client rejected the certificate",
        "The certificate has one of the phone's hashes, but the client sent a fatal certificate alert.",
        "After the certificate, the client sent an alert 42 to 46 or 48.",
        _SEE_CAUSE,
    ),
    "unverifiable": Topic(
        "cannot be verified",
        "The input does not decide between match and mismatch: no handshake with this head-end shows the"
        " server's certificate; or the right certificate is there, but not the client's reaction; or a clock"
        " was set back, so that the newest handshake is not known; or the phone's cnf file is encrypted.",
        "Each handshake states why its certificate is hidden, whether the client continued, and its time.",
        (
            (
                "Capture a full handshake: start before the phone connects, capture whole packets, and reset"
                " the phone so that it does not resume a session."
            ),
            "  tshark -i INTERFACE -s 0 -w FILE.pcapng host ADDRESS",
        ),
    ),
    "unseen": Topic(
        "no handshake in the captures",
        "The captures contain no handshake with this head-end.",
        "Head-ends are identified by address and port, by server name, and by DNS answers in the captures.",
        (
            "Capture where the phone's packets pass, or ask the head-end directly:",
            "  certhash probe URL --cnf FOLDER",
            "If the captures do not resolve the name, add --resolve NAME=ADDRESS.",
        ),
    ),
    "unlisted": Topic(
        "no cnf file names this server",
        "No URL of any cnf file names the server of this handshake. It is counted, but it is not a finding.",
        "The server's address, port and name were compared with every URL.",
    ),
}

# ---------------------------------------------------------------- why a certificate is hidden

# Syntax: ASA general operations CLI configuration guide, "Capturing Packets" (`capture`, `copy /pcap`); Cisco
# document 116045, "Embedded Packet Capture" (`monitor capture`). By default an ASA keeps 512 KB and 1,518
# bytes of a packet, IOS 68 bytes of a packet.
ON_THE_HEAD_END = (
    "To capture whole packets on an ASA head-end:",
    "  capture PHONE match ip host ADDRESS any",
    "  capture PHONE packet-length 1522 buffer 33554432",
    "  capture PHONE interface outside",
    "  copy /pcap capture:PHONE tftp://SERVER/phone.pcap",
    "  no capture PHONE",
    "To capture whole packets on IOS (max-size is the packet length):",
    "  monitor capture buffer PHONE size 10240 max-size 1518 linear",
    "  monitor capture point ip cef OUTSIDE INTERFACE both",
    "  monitor capture point associate OUTSIDE PHONE",
    "  monitor capture point start OUTSIDE",
    "  monitor capture point stop OUTSIDE",
    "  monitor capture buffer PHONE export tftp://SERVER/phone.pcap",
    "To capture whole packets on IOS XE:",
    "  monitor capture PHONE interface INTERFACE both match ipv4 any any",
    "  monitor capture PHONE start",
    "  monitor capture PHONE stop",
    "  monitor capture PHONE export tftp://SERVER/phone.pcap",
)

HIDDEN: dict[str, Topic] = {
    "resumed": Topic(
        "the session was resumed",
        "A resumed session has no Certificate message: the phone checked the certificate in an earlier"
        " handshake.",
        "The server accepted the session ID or the ticket that the client offered.",
        ("Reset the phone during the capture, so that it makes a full handshake.",),
    ),
    "tls-1.3": Topic(
        "TLS 1.3 without keys",
        "TLS 1.3 encrypts the Certificate message.",
        "The server chose TLS 1.3, and no given key decrypts the handshake.",
        ("Give the keys that the client or the server logged:", "  certhash audit CAPTURE --keylog FILE"),
    ),
    "packets-missing": Topic(
        "packets are missing or out of order",
        "The capture lacks parts of the handshake, or has them in an order that tshark does not reassemble.",
        "TCP sequence numbers or DTLS fragments have a gap.",
        (
            "Capture closer to the phone or the head-end. Check whether the capture program drops packets.",
            *ON_THE_HEAD_END,
        ),
    ),
    "snaplen": Topic(
        "the capture cut the packets",
        "The capture holds only the first bytes of each packet.",
        "The captured length is less than the length on the wire.",
        ("Capture whole packets:", "  tshark -i INTERFACE -s 0 -w FILE.pcapng", *ON_THE_HEAD_END),
    ),
    "too-long": Topic(
        "a Certificate message of 64 KB or more",
        "tshark does not dissect a handshake message of this length.",
        "The length field of the message.",
        ("No phone needs such a long chain: check which certificates the head-end is configured to send.",),
    ),
    "no-certificate": Topic(
        "the cipher suite uses no certificate",
        "With an anonymous or pre-shared-key cipher suite, the server sends no certificate.",
        "The cipher suite that the server chose.",
    ),
    "incomplete": Topic(
        "the handshake ends early",
        "The capture or the connection ends before the server sends its certificate.",
        "A ClientHello, but no certificate from the server after it.",
        ("Capture longer, or check why the head-end does not answer.",),
    ),
}

TOPICS: dict[str, Topic] = {**CAUSES, **VERDICTS, **HIDDEN}
"""Every topic by its name in the result."""
