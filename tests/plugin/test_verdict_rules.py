"""Test that plugin and audit give a handshake the same verdict, in worlds that are generated at random.

The plugin differs in two ways, which no world contains. In the plugin, a frame affects later frames only,
while an audit knows the whole capture: so names are known, and a device that downloads its file has
downloaded one, before the first handshake. And the plugin does not compute SHA-512.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from tests.harness.packets import identity
from tests.plugin.machines import PLUGIN

from certhash.cnf import from_download, read_phone_xml
from certhash.cnf.stated import read_stated
from certhash.headend import HeadEnd, parse_url
from certhash.hostid import doubt
from certhash.judgement.correlate import correlate
from certhash.judgement.document import Handshake as HandshakeRow
from certhash.judgement.document import Tool
from certhash.judgement.evidence import Presented
from certhash.judgement.verdict import carries
from certhash.model import (
    Alert,
    CnfFile,
    Endpoint,
    Fetch,
    Handshake,
    NameAnswer,
    Observation,
    PresentedCertificate,
    Sources,
)

SCRIPT = Path(__file__).parent / "lua" / "judge.lua"
WORLDS = 400


CERTIFICATES = [
    each.der
    for each in (
        identity(
            "alone", names=[x509.DNSName("vpn.example"), x509.IPAddress(ipaddress.ip_address("203.0.113.1"))]
        ),
        identity("Vpn.Example."),
        identity("cme.example", names=[x509.DNSName("*.example")]),
        identity(
            "alone",
            names=[x509.IPAddress(ipaddress.ip_address("2001:db8::1")), x509.RFC822Name("a@cme.example")],
        ),
    )
]
DEVICES = [f"SEP00000000000{number}" for number in range(4)]
PHONES = ["198.51.100.1", "198.51.100.2", "2001:db8::7"]
SERVERS = ["203.0.113.1", "203.0.113.2", "2001:db8::1"]
NAMES = ["vpn.example", "cme.example"]
URLS = [
    "https://203.0.113.1/x",
    "https://203.0.113.1:8443/x",
    "https://203.0.113.2/x",
    "https://[2001:DB8:0::1]/x",
    "https://[::ffff:203.0.113.2]/x",
    "https://VPN.Example./x",
    "https://cme.example:8443/x",
    "http://203.0.113.1/x",
]


class File(NamedTuple):
    """A cnf file; `frame` and `client` are set if a phone downloaded it."""

    name: str
    content: bytes
    frame: int | None = None
    client: str = ""

    def read(self) -> CnfFile:
        if self.frame is None:
            return read_phone_xml(self.name, self.content, self.name)
        return from_download(
            self.name, self.content, Fetch("a.pcap", self.frame, self.frame, self.client, "192.0.2.1")
        )

    def line(self) -> str:
        return cells("file", self.name, self.content.hex(), self.frame or "", packed(self.client))


class Met(NamedTuple):
    """A handshake with visible certificates."""

    frame: int
    server: Endpoint
    client: str
    transport: str
    name: str | None
    rejected: bool
    chain: tuple[bytes, ...]

    def seen(self) -> Handshake:
        alert = Alert(self.frame, self.frame, "client", "fatal", 42, "bad_certificate")
        return Handshake(
            frame=self.frame,
            time=self.frame,
            transport="udp" if self.transport == "udp" else "tcp",
            stream=self.frame,
            client=Endpoint(self.client, 50000),
            server=self.server,
            server_name=self.name,
            version="TLS 1.0",
            resumed=False,
            encrypted=False,
            client_proceeded=not self.rejected,
            hidden=None if self.chain else "packets-missing",
            certificates=tuple(
                PresentedCertificate(position, "server", self.frame, hashlib.sha256(der).digest())
                for position, der in enumerate(self.chain)
            ),
            alerts=(alert,) if self.rejected else (),
        )

    def line(self) -> str:
        if not self.chain:
            return cells("hidden", packed(self.server.address), self.server.port or "", self.name or "")
        chain = ",".join(
            f"{digest('sha1', der).hex()}:{digest('sha256', der).hex()}:{der.hex()}" for der in self.chain
        )
        where = packed(self.server.address), self.server.port or "", packed(self.client), self.transport
        return cells("handshake", self.frame, *where, self.name or "", int(self.rejected), chain)


class World(NamedTuple):
    """What phones expect, and what the capture shows."""

    files: list[File]
    answers: list[tuple[str, str]]
    handshakes: list[Met]
    stated: list[str] = []  # noqa: RUF012 - a tuple's default, and nobody adds to it

    def audited(self) -> list[str]:
        """Return the audit's verdict and devices of every handshake."""
        observation = Observation(
            "a.pcap",
            "complete",
            99,
            None,
            "plugin",
            tuple(met.seen() for met in self.handshakes),
            answers=tuple(NameAnswer(name, address, 0, 0) for name, address in self.answers),
            certificates={digest("sha256", der): der for der in CERTIFICATES},
        )
        sources = Sources((*(file.read() for file in self.files), *read_stated(self.stated)))
        document = correlate([observation], sources, Tool("0", "4.0", "5.2", "plugin"))
        return [
            "\n".join([f"{one.verdict} {','.join(one.devices)}", *self._doubts(one, sources)])
            for one in document.handshakes
            if one.certificates
        ]

    def _doubts(self, one: HandshakeRow, sources: Sources) -> list[str]:
        """Return the host-ID warnings for a handshake whose certificates a phone's file lists."""
        if one.verdict not in {"match", "rejected"}:
            return []
        chain = next(met.chain for met in self.handshakes if met.frame == one.frame)
        presented = [Presented(der) for der in chain]
        found = set()
        files = [cnf for cnf in in_force(sources.cnf_files, one) if cnf.kind != "stated"]
        pairs = [(cnf, url) for cnf in files for url in urls_of(cnf)]
        for cnf, url in pairs:
            assert cnf.group is not None
            unnamed = doubt(cnf.group.host_id_check, chain[0], url)
            if unnamed and self._is_with(one, url) and carries(presented, cnf.group):
                found.add(f"doubt {cnf.device}: {unnamed}")
        return sorted(found)

    def _is_with(self, one: HandshakeRow, url: HeadEnd) -> bool:
        """Return whether a URL names the head-end of a handshake."""
        port = one.server.port == url.port or (one.transport == "udp" and one.server.port == 443)
        if url.is_address:
            return port and one.server.address == url.host
        return port and (
            one.server_name == url.host
            or (one.server_name is None and (url.host, one.server.address) in self.answers)
        )

    def lines(self) -> list[str]:
        """Return the input of the Lua script for this world."""
        answers = [cells("answer", name, packed(address)) for name, address in self.answers]
        files = [file.line() for file in self.files]
        stated = [cells("stated", text) for text in self.stated]
        return ["world", *answers, *files, *stated, *(met.line() for met in self.handshakes)]


def in_force(files: tuple[CnfFile, ...], one: HandshakeRow) -> list[CnfFile]:
    """Return the files that phones have at the time of a handshake."""
    newest: dict[str, CnfFile] = {}
    for cnf in files:
        if cnf.fetch and cnf.fetch.frame < one.frame:
            newest[cnf.device] = cnf
    return [cnf for cnf in files if newest.get(cnf.device, None if cnf.fetch else cnf) is cnf]


def urls_of(cnf: CnfFile) -> list[HeadEnd]:
    """Return the head-ends that a file names."""
    found = []
    for url in cnf.group.urls if cnf.group else ():
        with contextlib.suppress(ValueError):
            found.append(parse_url(url.value))
    return found


def digest(algorithm: str, data: bytes) -> bytes:
    return hashlib.new(algorithm, data, usedforsecurity=False).digest()


def packed(address: str) -> str:
    return ipaddress.ip_address(address).packed.hex() if address else ""


def cells(*values: object) -> str:
    return "\t".join(map(str, values))


def world(choose: random.Random) -> World:
    def content() -> bytes:
        urls = choose.sample(URLS, choose.choice([1, 1, 2, 3]))
        values = [
            base64.b64encode(digest(choose.choice(["sha1", "sha1", "sha256"]), der)).decode()
            for der in choose.sample(CERTIFICATES, choose.choice([0, 1, 1, 2]))
        ]
        if choose.random() < 0.1:
            values.append("no hash")
        algorithm = choose.choice(["", "<hashAlg>0</hashAlg>", "<hashAlg>1</hashAlg>"])
        addresses = "".join(f"<url{n}>{url}</url{n}>" for n, url in enumerate(urls, 1))
        credentials = "".join(f"<certHash{n}>{text}</certHash{n}>" for n, text in enumerate(values, 1))
        check = choose.choice(["", *(f"<enableHostIDCheck>{n}</enableHostIDCheck>" for n in (0, 1))])
        return (
            f"<device><vpnGroup><addresses>{addresses}</addresses>"
            f"<credentials>{algorithm}{credentials}</credentials>{check}</vpnGroup></device>"
        ).encode()

    files = [
        File(f"{choose.choice(['', 'old/', 'vrf1_'])}{device}.cnf.xml", content())
        for device in choose.choices(DEVICES, k=3)
    ]
    for at, device in enumerate(DEVICES[:2]):
        # A phone may download the same file again, and its first file from another address.
        said, homes = [content() for _ in range(2)], choose.sample(PHONES, choose.choice([1, 1, 2]))
        files += [
            File(f"{device}.cnf.xml", choose.choice(said), 2 * frame + at, choose.choice(homes))
            for frame in choose.choice([(), (), (1,), (2, 20), (3, 4, 30)])
        ]
    answers = [(name, choose.choice(SERVERS)) for name in NAMES if choose.random() < 0.7]
    handshakes = []
    for frame in range(11, 80, 12):
        server = Endpoint(choose.choice(SERVERS), choose.choice([443, 443, 8443]))
        name = choose.choice([None, None, *NAMES])
        if name:
            answers.append((name, server.address))
        handshakes.append(
            Met(
                frame,
                server,
                choose.choice(PHONES),
                choose.choice(["tcp", "tcp", "udp"]),
                name,
                choose.random() < 0.3,
                tuple(choose.sample(CERTIFICATES, choose.choice([1, 1, 2]))) if choose.random() < 0.9 else (),
            )
        )
    stated = []
    if choose.random() < 0.5:
        files = files if choose.random() < 0.5 else []
        value = digest(choose.choice(["sha1", "sha1", "sha256"]), choose.choice(CERTIFICATES))
        text = choose.choice([base64.b64encode(value).decode(), value.hex(), value.hex(":").upper()])
        stated.append(text + choose.choice(["", "", *(f"={url}" for url in URLS if url.startswith("https"))]))
    return World(sorted(files, key=lambda file: file.frame or 0), answers, handshakes, stated)


def test_the_plugin_judges_as_the_audit_does(lua: str, tmp_path: Path) -> None:
    choose = random.Random(116638)
    worlds = [world(choose) for _ in range(WORLDS)]
    told = tmp_path / "worlds"
    told.write_text("".join(f"{line}\n" for each in worlds for line in each.lines()))
    done = subprocess.run(
        [lua, SCRIPT, PLUGIN / "certhash", told], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [verdict for each in worlds for verdict in each.audited()]
    counts = Counter(verdict.split()[0] for verdict in expected)
    assert min(counts[kind] for kind in ("match", "mismatch", "rejected", "unlisted")) > 100, counts
    shown = done.stdout.removesuffix("\n").replace("\ndoubt ", "\0doubt ").split("\n")
    shown = [each.replace("\0", "\n") for each in shown]
    assert sum("\ndoubt" in each for each in expected) > 100
    assert len(shown) == len(expected)
    handshakes = [(each, met) for each in worlds for met in each.handshakes if met.chain]
    different = [
        (said, wanted, met, each)
        for said, wanted, (each, met) in zip(shown, expected, handshakes, strict=True)
        if said != wanted
    ]
    assert not different, f"{len(different)}, the first: {different[0]}"


def judged(lua: str, tmp_path: Path, lines: list[str]) -> list[str]:
    """Return the plugin's result for each handshake of a world."""
    told = tmp_path / "worlds"
    told.write_text("".join(f"{line}\n" for line in ["world", *lines]))
    done = subprocess.run(
        [lua, SCRIPT, PLUGIN / "certhash", told], capture_output=True, text=True, check=True, timeout=20
    )
    return [line for line in done.stdout.splitlines() if not line.startswith("doubt ")]


def told_to_use(url: str, der: bytes, algorithm: str = "sha1") -> bytes:
    value = base64.b64encode(digest(algorithm, der)).decode()
    return (
        f"<device><vpnGroup><addresses><url1>{url}</url1></addresses><credentials>"
        f"<hashAlg>{int(algorithm != 'sha1')}</hashAlg><certHash1>{value}</certHash1>"
        "</credentials></vpnGroup></device>"
    ).encode()


def met(frame: int, name: str | None = None) -> Met:
    """Return a handshake of the first phone with the first server."""
    server = Endpoint(SERVERS[0], 443)
    return Met(frame, server, PHONES[0], "tcp", name, rejected=False, chain=(CERTIFICATES[0],))


def test_phone_that_starts_anew_for_days(lua: str, tmp_path: Path) -> None:
    """The phone downloads the same file before each attempt; their number must not affect the speed."""
    content = told_to_use(URLS[0], CERTIFICATES[1])
    restarts = 5000
    files = [File(f"{DEVICES[0]}.cnf.xml", content, 2 * n + 1, PHONES[0]) for n in range(restarts)]
    lines = [file.line() for file in files] + [met(2 * n + 2).line() for n in range(100)]
    assert judged(lua, tmp_path, lines) == [f"mismatch {DEVICES[0]}"] * 100


def test_name_of_a_url_among_tens_of_thousands_of_others(lua: str, tmp_path: Path) -> None:
    file = File(f"{DEVICES[0]}.cnf.xml", told_to_use("https://vpn.example/x", CERTIFICATES[0]))
    names = [*(f"host{n}.example" for n in range(20_001)), "vpn.example"]
    answers = [cells("answer", name, packed(SERVERS[0])) for name in names]
    lines = [file.line(), *answers, met(1).line()]
    assert judged(lua, tmp_path, lines) == [f"match {DEVICES[0]}"]


def test_nothing_is_a_mismatch_that_may_be_a_match(lua: str, tmp_path: Path) -> None:
    """One phone expects another certificate; whether the other one does is unknown because of SHA-512."""
    one = File(f"{DEVICES[0]}.cnf.xml", told_to_use(URLS[0], CERTIFICATES[1]))
    other = File(f"{DEVICES[1]}.cnf.xml", told_to_use(URLS[0], CERTIFICATES[0], "sha512"))
    lines = [one.line(), other.line(), met(1).line()]
    assert judged(lua, tmp_path, lines) == [f"none {DEVICES[0]},{DEVICES[1]}"]
    assert judged(lua, tmp_path, lines[::2]) == [f"mismatch {DEVICES[0]}"]
