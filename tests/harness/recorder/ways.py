"""Record the ways in which a phone gets its file, the kinds of URLs, and the forms of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.recorder import certificates, frames, phone_files, servers
from tests.harness.recorder.phone import TLS_1_2
from tests.harness.recorder.visits import TFTP_SERVER, fetching, numbered, told, visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.recorder.stage import Stage

_RESOLVER = "192.0.2.53"
_HALF_HOUR = 1800


def one_name(stage: Stage) -> None:
    """Two head-ends with one name, which only the DNS answer in the capture shows: no SNI is sent."""
    phone = numbered(110, url="https://vpn110.example.com/phone")
    one_only = numbered(111, url=phone.url)
    nowhere = numbered(112, url="https://vpn112.example.com/phone")
    phone.sends_name = False
    first, second = (certificates.server("vpn110.example.com") for _ in range(2))
    told(stage, phone, first, second)
    told(stage, one_only, first)
    told(stage, nowhere, first)
    hosts: dict[str, tuple[str, ...]] = {"vpn110.example.com": ("203.0.113.110", "203.0.113.111")}
    with (
        stage.cable(phone),
        servers.dns(_RESOLVER, hosts, stage.work),
        servers.head_end(first, "203.0.113.110", stage.work),
        servers.head_end(second, "203.0.113.111", stage.work),
        stage.recording() as caught,
    ):
        phone.resolve("vpn110.example.com", _RESOLVER)
        connections = [phone.connect(address=address) for address in hosts["vpn110.example.com"]]
    shown = [
        stage.handshake(connections[0], "match", served=[first], devices=[phone, one_only]),
        stage.handshake(connections[1], "match", served=[second], devices=[phone, one_only]),
    ]
    stage.save("one-name.pcapng", caught, shown, note="a DNS answer with two addresses; TLS 1.0 without SNI")
    stage.expect(phone, "match")
    stage.expect(one_only, "mismatch", "other-head-end", note="the hash is of the other address's")
    stage.expect(nowhere, "unseen", note="a name that no answer in the captures explains")


def capital_letters(stage: Stage) -> None:
    """A host name in upper case in the URL, and in lower case in SNI and certificate."""
    phone = numbered(122, url="https://VPN122.Example.COM/phone", version=TLS_1_2)
    identity = certificates.server("vpn122.example.com", names=("vpn122.example.com",))
    told(stage, phone, identity, check_host=True)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity, address="203.0.113.122")
    shown = stage.handshake(
        connection, "match", served=[identity], devices=[phone], server_name="vpn122.example.com"
    )
    stage.save("capital-letters.pcapng", caught, [shown], note="the URL's host is written in capitals")
    stage.expect(phone, "match")


def literal_with_port(stage: Stage) -> None:
    """An uncompressed IPv6 literal with a port."""
    phone = numbered(118, url="https://[2001:0DB8:0:200:0:0:0:118]:8443/phone", version=TLS_1_2)
    phone.address = "2001:db8:0:100::118"
    identity = certificates.server("vpn118.example.com", names=("2001:db8:0:200::118",))
    told(stage, phone, identity)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity, address="2001:db8:0:200::118")
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("literal-with-port.pcapng", caught, [shown], note="IPv6, port 8443")
    stage.expect(phone, "match")


def three_urls(stage: Stage) -> None:
    """Three URLs and two hashes, as independent lists: rejected, trusted, never tried."""
    phone = numbered(119)
    urls = [f"https://203.0.113.{number}/phone" for number in (119, 120, 121)]
    first, second = certificates.server("vpn119.example.com"), certificates.server("vpn120.example.com")
    older = certificates.server("vpn119.example.com")
    phone.hashes = (certificates.cert_hash(second), certificates.cert_hash(older))
    stage.cnf(
        phone.file, phone_files.cme(phone_files.vpn_group(urls, phone.hashes)), note="three URLs, two hashes"
    )
    with (
        stage.cable(phone),
        servers.head_end(first, "203.0.113.119", stage.work),
        servers.head_end(second, "203.0.113.120", stage.work),
        stage.recording() as caught,
    ):
        connections = []
        for phone.url in urls[:2]:
            connections.append(phone.connect())
    shown = [
        stage.handshake(connections[0], "mismatch", served=[first], devices=[phone]),
        stage.handshake(connections[1], "match", served=[second], devices=[phone]),
    ]
    stage.save("three-urls.pcapng", caught, shown, note="certHash1 is of what the second URL presents")
    for url, verdict in zip(urls, ("mismatch", "match", "unseen"), strict=True):
        stage.expect(phone, verdict, url=url)


def http_download(stage: Stage) -> None:
    """The file is downloaded over HTTP from port 6970, the first attempt of newer phones."""
    phone = numbered(113)
    identity = certificates.server("vpn113.example.com")
    content = phone_files.cucm(phone_files.vpn_group([phone.url], [certificates.cert_hash(identity)]))
    with stage.cable(phone):
        root = stage.work / "web"
        stage.cnf(phone.file, content, served_at=root)
        with (
            servers.web("192.0.2.6", root, stage.work / "web.log"),
            servers.head_end(identity, "203.0.113.113", stage.work),
            stage.recording() as caught,
        ):
            phone.fetch_over_http("192.0.2.6")
            connection = phone.connect()
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    fetched = stage.download(phone.file, content, "http", phone, "192.0.2.6")
    stage.save("http-download.pcapng", caught, [shown], downloads=[fetched], note="HTTP, port 6970")
    stage.expect(phone, "match", source="http-download.pcapng")


def signed_download(stage: Stage) -> None:
    """The file downloaded over TFTP is signed, and much longer than one block."""
    phone = numbered(117)
    identity = certificates.server("vpn117.example.com")
    name = f"{phone.file}.sgn"
    vpn = phone_files.vpn_group([phone.url], [certificates.cert_hash(identity)])
    content = phone_files.signed(phone_files.cucm(vpn), name, certificates.server("TFTP"))
    with stage.cable(phone), fetching(stage, phone, content, identity, name) as caught:
        phone.fetch_over_tftp(TFTP_SERVER, stage.work, name)
        connection = phone.connect()
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    fetched = stage.download(name, content, "tftp", phone, TFTP_SERVER)
    stage.save(
        "signed-download.pcapng", caught, [shown], downloads=[fetched], note="a .cnf.xml.sgn over TFTP"
    )
    stage.expect(phone, "match", source="signed-download.pcapng")


def changed_copy(stage: Stage) -> None:
    """The copy in the folder is older than the file that the phone downloads and uses."""
    phone = numbered(114)
    identity, older = certificates.server("vpn114.example.com"), certificates.server("vpn114.example.com")
    told(stage, phone, older)
    content = phone_files.cme(phone_files.vpn_group([phone.url], [certificates.cert_hash(identity)]))
    with stage.cable(phone), fetching(stage, phone, content, identity) as caught:
        phone.fetch_over_tftp(TFTP_SERVER, stage.work)
        connection = phone.connect()
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    fetched = stage.download(phone.file, content, "tftp", phone, TFTP_SERVER)
    note = f"cnf/{phone.file} holds an older hash than the file fetched"
    stage.save("changed-copy.pcapng", caught, [shown], downloads=[fetched], note=note)
    stage.expect(phone, "match", note=note, source="changed-copy.pcapng")


def fetched_twice(stage: Stage) -> None:
    """The file changes with the certificate: a handshake is judged by the file downloaded before it."""
    phone = numbered(116)
    before, now = certificates.server("vpn116.example.com"), certificates.server("vpn116.example.com")
    contents = [
        phone_files.cme(phone_files.vpn_group([phone.url], [certificates.cert_hash(entry)]))
        for entry in (before, now)
    ]
    with stage.cable(phone):
        root = stage.work / "tftp"
        root.mkdir()
        connections = []
        with servers.tftp(TFTP_SERVER, root, stage.work / "tftpd.log"), stage.recording() as caught:
            for identity, content in zip((before, now), contents, strict=True):
                stage.cnf(phone.file, content, served_at=root)
                phone.fetch_over_tftp(TFTP_SERVER, stage.work)
                with servers.head_end(identity, "203.0.113.116", stage.work):
                    connections.append(phone.connect())
    second = [at for at, frame in enumerate(caught) if frame.ports[1] == 69][-1]
    shown = [
        stage.handshake(connections[0], "match", served=[before], devices=[phone]),
        stage.handshake(connections[1], "match", served=[now], devices=[phone]),
    ]
    fetched = [stage.download(phone.file, content, "tftp", phone, TFTP_SERVER) for content in contents]
    later = frames.paused(caught, second, _HALF_HOUR)
    stage.save(
        "fetched-twice.pcapng", later, shown, downloads=fetched, note="the file is fetched again, changed"
    )
    stage.expect(phone, "match", source="fetched-twice.pcapng")


def other_port(stage: Stage) -> None:
    """The right certificate is on another port of the head-end's address, the wrong one on the URL's port."""
    phone = numbered(124)
    visitor = numbered(124, url="https://203.0.113.124:8443/phone")
    identity, right = certificates.server("vpn124.example.com"), certificates.server("vpn124.example.com")
    told(stage, phone, right)
    visitor.hashes = phone.hashes
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.124", stage.work),
        servers.head_end(right, "203.0.113.124", stage.work, port=8443),
        stage.recording() as caught,
    ):
        refused, seen = phone.connect(), visitor.connect()
    shown = [
        stage.handshake(refused, "mismatch", served=[identity], devices=[phone]),
        stage.handshake(seen, "unlisted", served=[right]),
    ]
    stage.save("other-port.pcapng", caught, shown, note="port 443 wrong, port 8443 right; the URL means 443")
    stage.expect(phone, "mismatch", "other-head-end")


def two_names(stage: Stage) -> None:
    """One address serves two names by SNI; the certificate of one name is irrelevant for the other."""
    phone = numbered(125, url="https://vpn125.example.com/phone", version=TLS_1_2)
    other = numbered(126, url="https://vpn126.example.com/phone", version=TLS_1_2)
    names = ("vpn125.example.com", "vpn126.example.com")
    first, second = (certificates.server(name, names=(name,)) for name in names)
    told(stage, phone, first)
    told(stage, other, first)
    with stage.cable(phone):
        other.plug_in()
        with (
            servers.dns(_RESOLVER, dict.fromkeys(names, ("203.0.113.125",)), stage.work),
            servers.by_name((first, second), "203.0.113.125", stage.work),
            stage.recording() as caught,
        ):
            for name in names:
                phone.resolve(name, _RESOLVER)
            connections = [entry.connect(address="203.0.113.125") for entry in (phone, other)]
    shown = [
        stage.handshake(connections[0], "match", served=[first], devices=[phone], server_name=names[0]),
        stage.handshake(connections[1], "mismatch", served=[second], devices=[other], server_name=names[1]),
    ]
    stage.save("two-names.pcapng", caught, shown, note="two names, one address, two certificates")
    stage.expect(phone, "match")
    stage.expect(other, "mismatch", note="the hash is of what the other name gets")


def alias(stage: Stage) -> None:
    """The URL's name is an alias: the DNS answer contains the other name with its address. No SNI."""
    phone = numbered(127, url="https://vpn127.example.com/phone")
    phone.sends_name = False
    identity = certificates.server("vpn127.example.com")
    told(stage, phone, identity)
    hosts: dict[str, tuple[str, ...]] = {"head-end.example.net": ("203.0.113.127",)}
    with (
        stage.cable(phone),
        servers.dns(_RESOLVER, hosts, stage.work, alias=("vpn127.example.com", "head-end.example.net")),
        servers.head_end(identity, "203.0.113.127", stage.work),
        stage.recording() as caught,
    ):
        phone.resolve("vpn127.example.com", _RESOLVER)
        connection = phone.connect(address="203.0.113.127")
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("alias.pcapng", caught, [shown], note="a DNS answer with CNAME and A; TLS 1.0 without SNI")
    stage.expect(phone, "match")


def lost_block(stage: Stage) -> None:
    """A block of the transfer is missing in the capture: nothing is learned, and the folder's copy counts."""
    phone = numbered(128)
    identity, older = certificates.server("vpn128.example.com"), certificates.server("vpn128.example.com")
    told(stage, phone, identity)
    content = phone_files.cme(phone_files.vpn_group([phone.url], [certificates.cert_hash(older)]))
    with stage.cable(phone), fetching(stage, phone, content, identity) as caught:
        phone.fetch_over_tftp(TFTP_SERVER, stage.work)
        phone.hashes = (certificates.cert_hash(identity),)
        connection = phone.connect()
    second = [at for at, frame in enumerate(caught) if len(frame.payload) == 516][1]
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    note = "block 2 of the TFTP transfer is lost"
    stage.save("lost-block.pcapng", frames.without(caught, second), [shown], note=note)
    stage.expect(phone, "match", note=note)


def asks_in_turn(stage: Stage) -> None:
    """A phone in encrypted mode requests the encrypted file, then the signed one, and gets the plain one."""
    phone = numbered(129)
    identity = certificates.server("vpn129.example.com")
    content = phone_files.cme(phone_files.vpn_group([phone.url], [certificates.cert_hash(identity)]))
    with stage.cable(phone), fetching(stage, phone, content, identity) as caught:
        for suffix in (".enc.sgn", ".sgn"):
            assert "not found" in phone.ask_over_tftp(TFTP_SERVER, stage.work, f"{phone.file}{suffix}")
        phone.fetch_over_tftp(TFTP_SERVER, stage.work)
        connection = phone.connect()
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    fetched = stage.download(phone.file, content, "tftp", phone, TFTP_SERVER)
    stage.save(
        "asks-in-turn.pcapng", caught, [shown], downloads=[fetched], note="two files not found, one found"
    )
    stage.expect(phone, "match", source="asks-in-turn.pcapng")


WAYS: tuple[Callable[[Stage], None], ...] = (
    one_name,
    capital_letters,
    literal_with_port,
    three_urls,
    http_download,
    signed_download,
    changed_copy,
    fetched_twice,
    other_port,
    two_names,
    alias,
    lost_block,
    asks_in_turn,
)
