"""Audit captures against cnf files: the main job."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from msgspec import Struct

from certhash.archive.read import Listener, observe_all
from certhash.archive.walk import find_captures
from certhash.capture.observe import Settings
from certhash.capture.workplace import Workplace
from certhash.judgement.correlate import correlate
from certhash.judgement.document import Document, Tool
from certhash.model import CnfFile, Fetch, Observation, Problem, Sources, joined
from certhash.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from certhash.capture.tshark import Tshark

NOTHING_THERE = "contains no capture: name a capture, or a folder with captures"
NO_PLUGIN = (
    "The Wireshark plugin did not load. Python computed the hashes, and no cnf file was read from the "
    "captures. Run `certhash doctor` to see why."
)


class Request(Struct, frozen=True):
    """The captures to read, and how to read them."""

    captures: tuple[str, ...]
    """Capture files, and folders to search for captures."""
    settings: Settings
    workers: int = 0
    """Number of captures to read at once; 0: one per processor."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers read the captures."""
    cache: str | None = None
    """Path of the database with the observations of earlier runs."""
    place: Workplace | None = None
    """Where tshark runs, if it is there already, perhaps with an engine. It is used once."""


def audit(
    request: Request,
    cnf_paths: Iterable[str],
    resolve: Mapping[str, tuple[str, ...]],
    listener: Listener,
    stated: tuple[CnfFile, ...] = (),
) -> Document:
    """Read captures and cnf files, and return the document with all verdicts.

    Args:
        request: the captures, and how to read them.
        cnf_paths: files, folders and URLs with what phones expect.
        resolve: host names in URLs, with the addresses that the user gives.
        listener: receives progress events.
        stated: hashes that the user gives, without a file (:mod:`certhash.cnf.stated`).

    Raises:
        InputError: the scheduler does not answer, or the key log cannot be read.
    """
    sources = _read(tuple(cnf_paths), listener)
    observations, problems = read_captures(request, listener)
    learned = learn(observations)
    tool = _tool(request.settings.tshark, observations)
    if tool.hash_source == "python" and observations:
        listener.note(NO_PLUGIN)
    everything = joined(Sources(problems=tuple(problems)), sources, learned, Sources(stated))
    return correlate(observations, everything, tool, resolve=resolve)


def _read(cnf_paths: tuple[str, ...], listener: Listener) -> Sources:
    if not cnf_paths:
        return Sources()
    from certhash import cnf

    sources = cnf.read(cnf_paths)
    if sources.copies:
        listener.note(cnf.describe_copies(sources.copies))
    return sources


def read_captures(request: Request, listener: Listener) -> tuple[list[Observation], list[Problem]]:
    """Read all captures; return their observations, in order, and all other problems.

    Ctrl-C stops the reading. The captures that were read are returned, with a problem that says so.
    """
    found = find_captures(request.captures)
    if found.skipped:
        one = found.skipped == 1
        files = "1 file that is not a capture" if one else f"{found.skipped:,} files that are not captures"
        listener.note(f"Skipped {files}.")
    problems = list(found.problems)
    if request.captures and not found.captures and not problems:
        problems.append(Problem(" ".join(request.captures), NOTHING_THERE))
    observations, interrupted = _observe_all(request, found.captures, listener)
    if interrupted:
        read = f"{len(observations)} of {len(found.captures)} captures"
        problems.append(Problem("", f"interrupted after {read}: the result is partial"))
    return observations, problems


def _observe_all(
    request: Request, captures: tuple[str, ...], listener: Listener
) -> tuple[list[Observation], bool]:
    """Read captures, or their observations from the cache; also return whether Ctrl-C interrupted it."""
    seen: dict[str, Observation] = {}

    def take(observation: Observation) -> None:
        seen[observation.path] = observation
        listener.observed(observation)

    interrupted = False
    cache = None
    if request.cache is not None:
        from certhash.archive.cache import Cache

        cache = Cache(request.cache, request.settings, listener.note)
    try:
        for path in captures if cache else ():
            if cache and (known := cache.get(path)) is not None:
                take(known)
        unread = [path for path in captures if path not in seen]
        listener.begin(unread)
        arriving = observe_all(
            unread,
            request.settings,
            listener,
            workers=request.workers,
            scheduler=request.scheduler,
            place=request.place,
        )
        with closing(arriving):
            for observation in arriving:
                take(observation)
                if cache:
                    cache.put(observation)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if cache:
            cache.close()
    return [seen[path] for path in captures if path in seen], interrupted


def _tool(used: Tshark, observations: Iterable[Observation]) -> Tool:
    by_plugin = used.lua is not None and all(
        o.hash_source == "plugin" for o in observations if o.status != "unreadable"
    )
    return Tool(__version__, used.version, used.lua, "plugin" if by_plugin else "python")


def learn(observations: Iterable[Observation]) -> Sources:
    """Return the cnf files that phones download in the captures, the problems with them, and what failed."""
    observations = [each for each in observations if each.downloads or each.failed]
    if not observations:
        return Sources()
    from certhash import cnf

    files: list[CnfFile] = []
    problems: list[Problem] = []
    for observation in observations:
        for download in observation.downloads:
            fetch = Fetch(observation.path, download.frame, download.time, download.client, download.server)
            try:
                learned = cnf.from_download(download.name, download.content, fetch)
            except ValueError as error:
                problems.append(Problem(observation.path, str(error)))
                continue
            files.append(learned)
            problems += cnf.problems_of(learned)
    return Sources(tuple(files), (), tuple(problems), missed=cnf.missed_fetches(observations))
