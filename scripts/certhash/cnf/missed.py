"""Find the devices that did not get their cnf file in the captures, and so may still use an older one.

CME's phones ask for ``SEP<MAC>.cnf.xml``, and for ``XMLDefault.cnf.xml`` if the server has no such file (CME
administrator guide). A phone that gets no file keeps the configuration that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from certhash.cnf.names import device_of
from certhash.model import FailedTransfer, MissedFetch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.model import Download, Observation


class _Fetched(NamedTuple):
    """A download, and the capture that shows it."""

    capture: str
    download: Download
    device: str


def missed_fetches(observations: Iterable[Observation]) -> tuple[MissedFetch, ...]:
    """Return, for each device, its last failed download, unless a later one brought its file."""
    observations = list(observations)
    fetched = [
        _Fetched(each.path, download, device_of(download.name) or "")
        for each in observations
        for download in each.downloads
    ]
    brought: dict[str, int] = {}
    for one in fetched:
        brought[one.device] = max(brought.get(one.device, 0), one.download.time)
    shared = sorted((one for one in fetched if _is_shared(one.device)), key=lambda one: one.download.time)
    missed: dict[str, MissedFetch] = {}
    for observation in observations:
        for failed in observation.failed:
            device = device_of(failed.name)
            earlier = missed.get(device or "")
            if device is None or failed.time <= brought.get(device, -1):
                continue
            if earlier is None or earlier.failed.time <= failed.time:
                missed[device] = _with_instead(MissedFetch(device, observation.path, failed), shared)
    for other in _other_files(fetched, shared, brought):
        missed.setdefault(other.device, other)
    return tuple(missed[device] for device in sorted(missed))


def _is_shared(device: str) -> bool:
    return device.upper().startswith("XMLDEFAULT")


def _with_instead(missed: MissedFetch, shared: list[_Fetched]) -> MissedFetch:
    failed = missed.failed
    for one in shared:
        if one.download.client == failed.client and one.download.time >= failed.time:
            return replace(missed, instead=one.download.name, instead_frame=one.download.frame)
    return missed


def _other_files(
    fetched: list[_Fetched], shared: list[_Fetched], brought: dict[str, int]
) -> list[MissedFetch]:
    """Return the devices that downloaded their own file once, and later only the file for all phones.

    The address tells which device it is, unless several devices downloaded their files at it.
    """
    devices: dict[str, set[str]] = {}
    for one in fetched:
        if not _is_shared(one.device):
            devices.setdefault(one.download.client, set()).add(one.device)
    found = []
    for one in shared:
        download = one.download
        own = devices.get(download.client, set())
        if len(own) == 1 and (device := next(iter(own))) and brought[device] < download.time:
            failed = FailedTransfer(
                download.name, download.frame, download.time, download.client, download.server, "other-file"
            )
            found.append(MissedFetch(device, one.capture, failed))
    return found
