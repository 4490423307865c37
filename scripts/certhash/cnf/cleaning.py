"""Remove what web pages, mails, chats and terminal programs add to a text, before it is parsed.

:func:`clean` is the first stage of all text readers: ``clean(decode_text(data))``, then the reader. It never
changes a letter or a digit of the device's output, and never joins lines: the reader, which knows the syntax
of a line, repairs the line breaks of a terminal window. A phone's own file is parsed as the phone gets it; it
is cleaned only if that fails.
"""

from __future__ import annotations

import html
import re

from certhash.cnf.stamps import stamped, without_stamps

_BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_NOTHING = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff"
)
_CHARACTERS = str.maketrans(
    dict.fromkeys(_BLANKS, " ")
    | dict.fromkeys(_NOTHING, "")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u0096\u0097", "-")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u0093\u0094", '"')
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u0091\u0092", "'")
    | dict.fromkeys("\u2028\u2029\v\f", "\n")
    | {"\u0085": "\u2026"}
)
"""U+0085 and U+0091 to U+0097 are the punctuation of Windows-1252, read as Latin-1."""

_DASH = "[-\u2010-\u2015\u2212\u0096\u0097]"
_FRAMES = re.compile(rf"(?<!{_DASH}){_DASH}{{2,}}[ ]?((?:BEGIN|END) [A-Z0-9 ]+?)[ ]?{_DASH}{{2,}}")
"""Around PEM. Programs with autocorrection replace two dashes with one long dash."""
_COMMENTS = re.compile(rf"<!{_DASH}+|(?<!{_DASH}){_DASH}+>")
_COMMENT = re.compile(rf"<!|{_DASH}>")
"""Fast to search: only a text with this can have a comment."""
_LONG_DASH = re.compile("[\u2013\u2014\u2015]")

_MORE = re.compile(r" ?(?:-{1,2}More-{1,2}|<-{1,3} More -{1,3}>)( *)")
"""The pager of IOS and ASA. IOS erases it with nine backspaces, nine blanks and nine backspaces."""
_ERASED = 9
_CONTROL, _TITLE = r"[0-?]*[ -/]*[@-~]", r"[^\x07\x1b\n]*(?:\x07|\x1b\\)?"
_ESCAPES = re.compile(
    rf"\x1b\[{_CONTROL}|\x9b{_CONTROL}|\^\[\[{_CONTROL}"  # colours and the like; some programs show ESC as ^[
    rf"|\x1b\]{_TITLE}|\x9d{_TITLE}"  # the window's title
    r"|\x1b[ -/]*[0-~]"
    r"|\[(?:\d{1,2}(?:;\d{1,2})*)?m"  # a colour that lost its ESC
)
"""Each form begins with a character of its own: the search is then ten times as fast."""
_CONTROLS = re.compile(r"[\x00-\x07\x0e-\x1f\x7f]")

_ENTITY = re.compile(
    r"&(?:nbsp|lt|gt|quot|apos|amp|ensp|emsp|thinsp|shy|zwj|zwnj|ndash|mdash|[lr][sd]quo|#\d{1,7}|#x[0-9A-Fa-f]{1,6});"
)
_NO_XML_ENTITY = re.compile(r"&(?!(?:lt|gt|quot|apos|amp|#\d+|#x[0-9A-Fa-f]+);)[a-z]{2,6};")
_ESCAPED_TAG = re.compile(
    r"&(?:amp;)*lt;/?(?:vpnGroup|device|Default|addresses|credentials|certHash\d|url\d)"
)
_TELLING_ENTITY = re.compile(r"&(?:amp;)*(?:nbsp|lt|gt|quot|#160|#xa0|#39);", re.IGNORECASE)
_UNSEEN_TAG = re.compile(r"<(?P<name>script|style|head)(?:\s[^<>]*)?>", re.IGNORECASE)
_BREAKS = re.compile(r"(?:<br\s*/?>|</(?:p|div|tr|li|pre|h[1-6])[ \t]*>)(?:[ \t]*\n)?", re.IGNORECASE)
_MARKUP = re.compile(
    r"</?(?:html|body|meta|link|hr|p|div|span|pre|code|font|b|i|u|strong|em|blockquote|ul|ol|li|table|tbody"
    r"|thead|tr|td|th|a|img|h[1-6]|tt|samp|kbd|small|section|article|wbr|main)"
    r"(?:\s+[\w-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*[ \t]*/?>",
    re.IGNORECASE,
)
"""Tags of pages that no phone's file has (``<address>`` and ``<label>`` are in both).

A tag that a window wrapped (``</a``, ``ddresses>``) must not match, so attributes must have values.
"""

_FOLDING = re.compile(
    "^([ \\t]*)[-\u25bc\u25be\u25b6\u25b8][ \\t]?(?=<[A-Za-z][^<>/]*>[ \\t]*$)", re.MULTILINE
)
"""A browser's marks for folding XML, before a start tag alone on its line; the lines of a diff have more.

Folded content is not copied, so its element then has no end tag.
"""
_QUOTED = re.compile(r" ?>")
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*[\w+-]*[ \t]*$|`{3,}", re.MULTILINE)
_LOOKED_AT = 160
_MOST_LAYERS = 5
"""Maximum number of nested prefixes: quotes of quotes of stamped lines."""
_TELLING = re.compile(
    r"vpn-(?:gateway|trustpoint|group)|vpn (?:gateway|trustpoint)|vpngroup|certhash\d|<url\d|fingerprint"
    r"|ssl trust-?point|certificate |begin certificate|mac-address"
)
"""A line that matches this, in lower case, affects what is expected or presented."""
_TELLS_AT_ONCE = re.compile(
    r"(?:[\w./-]+ ?(?:\([\w-]+\))?[#>])?\s*(?:no )?"
    r"(?:vpn-(?:gateway|trustpoint|group) \d|VPN (?:Gateway|Trustpoint) \d"
    r"|</?(?:vpnGroup|certHash|credentials|url\d)|Fingerprint (?:SHA1|MD5)|ssl trust-?point "
    r"|certificate (?:(?:ca|self-signed|rollover) )*[0-9A-F]+$|-----BEGIN CERT|mac-address [0-9A-F.]+$)",
    re.IGNORECASE,
)
"""The same at the start of a line; excludes IOS log messages (``%PARSER-5-CFGLOG_LOGGEDCMD``) and tables."""


def clean(text: str) -> str:
    """Return a pasted or logged text as the device wrote it, line by line.

    Call it with the decoded text (line ends LF) before any parsing. It removes:

    - escape sequences, control characters, ``--More--`` and the characters that erase it;
    - typographic blanks, dashes and quotation marks, which become ASCII;
    - HTML tags and entities, and Markdown fences;
    - quote marks (``> ``), time stamps, syslog headers and line numbers before (nearly) every line;
    - indentation that all lines share.

    The lines keep their numbers, except after a ``<br>`` or a line separator in the middle of a line.

    Raises:
        ValueError: relevant lines exist both with and without such a prefix, so it is unknown which of them
            count; the message is one line that says what to do.
    """
    text = text.replace("\u00c2\u00a0", " ")  # a no-break space of UTF-8, read as Latin-1
    text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    if "BEGIN " in text or "END " in text:
        text = _FRAMES.sub(r"-----\1-----", text)
    if _COMMENT.search(text):
        text = _COMMENTS.sub(lambda found: _LONG_DASH.sub("--", found[0]), text)
    text = _without_html(text.translate(_CHARACTERS))
    text = _FOLDING.sub(r"\1", text)
    if "```" in text or "~~~" in text:
        text = _FENCE.sub("", text)
    for _ in range(_MOST_LAYERS):
        before = text
        text = _without_indentation(without_stamps(_without_quote_marks(text)))
        if text == before:
            break
    _refuse_half_stamped(text)
    if "More" in text:
        text = _MORE.sub(_without_pager, text)
    if "\b" in text:
        text = "\n".join(_rubbed_out(line) if "\b" in line else line for line in text.split("\n"))
    return text


def _without_pager(found: re.Match[str]) -> str:
    """Remove the pager; backspaces after it determine which text it covered."""
    if found.string[found.end() : found.end() + 1] == "\b":
        return found[0]
    blanks = len(found[1])
    return " " * (blanks - _ERASED) if blanks >= _ERASED else " " * (blanks - 1)


def _rubbed_out(line: str) -> str:
    """Return a line with backspaces as a screen shows it: each moves back one column, and text overwrites."""
    cells: list[str] = []
    at = 0
    for character in line:
        if character == "\b":
            at = max(at - 1, 0)
            continue
        cells[at : at + 1] = [character]
        at += 1
    return "".join(cells).rstrip(" ")


# ---------------------------------------------------------------- pages


def _without_html(text: str) -> str:
    if "<" in text:
        text = _MARKUP.sub("", _BREAKS.sub("\n", _without_unseen(text)))
    if "&" not in text:
        return text
    if "<vpnGroup" in text and not _ESCAPED_TAG.search(text):
        # It is XML: its parser resolves the entities of XML.
        return _NO_XML_ENTITY.sub(lambda found: _character(found[0]), text)
    for _ in range(_MOST_LAYERS):
        if not (_ESCAPED_TAG.search(text) or _TELLING_ENTITY.search(text)):
            break
        text = _ENTITY.sub(lambda found: _character(found[0]), text)
    return text


def _without_unseen(text: str) -> str:
    """Remove what a browser does not display, and keep its line ends."""
    kept: list[str] = []
    at = 0
    while found := _UNSEEN_TAG.search(text, at):
        closing = re.compile(rf"</{found['name']}\s*>", re.IGNORECASE).search(text, found.end())
        if closing is None:
            break
        kept += [text[at : found.start()], "\n" * text.count("\n", found.start(), closing.end())]
        at = closing.end()
    return "".join([*kept, text[at:]])


def _character(entity: str) -> str:
    return html.unescape(entity).translate(_CHARACTERS)


# ---------------------------------------------------------------- before every line


def _without_quote_marks(text: str) -> str:
    """Remove one level of ``>``; relevant lines must not exist both with and without it."""
    lines = text.split("\n")
    marked = [line for line in lines if _QUOTED.match(line)]
    if len(marked) < 2 or _is_xml_of_its_own(lines):  # noqa: PLR2004 - one such line is no quote
        return text
    others = [line for line in lines if line.strip() and not _QUOTED.match(line)]
    if any(map(_tells, marked)) and any(map(_tells, others)):
        raise ValueError(
            "relevant lines exist both with and without the quote mark >, and it is unknown which of them "
            "count: save only one kind"
        )
    blank = all(re.match(r" ?>(?: |>|$)", line) for line in marked)
    mark = re.compile(r" ?> ?" if blank else r" ?>")
    return "\n".join(mark.sub("", line, count=1) if _QUOTED.match(line) else line for line in lines)


def _tells(line: str) -> bool:
    return _TELLING.search(line.lower()) is not None


def _is_xml_of_its_own(lines: list[str]) -> bool:
    """Return whether ``>`` at the start of lines ends an XML tag, rather than marking a quote."""
    return any(line.lstrip().startswith("<") for line in lines) and not any(
        _QUOTED.match(line) and line.strip(" >").startswith("<") for line in lines
    )


def _without_indentation(text: str) -> str:
    lines = text.split("\n")
    depth = min((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), default=0)
    return "\n".join(line[depth:] for line in lines) if depth else text


def _refuse_half_stamped(text: str) -> None:
    """Raise ValueError if some lines still have a stamp, and one of them is relevant."""
    telling = [line for line in text.split("\n") if _tells(line[:_LOOKED_AT])]
    for name, rest in stamped(telling):
        if _TELLS_AT_ONCE.match(rest):
            raise ValueError(
                f'some lines have a {name} and others do not (one is before "{rest.strip()[:60]}"): '
                "save the text without it"
            )
