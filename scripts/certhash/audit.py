"""The main job: captures and cnf files in, a document with a verdict per phone out."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from certhash import __version__, cnf, workers
from certhash.archive import find_captures
from certhash.cache import Cache
from certhash.capture.observe import Settings
from certhash.correlate import correlate
from certhash.document import Document, Tool
from certhash.model import CnfFile, Fetch, Observation, Problem, Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from certhash.capture.tshark import Tshark

NOTHING_THERE = "no capture file is there; give a capture or a folder of them"
NO_PLUGIN = (
    "the plugin could not be loaded, so Python alone computed the hashes, and no cnf file was learned from "
    "the captures; `certhash doctor` says why"
)


class Request(Struct, frozen=True):
    """Which captures to read, and how."""

    captures: tuple[str, ...]
    """Capture files, and folders that are searched for them."""
    settings: Settings
    workers: int = 0
    """How many captures are read at once; 0 is one a processor."""
    scheduler: str | None = None
    """The address of a Dask scheduler whose workers read the captures."""
    cache: str | None = None
    """The database of what captures showed in earlier runs."""


class Audience(workers.Listener):
    """Whoever is told how an audit goes on; this one does nothing with it."""

    def observed(self, observation: Observation) -> None:
        """Take what one capture shows, as soon as it is known."""

    def begin(self, captures: Sequence[str]) -> None:
        """Take the captures that are going to be read; what was observed before needed no reading."""


def audit(
    request: Request, cnf_paths: Iterable[str], resolve: Mapping[str, tuple[str, ...]], audience: Audience
) -> Document:
    """Read everything, hold it together, and return the result.

    Args:
        request: the captures, and how they are read.
        cnf_paths: what phones expect: files, folders, URLs.
        resolve: names in URLs to addresses, as the user states them.
        audience: is told how it goes on.

    Raises:
        InputError: the scheduler cannot be used, or the key log not read.
    """
    sources = cnf.read(cnf_paths)
    if sources.copies:
        audience.note(cnf.describe_copies(sources.copies))
    observations, problems = read_captures(request, audience)
    learned = learn(observations)
    tool = _tool(request.settings.tshark, observations)
    if tool.hash_source == "python" and observations:
        audience.note(NO_PLUGIN)
    everything = Sources(
        (*sources.cnf_files, *learned.cnf_files),
        sources.known,
        (*problems, *sources.problems, *learned.problems),
    )
    return correlate(observations, everything, tool, resolve=resolve)


def read_captures(request: Request, audience: Audience) -> tuple[list[Observation], list[Problem]]:
    """Read all captures; return an observation for each, in order, and what could not be done beside them.

    Ctrl-C ends the reading; what was read until then is returned, and a problem says that it is not all.
    """
    found = find_captures(request.captures)
    if found.passed_over:
        audience.note(f"passed over {found.passed_over} files in folders that are no captures")
    problems = list(found.problems)
    if request.captures and not found.captures and not problems:
        problems.append(Problem(" ".join(request.captures), NOTHING_THERE))
    observations, interrupted = _observe_all(request, found.captures, audience)
    if interrupted:
        read = f"{len(observations)} of {len(found.captures)} captures were read"
        problems.append(Problem("", f"interrupted: {read}, the result is partial"))
    return observations, problems


def _observe_all(
    request: Request, captures: tuple[str, ...], audience: Audience
) -> tuple[list[Observation], bool]:
    """Read captures, or take from the cache what they showed; also tell whether it was interrupted."""
    seen: dict[str, Observation] = {}

    def take(observation: Observation) -> None:
        seen[observation.path] = observation
        audience.observed(observation)

    interrupted = False
    cache = Cache(request.cache, request.settings, audience.note) if request.cache is not None else None
    try:
        for path in captures if cache else ():
            if cache and (known := cache.get(path)) is not None:
                take(known)
        unread = [path for path in captures if path not in seen]
        audience.begin(unread)
        arriving = workers.observe_all(
            unread, request.settings, audience, workers=request.workers, scheduler=request.scheduler
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
    """Return the cnf files that crossed the wire, with what is wrong with any of them."""
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
            problems += [replace(p, path=observation.path) for p in cnf.problems_of(learned)]
    return Sources(tuple(files), (), tuple(problems))
