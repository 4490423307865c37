"""Convert times to text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def on_calendar(time: int) -> int:
    """Return the nearest time (microseconds since 1970-01-01 UTC) that a calendar can represent.

    Damaged captures contain times outside this range, which do not fit into a database.
    """
    return min(max(time, _FIRST), _LAST)


def iso(time: int) -> str:
    """Return microseconds since 1970-01-01 UTC as ISO 8601: ``2026-03-02T09:00:00.000000Z``."""
    return iso_of(_EPOCH + on_calendar(time) * _MICROSECOND)


def iso_of(moment: datetime) -> str:
    """Return a moment in UTC in the same form."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
