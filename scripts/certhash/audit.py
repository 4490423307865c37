"""The main job: captures and cnf files in, a document with a verdict per phone out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait

from msgspec import Struct
from msgspec.structs import replace

from certhash import __version__, cnf
from certhash.archive import find_captures
from certhash.capture import tshark
from certhash.capture.observe import Settings, observe
from certhash.correlate import correlate
from certhash.document import Document, Tool
from certhash.model import CnfFile, Fetch, Observation, Problem, Sources

NO_PLUGIN = (
    "the plugin could not be loaded, so Python alone computed the hashes, and no cnf file was learned from "
    "the captures; `certhash doctor` says why"
)


class Request(Struct, frozen=True):
    """What to audit, and how."""

    captures: tuple[str, ...]
    cnf: tuple[str, ...] = ()
    settings: Settings | None = None
    resolve: Mapping[str, tuple[str, ...]] = {}
    workers: int = 0
    """How many captures are read at once; 0 is one a processor."""


def audit(request: Request, note: Callable[[str], None]) -> Document:
    """Read everything, hold it together, and return the result.

    Args:
        request: what to do.
        note: takes a line for people that is no part of the result.

    Raises:
        InputError: there is no tshark.
    """
    settings = request.settings or Settings(tshark.find())
    sources = cnf.read(request.cnf)
    observations, problems = read_captures(request.captures, settings, request.workers, note)
    learned = learn(observations)
    by_plugin = all(o.hash_source == "plugin" for o in observations if o.status != "unreadable")
    if not by_plugin or settings.tshark.lua is None:
        note(NO_PLUGIN)
    tool = Tool(
        certhash=__version__,
        tshark=settings.tshark.version,
        lua=settings.tshark.lua,
        hash_source="plugin" if by_plugin and settings.tshark.lua else "python",
    )
    everything = Sources(
        (*sources.cnf_files, *learned.cnf_files),
        sources.known,
        (*problems, *sources.problems, *learned.problems),
    )
    return correlate(observations, everything, tool, resolve=request.resolve)


def read_captures(
    paths: tuple[str, ...], settings: Settings, workers: int, note: Callable[[str], None]
) -> tuple[list[Observation], list[Problem]]:
    """Read all captures of files and folders; return an observation for each, and what could not be done.

    Args:
        paths: capture files, and folders that are searched for them.
        settings: how they are read.
        workers: how many are read at once; 0 is one a processor.
        note: takes a line for people that is no part of the result.
    """
    found = find_captures(paths)
    if found.passed_over:
        note(f"passed over {found.passed_over} files in folders that are no captures")
    problems = list(found.problems)
    if not found.captures and not problems:
        problems.append(
            Problem(" ".join(paths), "no capture file is there; give a capture or a folder of them")
        )
    observations, interrupted = _observe_all(found.captures, settings, workers)
    if interrupted:
        problems.append(
            Problem("", f"interrupted: {len(observations)} of {len(found.captures)} captures were read")
        )
    return observations, problems


def _observe_all(paths: tuple[str, ...], settings: Settings, workers: int) -> tuple[list[Observation], bool]:
    """Read all captures, several at once; returns the observations in order, and whether it was cut off."""
    workers = workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(max(1, min(workers, len(paths)))) as pool:
        done: dict[int, Observation] = {}
        try:
            done.update(_as_completed(pool, paths, settings))
        except KeyboardInterrupt:
            tshark.stop_all()
            pool.shutdown(cancel_futures=True)
            return [done[n] for n in sorted(done)], True
    return [done[n] for n in sorted(done)], False


def _as_completed(
    pool: Executor, paths: Iterable[str], settings: Settings
) -> Iterator[tuple[int, Observation]]:
    pending: dict[Future[Observation], int] = {
        pool.submit(observe, path, settings): number for number, path in enumerate(paths)
    }
    while pending:
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            yield pending.pop(future), future.result()


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
