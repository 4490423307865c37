"""Follow the requests for cnf files that bring no file: an error, no answer, no end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from certhash.model import FailedTransfer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.capture.records import TransferRecord
    from certhash.model import Download, FailedReason


class Transfers:
    """Collects what the plugin says of requests, in any order of their connections."""

    def __init__(self) -> None:
        self._asked: dict[int, FailedTransfer] = {}
        """The frame of each request, and what became of it so far."""

    def take(self, event: TransferRecord, frame: int, time: int) -> None:
        """Take a request, a part of its answer, or an error."""
        if event.what == "asks":
            self._asked[frame] = FailedTransfer(
                event.name, frame, time, event.source, event.target, "unanswered", protocol=event.protocol
            )
            return
        if event.what == "pipelined":  # which of them failed is not known
            names = event.name.split(", ")
            self._asked = {
                k: v
                for k, v in self._asked.items()
                if (v.protocol, v.client) != (event.protocol, event.target) or v.name not in names
            }
            return
        asked = self._asked.get(event.request)
        if asked is None:
            return
        if event.what == "other":  # the phone has this file
            del self._asked[event.request]
            return
        if event.what in {"begins", "ends"}:
            if asked.reason != "incomplete":
                reason: FailedReason = "unfinished" if event.what == "begins" else "incomplete"
                self._asked[event.request] = replace(asked, reason=reason)
        else:
            self._asked[event.request] = replace(
                asked, frame=frame, time=time, reason="error", code=event.code, message=event.message
            )

    def failed(self, downloads: Iterable[Download]) -> tuple[FailedTransfer, ...]:
        """Return the requests that brought nothing, by frame; of a request sent again, the last one.

        A later download of the same file by the same client makes up for them.
        """
        brought: dict[tuple[str, str], int] = {}
        for each in downloads:
            key = each.client, each.name
            brought[key] = max(brought.get(key, 0), each.frame)
        last: dict[tuple[str, str], FailedTransfer] = {}
        for frame in sorted(self._asked):
            asked = self._asked[frame]
            if brought.get((asked.client, asked.name), 0) < frame:
                last[asked.client, asked.name] = asked
        return tuple(sorted(last.values(), key=lambda asked: asked.frame))
