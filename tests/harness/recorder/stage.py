"""Set up the recording of a sample, and store its expected results."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.harness.recorder import certificates, frames, network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cryptography.x509 import Certificate
    from tests.harness.recorder.certificates import Identity
    from tests.harness.recorder.phone import Connection, Phone

FIRST_DAY = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)
_VERSIONS = {
    "tls": {(3, 1): "TLS 1.0", (3, 2): "TLS 1.1", (3, 3): "TLS 1.2", (3, 4): "TLS 1.3"},
    "dtls": {(1, 0): "DTLS 1.0 (early)", (254, 255): "DTLS 1.0", (254, 253): "DTLS 1.2"},
}
_ALERTS = {
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    48: "unknown_ca",
    70: "protocol_version",
}


@dataclass(frozen=True)
class Shown:
    """A certificate that a capture shows: its sender, its position in the chain, and its digests."""

    sender: str
    position: int
    sha1: str
    thumbprint: str
    sha256: str
    subject: str
    file: str


@dataclass(frozen=True)
class Handshake:
    """A handshake in the terms of ``audit -f json``; ``hidden`` says why no certificate is visible."""

    transport: str
    client: dict[str, Any]
    server: dict[str, Any]
    version: str | None
    server_name: str | None
    resumed: bool
    certificates: list[Shown]
    alerts: list[dict[str, Any]]
    verdict: str | None
    devices: list[str]
    hidden: str | None
    asked: bool
    answered: bool


@dataclass
class Stage:
    """One set of captures with its ``cnf`` folder, certificates and ``expected.json``, in ``folder``."""

    folder: Path
    first_day: dt.datetime = FIRST_DAY
    captures: list[dict[str, Any]] = field(default_factory=list)
    expectations: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    forms: list[dict[str, Any]] = field(default_factory=list)
    papers: list[dict[str, Any]] = field(default_factory=list)
    work: Path = field(default_factory=Path)

    @contextmanager
    def cable(self, phone: Phone) -> Iterator[None]:
        """Set up the cable for one phone, with a temporary folder for keys and logs in ``work``."""
        mac = ":".join(phone.name[3 + at : 5 + at] for at in range(0, 12, 2)).lower()
        with tempfile.TemporaryDirectory(prefix="certhash-recorder-") as folder, network.network(mac):
            self.work = Path(folder)
            self.work.chmod(0o755)  # tftpd-hpa and ocserv give up their rights before they read
            phone.plug_in()
            yield

    @contextmanager
    def recording(self) -> Iterator[list[frames.Frame]]:
        """Record the cable; wait for the last packets of the servers before the end."""
        with network.recording(self.work) as caught:
            yield caught
            time.sleep(0.15)

    def cnf(self, name: str, content: bytes, *, served_at: Path | None = None, note: str = "") -> Path:
        """Write a configuration file to ``cnf/``, or to the folder of the server that serves it."""
        path = (served_at or self.folder / "cnf") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
        if served_at is None:
            self.files.append({"path": f"cnf/{name}", "note": note})
        return path

    def form(self, name: str, content: bytes, read: dict[str, Any]) -> None:
        """Write a phone's file to ``forms/``, and record its expected content."""
        self._put(f"forms/{name}", content)
        self.forms.append({"path": f"forms/{name}", **read})

    def paper(self, name: str, content: bytes, read: dict[str, Any]) -> None:
        """Write output of a CME or an ASA to ``config/``, and record its expected content."""
        self._put(f"config/{name}", content)
        self.papers.append({"path": f"config/{name}", **read})

    def _put(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    @staticmethod
    def download(name: str, content: bytes, protocol: str, phone: Phone, server: str) -> dict[str, Any]:
        """Record that a capture contains a configuration file; ``protocol`` is tftp or http."""
        digest = hashlib.sha256(content).hexdigest()
        return {
            "file": name,
            "protocol": protocol,
            "client": phone.address,
            "server": server,
            "sha256": digest,
        }

    def expect(  # noqa: PLR0913 - the keys of an expectation
        self,
        phone: Phone,
        verdict: str | None,
        cause: str | None = None,
        *,
        source: str = "",
        url: str = "",
        note: str = "",
    ) -> None:
        """Record the expected result of an audit of the whole set for a device and one of its URLs.

        A verdict of ``None`` means any verdict: the note says what is known. Without a source it is the
        phone's file in ``cnf/``.
        """
        self.expectations.append(
            {
                "device": phone.name,
                "source": source or f"cnf/{phone.file}",
                "url": url or phone.url,
                "hashes": list(phone.hashes),
                "host_id_check": phone.check_host,
                "verdict": verdict,
                "cause": cause,
                "note": note,
            }
        )

    def handshake(  # noqa: PLR0913 - the keys of a handshake
        self,
        connection: Connection,
        verdict: str | None,
        *,
        served: Sequence[Identity | Certificate] = (),
        own: Sequence[Identity] = (),
        devices: Iterable[Phone] = (),
        server_name: str | None = None,
        hidden: str | None = None,
        asked: bool = True,
        answered: bool = True,
    ) -> Handshake:
        """Record a handshake by the certificates of the head-end; the phone must have received the same.

        A handshake with hidden certificates has the reason in ``hidden``, and lists none.
        ``asked`` and ``answered`` say whether ClientHello and ServerHello are in the capture.
        """
        datagrams = connection.transport == "udp"
        if served and connection.presented:
            presented = tuple(map(certificates.der, served))
            assert connection.presented == presented, "the phone saw something else"
        shown = [] if hidden else [*self._shown("server", served), *self._shown("client", own)]
        alerts = []
        for sender, level, code in (
            ("client", "warning", connection.warning),
            ("client", "fatal", connection.alert),
            ("server", "fatal", connection.server_alert),
        ):
            if code is not None:
                alerts.append({"sender": sender, "level": level, "code": code, "name": _ALERTS[code]})
        return Handshake(
            transport=connection.transport,
            client={"address": connection.client[0], "port": connection.client[1]},
            server={"address": connection.server[0], "port": connection.server[1]},
            version=_VERSIONS["dtls" if datagrams else "tls"][connection.version] if answered else None,
            server_name=server_name,
            resumed=connection.resumed,
            certificates=shown,
            alerts=alerts,
            verdict=verdict,
            devices=[phone.name for phone in devices],
            hidden=hidden,
            asked=asked,
            answered=answered,
        )

    def save(  # noqa: PLR0913 - the keys of a capture
        self,
        name: str,
        caught: Sequence[frames.Frame],
        handshakes: Sequence[Handshake],
        *,
        downloads: Sequence[dict[str, Any]] = (),
        options: Sequence[str] = (),
        status: str = "complete",
        note: str = "",
    ) -> None:
        """Write a capture, dated an hour after the previous one, and record what it shows.

        ``options`` are those of editcap, for changes that only it can make.
        """
        start = self.first_day + dt.timedelta(hours=len(self.captures))
        path = self.folder / name
        frames.write(frames.dated(caught, start), path)
        if options:
            original = path.rename(path.with_name(f"original-{name}"))
            frames.edit(original, path, *options)
            original.unlink()
        self.captures.append(
            {
                "path": name,
                "start": start.isoformat().replace("+00:00", "Z"),
                "status": status,
                "packets": len(caught),
                "note": note,
                "downloads": list(downloads),
                "handshakes": [asdict(entry) for entry in handshakes],
            }
        )

    def with_keylog(self, name: str, handshakes: Sequence[Handshake], expectation: dict[str, str]) -> None:
        """Record what the last capture shows to a reader with its key file."""
        self.files.append({"path": name, "note": "the keys of one capture"})
        self.captures[-1]["keylog"] = {
            "path": name,
            "handshakes": [asdict(entry) for entry in handshakes],
            "expectation": expectation,
        }

    def finish(self) -> None:
        """Write ``expected.json``."""
        book = {
            "captures": self.captures,
            "files": self.files,
            "expectations": self.expectations,
            "forms": self.forms,
            "config": self.papers,
        }
        text = json.dumps(book, indent=1, ensure_ascii=False)
        (self.folder / "expected.json").write_text(text + "\n", encoding="utf-8")

    def _shown(self, sender: str, chain: Sequence[Identity | Certificate]) -> list[Shown]:
        folder = self.folder / "certificates"
        folder.mkdir(parents=True, exist_ok=True)
        out = []
        for position, certificate in enumerate(map(certificates.plain, chain)):
            data = certificates.der(certificate)
            sha1 = hashlib.sha1(data, usedforsecurity=False)
            stem = certificates.common_name(certificate).replace("*", "any").replace(" ", "-")
            name = f"{stem}-{sha1.hexdigest()[:8]}.pem"
            (folder / name).write_text(certificates.pem(certificate))
            out.append(
                Shown(
                    sender=sender,
                    position=position,
                    sha1=base64.b64encode(sha1.digest()).decode(),
                    thumbprint=sha1.hexdigest(),
                    sha256=base64.b64encode(hashlib.sha256(data).digest()).decode(),
                    subject=certificates.common_name(certificate),
                    file=f"certificates/{name}",
                )
            )
        return out
