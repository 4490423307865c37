"""Record each cause of the diagnosis, and near misses that must not have it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.harness.recorder import certificates, frames, phone_files, servers
from tests.harness.recorder.visits import TFTP_SERVER, fetching, numbered, told, visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.recorder.certificates import Identity
    from tests.harness.recorder.phone import Connection, Phone
    from tests.harness.recorder.stage import Stage

_WEEK = 7 * 86400
_DAY = dt.timedelta(days=1)


def renewed(stage: Stage) -> None:
    """``stale-hash``: the head-end presented the certificate with this hash until a week before."""
    before, now = certificates.server("renewed.example.com"), certificates.server("renewed.example.com")
    phone = numbered(32)
    told(stage, phone, before)
    caught, first, second = _renewal(stage, phone, before, now)
    shown = [
        stage.handshake(first, "match", served=[before], devices=[phone]),
        stage.handshake(second, "mismatch", served=[now], devices=[phone]),
    ]
    stage.save("renewed.pcapng", caught, shown, note="the certificate changes within the capture")
    stage.expect(phone, "mismatch", "stale-hash")


def mended(stage: Stage) -> None:
    """Near miss: wrong a week earlier, and right now; the newest handshake counts."""
    before, now = certificates.server("mended.example.com"), certificates.server("mended.example.com")
    phone = numbered(33)
    told(stage, phone, now)
    caught, first, second = _renewal(stage, phone, before, now)
    shown = [
        stage.handshake(first, "mismatch", served=[before], devices=[phone]),
        stage.handshake(second, "match", served=[now], devices=[phone]),
    ]
    stage.save("mended.pcapng", caught, shown, note="wrong first, right a week later")
    stage.expect(phone, "match")


def other_head_end(stage: Stage) -> None:
    """``other-head-end``: CME pushes the hash of its own certificate, and the ASA presents another."""
    asa, cme = certificates.server("asa.example.com"), certificates.server("cme.example.com")
    phone, visitor = numbered(36), numbered(36, head_end=37)
    told(stage, phone, cme)
    visitor.hashes = phone.hashes
    with (
        stage.cable(phone),
        servers.head_end(asa, "203.0.113.36", stage.work),
        servers.head_end(cme, "203.0.113.37", stage.work),
        stage.recording() as caught,
    ):
        refused, seen = phone.connect(), visitor.connect()
    shown = [
        stage.handshake(refused, "mismatch", served=[asa], devices=[phone]),
        stage.handshake(seen, "unlisted", served=[cme]),
    ]
    stage.save("other-head-end.pcapng", caught, shown, note="the hash is of what 203.0.113.37 presents")
    stage.expect(phone, "mismatch", "other-head-end")


def shared_certificate(stage: Stage) -> None:
    """Near miss: CME and ASA present one certificate, as they should."""
    shared = certificates.server("shared.example.com")
    phone, visitor = numbered(38), numbered(38, head_end=39)
    told(stage, phone, shared)
    visitor.hashes = phone.hashes
    with (
        stage.cable(phone),
        servers.head_end(shared, "203.0.113.38", stage.work),
        servers.head_end(shared, "203.0.113.39", stage.work),
        stage.recording() as caught,
    ):
        connections = phone.connect(), visitor.connect()
    shown = [
        stage.handshake(connections[0], "match", served=[shared], devices=[phone]),
        stage.handshake(connections[1], "unlisted", served=[shared]),
    ]
    stage.save("shared-certificate.pcapng", caught, shown, note="two servers, one certificate")
    stage.expect(phone, "match")


def issuer_hash(stage: Stage) -> None:
    """``issuer-hash``: the root's hash is pushed, but the head-end sends only its own certificate.

    The root certificate is beside the phones' files, as an engineer would put it there.
    """
    root = certificates.authority("Example Root CA 40")
    identity = certificates.server("vpn40.example.com", by=root)
    phone = numbered(40)
    phone.alert = 48
    told(stage, phone, root)
    stage.cnf(
        "Example-Root-CA-40.pem", certificates.pem(root.certificate).encode(), note="a certificate file"
    )
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    shown = stage.handshake(connection, "mismatch", served=[identity], devices=[phone])
    stage.save("issuer-hash.pcapng", caught, [shown], note="the hash is of the root, which is not sent")
    stage.expect(phone, "mismatch", "issuer-hash")


def issuer_elsewhere(stage: Stage) -> None:
    """``issuer-hash`` from captures alone: another head-end sends the root; and the near miss beside it.

    The third head-end's certificate comes from a root of the same name with another key. The hash is not that
    of its issuer, so only ``other-head-end`` is true there.
    """
    root, namesake = (certificates.authority("Example Root CA 41") for _ in range(2))
    alone = certificates.server("vpn41.example.com", by=root)
    whole = certificates.server("vpn42.example.com", by=root)
    third = certificates.server("vpn43.example.com", by=namesake)
    phone, visitor, other = numbered(41), numbered(41, head_end=42), numbered(43)
    told(stage, phone, root)
    told(stage, other, root)
    visitor.hashes = phone.hashes
    with (
        stage.cable(phone),
        servers.head_end(alone, "203.0.113.41", stage.work),
        servers.head_end(whole, "203.0.113.42", stage.work, chain=(root.certificate,)),
        servers.head_end(third, "203.0.113.43", stage.work),
        stage.recording() as caught,
    ):
        other.plug_in()
        connections = visitor.connect(), phone.connect(), other.connect()
    shown = [
        stage.handshake(connections[0], "unlisted", served=[whole, root]),
        stage.handshake(connections[1], "mismatch", served=[alone], devices=[phone]),
        stage.handshake(connections[2], "mismatch", served=[third], devices=[other]),
    ]
    stage.save(
        "issuer-elsewhere.pcapng", caught, shown, note="another head-end sends the root that is hashed"
    )
    stage.expect(phone, "mismatch", "issuer-hash")
    stage.expect(other, "mismatch", "other-head-end", note="the issuer has this name, not this key")


def wrong_input(stage: Stage) -> None:
    """``wrong-input``: digests of everything but the DER, or another digest of it, for one head-end.

    The only phone with the right hash connects and continues; its file has white space around the hash.
    """
    identity = certificates.server("wrong.example.com")
    der, text = identity.der, certificates.pem(identity.certificate)
    key = identity.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    right = hashlib.sha1(der, usedforsecurity=False)
    phone = numbered(48)
    phone.hashes = (certificates.cert_hash(identity),)
    vpn = phone_files.vpn_group([phone.url], [f"\n  {phone.hashes[0]}\r\n"])
    stage.cnf(phone.file, phone_files.cme(vpn), note="blanks and line ends around the hash")
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    others = {
        "SHA-1 of the PEM text": _base64(_sha1(text.encode())),
        "SHA-1 of the public key": _base64(_sha1(key)),
        "SHA-1 of the DER's hex text": _base64(_sha1(der.hex().encode())),
        "SHA-1 of the thumbprint's hex text": _base64(_sha1(right.hexdigest().upper().encode())),
        "MD5 of the DER": _base64(hashlib.md5(der, usedforsecurity=False).digest()),
        "SHA-256 of the DER": _base64(hashlib.sha256(der).digest()),
        "the right thumbprint in hex": right.hexdigest().upper(),
    }
    told_wrong = []
    for number, (what, value) in enumerate(others.items(), 49):
        wrong = numbered(number, head_end=48)
        told(stage, wrong, value)
        stage.expect(wrong, "mismatch", "wrong-input", note=what)
        told_wrong.append(wrong)
    unknown = numbered(56, head_end=48)
    told(stage, unknown, certificates.server("nowhere.example.com"))
    stage.expect(unknown, "mismatch", "unknown-certificate", note="of no certificate seen")
    stage.expect(phone, "match", note="blanks and line ends around the hash")
    devices = [phone, *told_wrong, unknown]
    shown = stage.handshake(connection, "match", served=[identity], devices=devices)
    stage.save("wrong-input.pcapng", caught, [shown], note="no alert: the visitor's own hash is right")


def malformed_hash(stage: Stage) -> None:
    """``malformed-hash``: not Base64, or too short; the near miss also lists a right one."""
    identity = certificates.server("malformed.example.com")
    right = certificates.cert_hash(identity)
    phone, garbled, short = numbered(57), numbered(58, head_end=57), numbered(59, head_end=57)
    told(stage, phone, identity)
    phone.hashes = ("%%%", right)
    vpn = phone_files.vpn_group([phone.url], phone.hashes)
    stage.cnf(phone.file, phone_files.cme(vpn), note="certHash1 is no Base64, certHash2 is right")
    told(stage, garbled, right.replace(right[:4], "%-%!"))
    told(stage, short, _base64(base64.b64decode(right)[:19]))
    phone.hashes = (right,)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    phone.hashes = ("%%%", right)
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone, garbled, short])
    stage.save("malformed-hash.pcapng", caught, [shown], note="the visitor continues")
    stage.expect(phone, "match", note="one of two hashes is malformed")
    stage.expect(garbled, "mismatch", "malformed-hash", note="no Base64")
    stage.expect(short, "mismatch", "malformed-hash", note="19 bytes")


def host_id(stage: Stage) -> None:
    """``host-id``: a wildcard does not count as the name. Three near misses have other causes."""
    wildcard = certificates.server("any.example.com", names=("*.example.com",))
    _refusal(
        stage,
        numbered(64, url="https://vpn64.example.com/phone"),
        wildcard,
        "host-id-wildcard",
        "host-id",
        check_host=True,
    )
    named = certificates.server("vpn65.example.com", names=("vpn65.example.com",))
    phone = numbered(65, url="https://vpn65.example.com/phone")
    phone.refuse = True
    _refusal(stage, phone, named, "host-id-named", "alert-only", check_host=True)
    unnamed = certificates.server("elsewhere.example.com", names=("elsewhere.example.com",))
    phone = numbered(67)
    phone.refuse, phone.alert = True, 46
    _refusal(stage, phone, unnamed, "host-id-off", "alert-only", check_host=False)
    phone = numbered(66, url="https://vpn66.example.com/phone")
    common = certificates.server("vpn66.example.com")
    told(stage, phone, common, check_host=True)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, common, address="203.0.113.66")
    shown = stage.handshake(
        connection, "match", served=[common], devices=[phone], server_name="vpn66.example.com"
    )
    stage.save("host-id-common-name.pcapng", caught, [shown], note="the check is on; the name is in CN alone")
    stage.expect(phone, "match")


def validity(stage: Stage) -> None:
    """``validity``: expired, or not yet valid, at the time of the handshake (not today)."""
    expired = certificates.server("expired.example.com", until=certificates.IOS_SELF_SIGNED_END)
    early = certificates.server("early.example.com", start=stage.first_day + 180 * _DAY)
    ending = certificates.server("ending.example.com", until=stage.first_day + 90 * _DAY)
    for number, name, identity, alert, cause in (
        (68, "validity-expired", expired, 45, "validity"),
        (70, "validity-later", ending, 45, "alert-only"),
        (71, "validity-not-yet", early, 42, "validity"),
    ):
        phone = numbered(number)
        phone.refuse, phone.alert = True, alert
        _refusal(stage, phone, identity, name, cause, check_host=False)
    phone = numbered(69)
    told(stage, phone, expired)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, expired)
    shown = stage.handshake(connection, "match", served=[expired], devices=[phone])
    stage.save("validity-no-matter.pcapng", caught, [shown], note="expired, but the phone continues")
    stage.expect(phone, "match")


def alert_only(stage: Stage) -> None:
    """``alert-only``: the hash matches, but the phone sends unknown_ca, like one firmware of the 8800."""
    phone = numbered(72)
    phone.refuse, phone.alert = True, 48
    _refusal(
        stage, phone, certificates.server("alert.example.com"), "alert-only", "alert-only", check_host=False
    )


def unknown_client(stage: Stage) -> None:
    """The alert of an unknown client counts for every device that is configured for this head-end."""
    identity, older = certificates.server("crowd.example.com"), certificates.server("crowd.example.com")
    right, wrong = numbered(73), numbered(74, head_end=73)
    told(stage, right, identity)
    told(stage, wrong, older)
    with stage.cable(wrong):
        caught, connection = visit(stage, wrong, identity)
    shown = stage.handshake(connection, "rejected", served=[identity], devices=[right, wrong])
    stage.save("unknown-client.pcapng", caught, [shown], note="whose alert this is cannot be told")
    stage.expect(right, "rejected", "alert-only", note="the alert may be another phone's")
    stage.expect(wrong, "mismatch", "unknown-certificate")


def known_client(stage: Stage) -> None:
    """Near miss: the rejecting client downloaded its file in the capture, so the alert counts only for it."""
    identity, older = certificates.server("known.example.com"), certificates.server("known.example.com")
    right, wrong = numbered(75), numbered(76, head_end=75)
    told(stage, right, identity)
    content = phone_files.cme(phone_files.vpn_group([wrong.url], [certificates.cert_hash(older)]))
    with stage.cable(wrong), fetching(stage, wrong, content, identity) as caught:
        wrong.fetch_over_tftp(TFTP_SERVER, stage.work)
        connection = wrong.connect()
    shown = stage.handshake(connection, None, served=[identity], devices=[right, wrong])
    fetched = stage.download(wrong.file, content, "tftp", wrong, TFTP_SERVER)
    stage.save(
        "known-client.pcapng", caught, [shown], downloads=[fetched], note="the sender of this alert is known"
    )
    stage.expect(
        right,
        None,
        note="the certificate is right, and the refusal another phone's: neither a mismatch nor a rejection",
    )
    stage.expect(wrong, "mismatch", "unknown-certificate", source="known-client.pcapng")


def client_certificate(stage: Stage) -> None:
    """The handshake also contains the phone's own certificate, whose hash is not a match.

    In the second handshake the head-end rejects the phone's certificate: a server's alert is not a rejection.
    """
    maker = certificates.authority("Example Manufacturing CA")
    identity = certificates.server("mutual.example.com")
    phone, confused, turned_away = numbered(77), numbered(78, head_end=77), numbered(79)
    own, refused_one = (certificates.device(entry.name, maker) for entry in (phone, turned_away))
    told(stage, phone, identity)
    told(stage, confused, own)
    told(stage, turned_away, identity)
    with stage.cable(phone):
        caught, accepted = visit(stage, phone, identity, options=("-verify", "1"), own=own)
        turned_away.plug_in()
        more, refused = visit(
            stage, turned_away, identity, options=("-Verify", "1", "-verify_return_error"), own=refused_one
        )
    shown = [
        stage.handshake(accepted, "match", served=[identity], own=[own], devices=[phone, confused]),
        stage.handshake(refused, "match", served=[identity], own=[refused_one], devices=[turned_away]),
    ]
    note = "the phone's own certificate is sent as well; the second head-end refuses it"
    stage.save("client-certificate.pcapng", [*caught, *more], shown, note=note)
    stage.expect(phone, "match")
    stage.expect(confused, "mismatch", "unknown-certificate", note="the hash is of a phone's certificate")
    stage.expect(turned_away, "match", note="the alert is the server's")


CAUSES: tuple[Callable[[Stage], None], ...] = (
    renewed,
    mended,
    other_head_end,
    shared_certificate,
    issuer_hash,
    issuer_elsewhere,
    wrong_input,
    malformed_hash,
    host_id,
    validity,
    alert_only,
    unknown_client,
    known_client,
    client_certificate,
)


def _renewal(
    stage: Stage, phone: Phone, before: Identity, now: Identity
) -> tuple[list[frames.Frame], Connection, Connection]:
    """Record two connections to a head-end whose certificate is replaced in the week between them."""
    address = phone.url.split("/")[2]
    with stage.cable(phone), stage.recording() as caught:
        with servers.head_end(before, address, stage.work):
            first = phone.connect()
        with servers.head_end(now, address, stage.work):
            second = phone.connect()
    change = next(at for at, frame in enumerate(caught) if second.client[1] in frame.ports)
    return frames.paused(caught, change, seconds=_WEEK), first, second


def _refusal(  # noqa: PLR0913 - the parts of a recording
    stage: Stage, phone: Phone, identity: Identity, name: str, cause: str, *, check_host: bool
) -> None:
    """Record a phone that rejects a certificate although it has its hash."""
    told(stage, phone, identity, check_host=check_host)
    number = phone.address.rsplit(".", 1)[1]
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity, address=f"203.0.113.{number}")
    host = phone.url.split("/")[2]
    shown = stage.handshake(
        connection,
        "rejected",
        served=[identity],
        devices=[phone],
        server_name=host if "example" in host else None,
    )
    stage.save(
        f"{name}.pcapng", caught, [shown], note=f"refused with alert {phone.alert} although the hash matches"
    )
    stage.expect(phone, "rejected", cause)


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
