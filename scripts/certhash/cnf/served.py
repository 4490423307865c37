"""Collect what head-ends present according to a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from certhash.headend import HIGHEST_PORT
from certhash.model import DtlsPort, ServedAt, Unsettled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.cnf.configuration import Configuration
    from certhash.cnf.terminal import Line


class Serving(Struct):
    """Where each trustpoint is presented, by its name and the role of its certificates."""

    places: dict[tuple[str, str], list[ServedAt]] = field(default_factory=dict)
    unsettled: list[Unsettled] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    dtls_ports: list[DtlsPort] = field(default_factory=list)

    def move_dtls(self, line: Line | None, places: Iterable[ServedAt]) -> None:
        """Record ``dtls port NUMBER`` for the places of a head-end; None if it has no such line."""
        number = int(line.text.rpartition(" ")[2]) if line and line.text[-1].isdigit() else 0
        if line and 0 < number <= HIGHEST_PORT:
            self.dtls_ports += [
                DtlsPort("", line.number, line.text, place.address, place.port, number)
                for place in places
                if place.address and not place.name
            ]
        elif line:
            self.complain(line, "cannot be read: it names no port")

    def serve(self, trustpoint: str, roles: Iterable[str], places: Iterable[ServedAt]) -> None:
        """Record where a trustpoint is presented."""
        places = list(places)
        for role in roles:
            self.places.setdefault((trustpoint, role), []).extend(places)

    def leave_open(
        self, line: Line, why: str, places: Iterable[ServedAt] = (), *, presents: bool = True
    ) -> None:
        """Record a line that does not determine what is presented, and why."""
        self.unsettled.append(Unsettled("", line.number, line.text, why, tuple(places), presents))

    def leave_damaged_open(self, configuration: Configuration) -> None:
        """Record unreadable lines that may change what is presented, for every place."""
        for line, why in configuration.left_open:
            places = [place for several in self.places.values() for place in several]
            self.leave_open(line, f"{why}; it may change what is presented", dict.fromkeys(places))
        damaged = configuration.damaged_roles
        for (trustpoint, role), places in self.places.items():
            if damaged & {(trustpoint, role), (trustpoint, None), (None, None)}:
                why = configuration.damaged.get(trustpoint) or configuration.damaged[None]
                lines = {(place.line, place.says) for place in places}
                self.unsettled += [
                    Unsettled("", line or 0, says, f"of trustpoint {trustpoint}: {why}", tuple(places))
                    for line, says in sorted(lines, key=str)
                ]

    def complain(self, line: Line, what: str) -> None:
        """Record a problem with a line that cannot be used."""
        self.problems.append(f'line {line.number} "{line.text}": {what}')


def has_certificate(configuration: Configuration, trustpoint: str) -> bool:
    """Return whether a trustpoint's own certificate, or its fingerprint, is in the text."""
    return any(
        item.trustpoint == trustpoint and item.sha1 and item.role in {"leaf", "self-signed"}
        for item in configuration.stored
    )
