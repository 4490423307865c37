"""Moments as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def iso(time: int) -> str:
    """Return microseconds since 1970-01-01 UTC as ISO 8601: ``2026-03-02T09:00:00.000000Z``.

    A time that no calendar has, as damaged captures hold them, is given as the nearest that one has.
    """
    try:
        moment = _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        moment = _LAST if time > 0 else _FIRST
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
