"""What every verdict, cause and hidden certificate means: the words that the reports and `explain` share.

Advice is a sequence of lines. A line that begins with :data:`TYPED` is to be typed, any other is a sentence.
Words in capitals stand for what the operator fills in; whoever has the evidence may put names in their place.

The rules rest on Cisco TAC 116638, on the CME administration guide's chapters about SSL VPN for SCCP phones
and about cnf files, on the CUCM VPN chapter, on TAC 115785 (ASA and AnyConnect VPN Phone) and on field notice
70489.
"""

from __future__ import annotations

from msgspec import Struct

TYPED = "  "
"""What a line of advice begins with that is to be typed."""


class Topic(Struct, frozen=True):
    """One thing that `certhash explain` explains."""

    title: str
    meaning: str
    evidence: str
    """How it is found out."""
    advice: tuple[str, ...] = ()


def is_typed(line: str) -> bool:
    """Tell whether a line of advice is to be typed."""
    return line.startswith(TYPED)


# ---------------------------------------------------------------- commands, for advice made elsewhere

CME_REBUILD = (
    "The file on the router is a snapshot: make it again and let the phones fetch it.",
    "  telephony-service",
    "   cnf-file location flash:",
    "   cnf-file perphone",
    "   no create cnf-files",
    "   create cnf-files",
    "  ephone TAG",
    "   reset",
)
"""Cisco's order: first clear the files, then create them, then reset the phone."""

CME_SHOW = ("  show voice vpn",)
"""Prints the hashes that CME will push, in Base64."""

CME_LEAF = (
    "Where IOS itself is the head-end, CME is to push the hash of the leaf:",
    "  voice service voip",
    "   vpn-group TAG",
    "    vpn-trustpoint NUMBER trustpoint NAME leaf",
    "    vpn-hash-algorithm sha-1",
)

CME_ROOT = (
    "Where an ASA is the head-end, CME is to push the hash of the CA certificate that the ASA sends:",
    "  voice service voip",
    "   vpn-group TAG",
    "    vpn-trustpoint NUMBER trustpoint NAME root",
    "    vpn-hash-algorithm sha-1",
)

IOS_SERVE = (
    "What an IOS head-end presents is set here:",
    "  webvpn gateway NAME",
    "   ssl trustpoint TRUSTPOINT",
)

ASA_SERVE = (
    "What an ASA presents is set here:",
    "  ssl trust-point TRUSTPOINT outside",
)

CME_HOST_ID = (
    "Or switch the check off for these phones; the hash is compared all the same:",
    "  voice service voip",
    "   vpn-profile TAG",
    "    host-id-check disable",
)

CUCM_REBUILD = (
    (
        "On CUCM: put the head-end's certificate into Phone-VPN-trust, choose it for the VPN gateway, and"
        " reset the phones."
    ),
)

CHECK_INPUT = (
    "Turn the certificate that the head-end presents into the hash, and compare:",
    "  certhash hash FILE.cer",
)

# ---------------------------------------------------------------- causes

CAUSES: dict[str, Topic] = {
    "stale-hash": Topic(
        "the hash of an earlier certificate",
        "The phone holds the hash of a certificate that this head-end presented before. The certificate was"
        " renewed or replaced, and the phone's file was not made again: cnf files are snapshots.",
        "A certificate with this hash was presented by this head-end in an older handshake, or stands in a"
        " configuration that was given.",
        (*CME_REBUILD, *CUCM_REBUILD),
    ),
    "other-head-end": Topic(
        "the hash of another server's certificate",
        "The hash is right for another server. Typical where CME stands behind an ASA: CME pushes the hash"
        " of its own certificate, and the phone meets the ASA's.",
        "A certificate with this hash was presented by another server, or stands in a configuration that"
        " was given, and never by this head-end.",
        (
            (
                "Let CME push the hash of what the head-end presents: import the head-end's CA certificate"
                " into a trustpoint and name that one."
            ),
            *CME_ROOT,
            *ASA_SERVE,
            *CME_REBUILD,
        ),
    ),
    "issuer-hash": Topic(
        "the hash of another certificate of the chain",
        "The hash is of a certificate that issued the one served, or of one issued by it, and that"
        " certificate is not in what the head-end sends. A phone compares with what it receives.",
        "The hash is of a known certificate whose name or key makes it part of the same chain, and no"
        " certificate of the handshake has it.",
        (
            "Choose leaf or root to suit the head-end, or make the head-end send the whole chain.",
            *CME_LEAF,
            *CME_ROOT,
            *CME_REBUILD,
        ),
    ),
    "wrong-input": Topic(
        "a digest of something else",
        "The value was computed from the right certificate and in the wrong way: from the PEM text instead"
        " of the DER bytes, from the public key alone, from the hexadecimal text, or with MD5 or another"
        " algorithm than SHA-1.",
        "The value equals one of these digests of a certificate that was presented.",
        (*CHECK_INPUT, "Put that value into the file, or let CME make the file.", *CME_REBUILD),
    ),
    "malformed-hash": Topic(
        "no hash at all",
        "The value is no Base64, or decodes to a length that no digest has (SHA-1 has 20 bytes: 28"
        " characters that end with =). No certificate can match it.",
        "The value was decoded, and its length counted.",
        (*CHECK_INPUT, *CME_REBUILD),
    ),
    "unknown-certificate": Topic(
        "the hash of a certificate that nobody has seen",
        "The hash is well-formed, and nothing that was given has it: no handshake, no configuration, no"
        " certificate file. It may be of a certificate from before these captures.",
        "Every certificate that was presented or given was hashed, and compared with it.",
        (
            "See what CME will push, and what the head-end presents:",
            *CME_SHOW,
            "  certhash probe URL --cnf FOLDER",
            "Give older captures or the routers' configurations to the audit, and the cause may be told.",
            *CME_LEAF,
            *CME_REBUILD,
        ),
    ),
    "host-id": Topic(
        "the certificate does not name the host of the URL",
        "The hash matches. The host ID check is on (which is the default of CME and CUCM), and the host of"
        " the URL is neither among the certificate's subject alternative names nor its common name; a"
        " wildcard does not count. The phone then refuses.",
        "The host of the URL was compared with the names in the certificate that matched.",
        (
            (
                "Issue the head-end's certificate with the host of the URL as a subject alternative name,"
                " or write a URL with a host that the certificate names."
            ),
            *CME_HOST_ID,
            *CME_REBUILD,
        ),
    ),
    "validity": Topic(
        "not valid at the time",
        "The certificate had expired, or was not yet valid, when the handshake took place. No source says"
        " that these phones check this when the hash matches, so it is a hint and no proof. Self-signed"
        " certificates of older IOS releases all expire on 2020-01-01 (field notice 70489).",
        "The times in the certificate were compared with the time of the handshake.",
        (
            (
                "Check the clocks of the router and of the capturing host, and renew the certificate if it"
                " is due:"
            ),
            "  show clock detail",
            "  show crypto pki certificates verbose NAME",
            "A new certificate has a new hash:",
            *CME_REBUILD,
        ),
    ),
    "alert-only": Topic(
        "rejected, though the hash matches",
        "The phone sent a fatal certificate alert after a certificate whose hash its file lists, and"
        " nothing that was seen says why. The phone may hold an older file than the one that was given.",
        "An alert 42 to 46 or 48 of the client follows the certificate in the handshake.",
        (
            (
                "Reset the phone, so that it fetches its file anew, and capture the fetch (TFTP, UDP 69) as"
                " well as the VPN."
            ),
            (
                "See that the URL is the group-url of the tunnel group, and that the head-end and the phone"
                " share a cipher for TLS and DTLS."
            ),
            "An 88xx with firmware 12.5(1) that says unknown_ca: see CSCvn76864.",
        ),
    ),
}

# ---------------------------------------------------------------- verdicts

VERDICTS: dict[str, Topic] = {
    "match": Topic(
        "the phone trusts the head-end",
        "The newest handshake with this head-end that can be verified carries a certificate with one of the"
        " phone's hashes, and the client went on.",
        "Every certificate of the chain as presented was hashed (SHA-1 over the DER) and compared with"
        " every hash of the file, as bytes.",
    ),
    "mismatch": Topic(
        "the phone holds the hash of another certificate",
        "The newest handshake with this head-end that can be verified carries no certificate with one of"
        " the phone's hashes. The phone answers with a fatal bad_certificate alert and builds no tunnel.",
        "Every certificate of the chain as presented was hashed (SHA-1 over the DER) and compared with"
        " every hash of the file, as bytes.",
        ("The cause says what to do.",),
    ),
    "rejected": Topic(
        "the hash matches, and the phone refused all the same",
        "The certificate has one of the phone's hashes, and still the client sent a fatal certificate alert.",
        "An alert 42 to 46 or 48 of the client follows the certificate in the handshake.",
        ("The cause says what to do.",),
    ),
    "unverifiable": Topic(
        "nobody can tell",
        "There are handshakes with this head-end, and in none of them the server's certificate can be seen;"
        " or the right one is seen, and nothing shows that the client took it; or a clock was set back, and"
        " which handshake is the newest cannot be told; or the phone's file is encrypted. That is neither a"
        " match nor a mismatch.",
        "Each handshake says why its certificate is hidden, whether the client went on, and when it was.",
        (
            (
                "Capture a full handshake: from before the phone connects, with whole packets, after the"
                " phone was reset (so that it does not resume a session)."
            ),
            "  tshark -i INTERFACE -s 0 -w FILE.pcapng host ADDRESS",
        ),
    ),
    "unseen": Topic(
        "no handshake was seen",
        "No handshake with this head-end is in the captures.",
        "Head-ends are told by address and port, by server name, and by DNS answers in the captures.",
        (
            "Capture where the phone's packets pass, or ask the head-end directly:",
            "  certhash probe URL --cnf FOLDER",
            "A name that the captures do not resolve can be given: --resolve NAME=ADDRESS.",
        ),
    ),
    "unlisted": Topic(
        "no phone is told to use this server",
        "A handshake with a server that no URL of any file names. It is counted, and is no finding.",
        "The server's address, port and name were compared with every URL.",
    ),
}

# ---------------------------------------------------------------- why a certificate cannot be seen

HIDDEN: dict[str, Topic] = {
    "resumed": Topic(
        "the session was resumed",
        "An abbreviated handshake carries no Certificate message: the phone had checked the certificate"
        " before.",
        "The server accepted the session ID or the ticket that the client offered.",
        ("Reset the phone while capturing: then it makes a full handshake.",),
    ),
    "tls-1.3": Topic(
        "TLS 1.3 without keys",
        "From TLS 1.3 on the Certificate message is encrypted.",
        "The server chose TLS 1.3, and no keys were given that decrypt it.",
        ("Give the keys that the client or the server logged:", "  certhash audit CAPTURE --keylog FILE"),
    ),
    "packets-missing": Topic(
        "packets are missing or out of order",
        "Parts of the handshake are not in the capture, or in an order in which tshark does not put its"
        " messages together.",
        "TCP sequence numbers or DTLS fragments leave a gap.",
        ("Capture closer to the phone or the head-end, and see whether the capture program reports drops.",),
    ),
    "snaplen": Topic(
        "packets were cut when they were recorded",
        "The capture keeps less of a packet than was on the wire.",
        "The captured length is less than the length on the wire.",
        ("Capture whole packets:", "  tshark -i INTERFACE -s 0 -w FILE.pcapng"),
    ),
    "too-long": Topic(
        "a Certificate message of 64 KB or more",
        "tshark does not dissect a handshake message this long.",
        "The length that the message states.",
        ("No phone needs such a chain: see what the head-end is configured to send.",),
    ),
    "no-certificate": Topic(
        "the cipher suite needs no certificate",
        "With an anonymous or pre-shared-key cipher suite the server sends none.",
        "The cipher suite that the server chose.",
    ),
    "incomplete": Topic(
        "the handshake ends early",
        "The capture or the connection ends before the server has sent its certificate.",
        "There is a ClientHello, and no server's certificate after it.",
        ("Capture longer, or see why the head-end does not answer.",),
    ),
}

TOPICS: dict[str, Topic] = {**CAUSES, **VERDICTS, **HIDDEN}
"""Everything that has an explanation, by its name in the result."""
