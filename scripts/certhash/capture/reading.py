"""Collect tshark's rows of one capture into an observation."""

from __future__ import annotations

import base64
import hashlib
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from certhash.capture import tshark
from certhash.capture.handshakes import Handshakes
from certhash.capture.transfers import Transfers
from certhash.model import Download, NameAnswer, Observation, Problem

if TYPE_CHECKING:
    from certhash.capture import records
    from certhash.model import Endpoint

TIMELESS = (
    "packets in it have no time: what they show counts as older than everything else; record the capture "
    "with times to know what is newest"
)

PIPELINED = (
    "{} not read: several {} requests were sent at once, and which response answers which is not "
    "certain; give the file itself with --cnf"
)


class Reading:
    """Collects tshark's rows into an observation; rows of each connection must arrive in order."""

    def __init__(self, path: str, *, plugin: bool) -> None:
        self._path = path
        self._plugin = plugin
        self._handshakes = Handshakes(self._keep)
        self._certificates: dict[bytes, bytes] = {}
        self._sha256_of: dict[bytes, bytes] = {}
        self._agreed: dict[bytes, str] = {}
        """The plugin's hashes that Python has computed, too."""
        self._downloads: list[Download] = []
        self._transfers = Transfers()
        self._answers: dict[tuple[str, str], NameAnswer] = {}
        self._timed = True
        self._problems: list[tuple[int, str]] = []

    def complain(self, frame: int, message: str) -> None:
        """Record an error message; the frame is 0 if it concerns none."""
        self._problems.append((frame, message))

    def take(self, row: records.Row, reader: int = 0) -> None:
        """Add the next row of one of several tsharks."""
        self._handshakes.add(row, reader)
        if self._timed and not row.timed and (row.types or row.alerts or row.answers or row.downloads):
            self._timed = False
            self.complain(0, TIMELESS)
        for name, address in row.answers:
            known = self._answers.get((name, address))
            if known is None or row.frame < known.frame:
                self._answers[name, address] = NameAnswer(name, address, row.frame, row.time)
        for found in row.downloads:
            client, server = found.client or row.destination.address, found.server or row.source.address
            self._downloads.append(Download(found.name, row.frame, row.time, client, server, found.content))
        for event in row.transfers:
            if event.what == "pipelined":
                self.complain(row.frame, PIPELINED.format(event.name, event.protocol))
            self._transfers.take(event, row.frame, row.time)
        if row.plugin_error:
            self.complain(row.frame, "the plugin failed on it; please report it with the capture")
        if row.unpaired_hashes:
            self.complain(
                row.frame,
                f"the plugin hashed {len(row.certificates) + row.unpaired_hashes} of "
                f"{len(row.certificates)} certificates, so Python hashed them instead; please report it",
            )

    def _keep(self, record: records.CertificateRecord, frame: int) -> bytes:
        """Store a certificate once, and compare the plugin's hash with our own."""
        der = record.der
        sha256 = self._sha256_of.get(der)
        if sha256 is None:
            sha256 = hashlib.sha256(der).digest()
            self._sha256_of[der] = sha256
            self._certificates[sha256] = der
        if not record.whole:
            self.complain(
                frame,
                f"certificate {record.position} is damaged and only partly shown, so its hash is unknown",
            )
        if record.sha1 is not None and self._agreed.get(der) != record.sha1:
            ours = base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode()
            if record.sha1 == ours:
                self._agreed[der] = ours
            else:
                self.complain(
                    frame,
                    f"the plugin's hash {record.sha1} of certificate {record.position} is not {ours}, which "
                    "Python computes; trust neither, and please report it with the capture",
                )
        return sha256

    def observation(self, outcome: tshark.Outcome) -> Observation:
        """Return everything that was seen; `outcome` is the outcome of the run with these rows."""
        handshakes = self._handshakes.finish()
        told = sorted(self._problems, key=itemgetter(0))
        problems = [f"frame {frame}: {message}" if frame else message for frame, message in told]
        failures, notes = tshark.sorted_complaints(outcome.complaints)
        problems += failures
        if outcome.error is not None:
            problems.insert(0, outcome.error)
        return Observation(
            path=self._path,
            status=outcome.status,
            packets=outcome.packets,
            error=outcome.error,
            hash_source="plugin" if self._plugin else "python",
            handshakes=handshakes,
            downloads=tuple(sorted(self._downloads, key=attrgetter("frame"))),
            answers=tuple(sorted(self._answers.values(), key=attrgetter("frame"))),
            certificates=dict(sorted(self._certificates.items())),
            problems=tuple(Problem(self._path, message) for message in problems),
            failed=self._transfers.failed(self._downloads),
            notes=notes,
            interrupted=outcome.failed,
        )


def connections(seen: Observation) -> frozenset[frozenset[Endpoint]]:
    """Return the ends of the connections with handshakes."""
    return frozenset(frozenset((each.client, each.server)) for each in seen.handshakes)


def unreadable(path: str, error: str) -> Observation:
    """Return the observation of a capture that could not be read; `error` is one line that says why."""
    return Observation(path, "unreadable", 0, error, "plugin", problems=(Problem(path, error),))
