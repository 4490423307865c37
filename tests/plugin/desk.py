"""A head-end's phones on a desk: their cnf files in a folder, and a capture of what they do."""

from __future__ import annotations

import base64
import hashlib
import shutil
from typing import TYPE_CHECKING

from tests.harness.packets import HEAD_END, Identity, configuration, identity, pcap

if TYPE_CHECKING:
    from tests.plugin.machines import Machine

ROOT = identity("Root")
LEAF = identity("vpn.example", ROOT)
OTHER = identity("other.example")
NAMES = (
    "certhash.verdict",
    "certhash.match",
    "certhash.device",
    "certhash.cnf",
    "certhash.url",
    "certhash.certificate_in",
    "certhash.rejected_in",
)
LEARNED = "certhash.cnf_downloaded"
EXPERTS = tuple(f"certhash.expert.{name}" for name in ("host_id", "match", "mismatch", "rejected", "stale"))
URL = f"https://{HEAD_END}/SSLVPNphone"
DEVICE, OTHER_DEVICE = "SEP001F6C81110E", "SEP001122334455"


def value(one: Identity, algorithm: str = "sha1") -> str:
    return base64.b64encode(hashlib.new(algorithm, one.der).digest()).decode()


def told(*hashes: str, url: str = URL) -> bytes:
    return configuration([url], hashes)


# Without a display filter, a plugin gets no fields in the first of tshark's two passes.
TWICE = ("-2", "-Y", "frame")


class Desk:
    """A folder of configurations and a capture on one machine."""

    def __init__(self, place: Machine, files: dict[str, bytes], frames: list[bytes]) -> None:
        self.place = place
        self.folder = place.folder / "cnf"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for name, content in files.items():
            place.put(f"cnf/{name}", content)
        self.capture = place.put("desk.pcap", pcap(frames))
        self.options = ("-o", f"certhash.cnf_directory:{self.folder}")
        self._read: list[dict[str, list[str]]] | None = None

    def rows(self, *options: str, names: tuple[str, ...] = NAMES) -> list[dict[str, list[str]]]:
        """Return the frames with one of these fields."""
        if options or not {*names} <= {*NAMES, LEARNED, *EXPERTS}:
            return self.place.fields(self.capture, *names, options=(*self.options, *options))
        if self._read is None:  # one start of tshark for all that one test asks of one pass
            fields = (*NAMES, LEARNED, *EXPERTS)
            self._read = self.place.fields(self.capture, *fields, options=self.options)
        asked = ({name: row[name] for name in ("frame.number", *names)} for row in self._read)
        return [row for row in asked if any(row[name] for name in names)]

    def frames(self, wanted: str) -> list[str]:
        """Return the numbers of the frames that have a field, or match another display filter."""
        if wanted in {*NAMES, LEARNED, *EXPERTS}:
            rows = self.rows(names=(wanted,))
        else:
            rows = self.rows("-Y", wanted, names=("frame.len",))
        return [row["frame.number"][0] for row in rows]

    def verdicts(self, *options: str) -> list[str]:
        """Return the verdicts, in the order of the frames."""
        return [verdict for row in self.rows(*options) for verdict in row["certhash.verdict"]]

    def words(self) -> str:
        """Return the packet tree after both passes, as text."""
        done = self.place.tshark(self.capture, "-2", "-O", "certhash", "-Y", "certhash", *self.options)
        assert done.returncode == 0
        return done.stdout
