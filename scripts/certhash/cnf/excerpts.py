"""Read phones' configurations from a text: a single vpnGroup, or files displayed in a terminal.

TAC 116638 shows such a text: the ``<vpnGroup>`` "near the end of the file content", after ``more
flash:/its/SEP….cnf.xml``. A text may contain several files, with prompts before, after and between them. The
rules for a whole file apply (:mod:`certhash.cnf.phone_xml`), and one more: nothing may be missing within a
vpnGroup, since an incomplete list of hashes causes a false mismatch.

The command that displayed the file, or a heading, names the device; otherwise the name of the text file does.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

from certhash.cnf.names import base_name, device_of, is_cnf_name
from certhash.cnf.phone_xml import vpn_group
from certhash.cnf.rules import LARGEST
from certhash.cnf.xml import parse_text, refuse_other_root, text_at
from certhash.model import CnfFile
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINE_END = "\n"
_MARKERS = re.compile(r"<(?:vpnGroup|device|Default|credentials|certHash\d)\b", re.IGNORECASE)
_TAG = re.compile(r"<(?P<slash>/?)(?P<name>device|Default|vpnGroup)(?=[\s/>])(?P<rest>[^<>]*>?)")
_SAYS = re.compile(r"<(?:url|certHash)\d|<credentials\b")
"""A vpnGroup without any of these is only mentioned in the text, not displayed."""
_LOST = re.compile(r"<certHash\d+\s*>\s*[A-Za-z0-9+/=]{8}", re.IGNORECASE)
_OTHER_CASE = re.compile(r"<vpngroup\b", re.IGNORECASE)
_NAME = re.compile(r"[^\s\"'<>|=,;()\[\]]{1,200}\.cnf\.xml(?:(?:\.enc)?\.sgn)?(?![\w])", re.IGNORECASE)
_COMMAND = re.compile(
    r"(?:.{0,80}[#>$%:\]] ?)?(?:sudo )?(?:more|cat|type|less|head|tail|get|show|sh|curl|wget|tftp|atftp"
    r"|busybox|strings|vi|vim|nano|xmllint|view|file|dump|Get-Content|gc)\b",
    re.IGNORECASE,
)
_PROMPT = re.compile(r"(?:[\w.@:~/\\\[\]() -]{1,60}[#>$%]|[#$%])(?: |\S|$)")
_HEADING = re.compile(r"[\s=:<>#*`\"'-]+")
"""Characters around a file name that is alone on its line (``==> SEP….cnf.xml <==``)."""
_MOST = 1000
"""Maximum number of files in one text."""
_NARROWEST = 40
"""Column range in which a terminal window wraps lines."""


class Excerpts(Struct, frozen=True):
    """The configurations in a text, and the text with those places blank."""

    files: tuple[CnfFile, ...]
    problems: tuple[str, ...]
    rest: str


class _Scope(Struct, frozen=True):
    """The part of a text that one command or heading covers."""

    start: int
    end: int
    names: tuple[str, ...]
    """Names of the phone files that it mentions."""


def read_excerpts(text: str, path: str) -> Excerpts | None:
    """Return the phones' configurations in a cleaned text, or None if it contains none.

    Args:
        text: the result of :func:`certhash.cnf.cleaning.clean`.
        path: the file that contains the text.

    Raises:
        ValueError: the text is a complete document of another kind.
    """
    if not _MARKERS.search(text):
        return None
    bare = _blanked(text, _comments(text))
    if bare.lstrip().startswith("<"):
        refuse_other_root(bare)
    files: list[CnfFile] = []
    problems: list[str] = []
    taken: list[tuple[int, int]] = []
    for scope, (start, end, problem) in islice(_all_places(bare), _MOST):
        taken.append((start, end))
        try:
            if problem:
                raise ValueError(problem)  # noqa: TRY301 - all reasons are reported in one place
            cnf = _read(text, bare, (start, end), scope, path)
            if not any(other.device == cnf.device and other.says == cnf.says for other in files):
                files.append(cnf)
        except ValueError as error:
            problems.append(f"line {text.count(_LINE_END, 0, start) + 1}: {error}")
    rest = _blanked(bare, taken)
    lost = _lost(rest)
    if lost:
        problems.append(lost)
        rest = _LOST.sub("", rest)  # report it only once
    if not (files or problems):
        return None
    return Excerpts(tuple(files), tuple(problems), rest)


def _comments(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each comment; an unclosed comment extends to the end."""
    at = 0
    while (start := text.find("<!--", at)) >= 0:
        end = text.find("-->", start + 4)
        at = len(text) if end < 0 else end + 3
        yield start, at


def _blanked(text: str, places: Iterable[tuple[int, int]]) -> str:
    """Replace parts of a text with blanks."""
    parts: list[str] = []
    at = 0
    for start, end in places:
        parts += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
        at = end
    return "".join([*parts, text[at:]])


# ---------------------------------------------------------------- locations


def _scopes(text: str) -> Iterator[_Scope]:
    """Split a text at prompts and at lines that name a file."""
    start = at = 0
    names: tuple[str, ...] = ()
    within_tag = False
    for line in text.splitlines(keepends=True):
        named = _named_in(line.strip())
        # The end of a wrapped tag looks like a prompt.
        if named or ("<" not in line and not within_tag and _PROMPT.match(line)):
            if at > start:
                yield _Scope(start, at, names)
            start, names = at, named
        if "<" in line or ">" in line:
            within_tag = line.rfind("<") > line.rfind(">")
        at += len(line)
    yield _Scope(start, at, names)


def _all_places(text: str) -> Iterator[tuple[_Scope, tuple[int, int, str]]]:
    for scope in _scopes(text):
        places = list(_places(text, scope))
        groups = {place for place in places if text.startswith("<vpnGroup", place[0])}
        several = len({" ".join(text[start:end].split()) for start, end, _ in groups}) > 1
        wrong = f"this is one of {len(groups)} vpnGroups, and it is unknown which one a phone uses"
        for place in places:
            start, end, problem = place
            yield scope, (start, end, problem or wrong) if several and place in groups else place


def _named_in(line: str) -> tuple[str, ...]:
    """Return the phone files that a command or a heading names; a directory listing does not count."""
    if ".cnf.xml" not in line.lower():
        return ()
    names = tuple(dict.fromkeys(name for name in _NAME.findall(line) if is_cnf_name(name)))
    if names and (_COMMAND.match(line) or _HEADING.sub("", line) == _HEADING.sub("", names[0])):
        return names
    return ()


def _places(text: str, scope: _Scope) -> Iterator[tuple[int, int, str]]:
    """Yield the start and end of each whole file and single vpnGroup in a scope, and any error in it."""
    tags = list(_TAG.finditer(text, scope.start, scope.end))
    place = 0
    while place < len(tags):
        tag = tags[place]
        place += 1
        if tag["slash"] or tag["rest"].rstrip().endswith("/>"):
            continue
        name = tag["name"]
        # Its end tag or the start of another one, whichever comes first.
        last = next((at for at in range(place, len(tags)) if tags[at]["name"] == name), None)
        whole = last is not None and bool(tags[last]["slash"])
        if last is None:
            end, place = scope.end, len(tags) if name != "vpnGroup" else place
        elif whole:
            end, place = tags[last].end(), last + 1
        else:
            end, place = tags[last].start(), last
        if name != "vpnGroup":
            yield tag.start(), end, ""
        elif _SAYS.search(text, tag.start(), end):
            wrong = "" if whole else "the vpnGroup has no end: copy everything from <vpnGroup> to </vpnGroup>"
            yield tag.start(), end, wrong


def _lost(rest: str) -> str | None:
    """Return a problem for a hash outside of all parsed places, or for a vpnGroup in another case."""
    found = _LOST.search(rest)
    if not found:
        return None
    line = rest.count("\n", 0, found.start()) + 1
    other = next((each for each in _OTHER_CASE.finditer(rest) if each[0] != "<vpnGroup"), None)
    if other:
        return f"line {line}: {other[0]}> is not <vpnGroup>, and phones distinguish upper and lower case"
    return f"line {line}: a certHash is outside a vpnGroup: copy everything from <vpnGroup> to </vpnGroup>"


# ---------------------------------------------------------------- one file or vpnGroup


def _read(text: str, bare: str, place: tuple[int, int], scope: _Scope, path: str) -> CnfFile:
    start, end = place
    if end - start > LARGEST:
        raise ValueError("the text that begins here is too long for a phone's config")
    warnings: list[str] = []
    device = _device(scope, path, warnings)
    source = "standard input" if path == "-" else path
    # Only displayed lines can be joined, and the first line may begin before the excerpt.
    before = start - (bare.rfind("\n", 0, start) + 1)
    body = "\n" * text.count("\n", 0, start) + _joined(text[start:end], before)
    lost_header = _has_lost_header(bare, start, scope, path)
    if lost_header and is_cnf_name(path):
        raise ValueError("its signed header is lost: copy the file itself, in binary mode")
    if lost_header:
        warnings.append("its signed header was lost in the terminal: copy the file in binary mode")
    if bare.startswith("<vpnGroup", start):
        if re.compile(r"[^<]*-->").match(bare, end, scope.end):
            raise ValueError("the vpnGroup may be in a comment, because the end of one follows it")
        lines = len(body) - len(body.lstrip("\n"))
        body = "\n" * lines + "<device>" + body[lines:] + "</device>"
        warnings.append("the text contains only the vpnGroup of a phone's config")
        root = parse_text(body, warnings, strict=True)
    else:
        root = parse_text(body, warnings, strict=lost_header)
    group = vpn_group(root, warnings)
    if group is None and text_at(root, "fullConfig").lower() == "false":
        return CnfFile(device, source, "encrypted", None, None, tuple(warnings))
    return CnfFile(device, source, "plain", group, None, tuple(warnings))


def _device(scope: _Scope, path: str, warnings: list[str]) -> str:
    """Return the name of the device.

    Raises:
        ValueError: the text names two devices.
    """
    named = list(dict.fromkeys(filter(None, map(device_of, scope.names))))
    own = device_of(path)
    if len(named) > 1 or (named and own and named[0] != own):
        both = visible(" and ".join(named if len(named) > 1 else [own or "", named[0]]))
        raise ValueError(f"it names different devices ({both})")
    if named or own:
        return named[0] if named else own or ""
    warnings.append("its file name contains no device name (SEP and 12 hex digits)")
    return base_name(path)


def _has_lost_header(text: str, start: int, scope: _Scope, path: str) -> bool:
    """Return whether the signed header, as a terminal displays it, precedes the file."""
    if not any(name.lower().endswith(".sgn") for name in scope.names or (path,)):
        return False
    before = text[scope.start : start]
    if scope.names:
        before = before.partition("\n")[2]
    return re.sub(r"<\?xml\b[^<>]*\?>", "", before).strip() != ""


def _joined(text: str, before: int) -> str:
    """Undo the line wrapping of a terminal window: a line of maximum length continues on the next line.

    The removed line ends follow the joined line, so that later lines keep their numbers.
    """
    lines = text.split("\n")
    lengths = [len(line) for line in lines]
    lengths[0] += before
    window = max(lengths)
    out: list[list[str]] = []
    gone = 0
    full = False
    for line, length in zip(lines, lengths, strict=True):
        if full and not line and not out[-1][-1].endswith(">"):
            gone += 1  # the line of the pager
            continue
        if full and line[:1] not in {"", " "}:
            out[-1].append(line)
            gone += 1
        else:
            out += [*([""] for _ in range(gone)), [line]]
            gone = 0
        full = length == window >= _NARROWEST
    return "\n".join([*map("".join, out), *([""] * gone)])
