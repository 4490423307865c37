"""From the bytes of a phone's config to its elements, as strictly as they can be read and no more strictly.

The files are read as they are found: undeclared ``xsi:`` in all that CUCM writes, mismatched tags, stray
characters. What is damaged is read with a warning as long as the vpnGroup stands whole in it, and refused
otherwise: half a list of hashes would make a false mismatch, and a lost vpnGroup a false "none".
``plugin/certhash/xml.lua`` and ``cnf.lua`` do the same for the plugin.
"""

from __future__ import annotations

import re

from lxml import etree

from certhash.visible import visible

_DECLARATION = re.compile(r"<\?xml\b[^<>]*\?>")
_ENCODING = re.compile(rb"<\?xml\b[^>]*\bencoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_FAMILIAR_ENCODINGS = ("utf-8", "us-ascii", "iso-8859-", "windows-125")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);)")


def parse(data: bytes, warnings: list[str]) -> etree._Element:
    """Return the root of a phone's config; what is wrong with it, and does not matter, goes to `warnings`.

    Nothing is resolved: no entities, no network, no huge trees.

    Raises:
        ValueError: it is no phone's config, or so damaged that its vpnGroup may not be whole; one line.
    """
    text = decode(data, warnings)
    if not text.lstrip().startswith("<"):
        raise ValueError("it is not XML")
    if text[0] != "<":
        warnings.append("something stands before the first tag: a strict reader refuses that")
    return parse_text(text, warnings)


def parse_text(text: str, warnings: list[str], *, strict: bool = False) -> etree._Element:
    """Do as :func:`parse` with text that begins with a tag, blanks before it aside.

    Args:
        text: one document, line ends LF.
        warnings: what is wrong with it, and does not matter, goes here.
        strict: refuse damage of any kind.

    Raises:
        ValueError: as above.
    """
    if re.search(r"<!\s*(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ValueError("it has a document type declaration, which no phone's config has: not read")
    # lxml refuses a declared encoding that is not that of the bytes; the lines must stay where they are.
    text = _DECLARATION.sub(lambda found: "\n" * found[0].count("\n"), text, count=1)
    # No file of CUCM declares the prefix of its xsi:type, and that is no damage.
    if "xmlns:xsi" not in text:
        text = re.sub(r"<device(?=\s)", '<device xmlns:xsi="urn:undeclared"', text, count=1)
    if "<![CDATA[" not in text:
        text, bare = _BARE_AMPERSAND.subn("&#38;", text)
        if bare:
            warnings.append(f"a bare & stands in it ({bare} times): a strict reader refuses that")
    try:
        root = _strictly(text)
    except etree.XMLSyntaxError as error:
        reason = re.sub(r", line \d+, column \d+$", "", str(error.msg))
        where = f"line {error.lineno}: {visible(reason)}"
        if strict:
            raise ValueError(f"it is damaged ({where})") from None
        root = _salvage(text, where)
        warnings.append(f"damaged XML, {where}")
    name = local_name(root)
    _check_root(name)
    if name not in {"device", "Default"}:
        right = "Default" if name.lower() == "default" else "device"
        if any(local_name(element) == "vpnGroup" for element in root.iter(etree.Element)):
            raise ValueError(
                f"its outer element is <{name}>, not <{right}>: what a phone makes of it is not known"
            )
        warnings.append(
            f"its outer element is <{name}>, not <{right}>: what a phone makes of it is not known"
        )
    return root


def _strictly(text: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, encoding="utf-8"
    )
    return etree.fromstring(text.encode("utf-8", "replace"), parser)


def decode(data: bytes, warnings: list[str]) -> str:
    """Return the text of a phone's config, line ends LF; what is odd about its bytes goes to `warnings`.

    Raises:
        ValueError: it is UTF-16 that is cut short or damaged.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    elif data[:2] in {b"<\0", b"\0<"}:
        encoding = "utf-16-le" if data[0] else "utf-16-be"
    else:
        stripped = data.rstrip(b"\0")
        if stripped != data:
            warnings.append("NUL bytes stand after its end: a strict reader refuses that")
        data = stripped
        declared = _ENCODING.search(data[:200])
        encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
        if not encoding.startswith(_FAMILIAR_ENCODINGS):
            encoding = "utf-8"
    try:
        return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except (UnicodeDecodeError, LookupError):
        if encoding.startswith("utf-16"):
            raise ValueError("it is UTF-16 that is cut short or damaged") from None
        warnings.append("its bytes are not in the encoding that it declares; read as Latin-1")
        return data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")


def _salvage(text: str, where: str) -> etree._Element:
    """Return what counts of a damaged file, or refuse it where a vpnGroup may be torn or lost.

    A parser's repair closes elements early and drops what follows, so the vpnGroup is cut out of the text
    itself. It must be whole there, and the only one; comments do not count.
    """
    text = _without_comments(text)
    outer = re.search(r"<([A-Za-z_][\w.\x80-\U0010ffff-]*)", text)
    if not outer:
        raise ValueError(f"it is not XML ({where})")
    _check_root(outer[1])
    root = etree.Element(outer[1])
    if len(re.findall(r"<vpnGroup\b", text)) > 1:
        raise ValueError(f"it is damaged and has several vpnGroup elements ({where})")
    opened = re.search(r"<vpnGroup\b", text)
    if opened:
        group = re.compile(r"<vpnGroup\s*/>|<vpnGroup\b.*?</vpnGroup\s*>", re.DOTALL)
        found = group.match(text, opened.start())
        if not found or found[0].count("</vpnGroup") != text.count("</vpnGroup"):
            raise ValueError(f"it is damaged or cut short within its vpnGroup ({where})")
        try:
            # The line ends before it keep its lines those of the file.
            before = "\n" * text.count("\n", 0, opened.start())
            root.append(_strictly(before + found[0]))
        except etree.XMLSyntaxError:
            raise ValueError(f"it is damaged or cut short within its vpnGroup ({where})") from None
    elif not re.search(r"</(?:device|default)\s*>\s*$", text, re.IGNORECASE) or re.search(
        r"vpnGroup|<credentials|<addresses", text
    ):
        raise ValueError(f"it is damaged or cut short, and a vpnGroup may be missing ({where})")
    if re.search(r"<fullConfig>\s*(?i:false)\s*</fullConfig>", text):
        etree.SubElement(root, "fullConfig").text = "false"
    return root


def _without_comments(text: str) -> str:
    """Take comments out, and leave their line ends."""
    first, *parts = text.split("<!--")
    kept = [first]
    for part in parts:
        comment, _, after = part.partition("-->")
        kept += ["\n" * comment.count("\n"), after]
    return "".join(kept)


def refuse_other_root(text: str) -> None:
    """Raise ValueError where a text is one well-formed document, and that of no phone."""
    try:
        root = _strictly(_DECLARATION.sub("", text, count=1))
    except etree.XMLSyntaxError:
        return
    if local_name(root).lower() != "vpngroup":
        _check_root(local_name(root))


def _check_root(name: str) -> None:
    # XMLDefault.cnf.xml, for phones that have no file of their own, has <Default>.
    if name.lower() not in {"device", "default"}:
        raise ValueError(
            f"its outer element is <{visible(name)}>; a phone's config has <device>, or <Default> in "
            "XMLDefault.cnf.xml"
        )


def text_at(element: etree._Element, path: str) -> str:
    """Return the text of the first element at a path of names, in whatever namespace; else nothing."""
    found = element.find("/".join("{*}" + step for step in path.split("/")))
    return "" if found is None else text_of(found)


def text_of(element: etree._Element) -> str:
    """Return an element's own text, comments left out."""
    return "".join([element.text or "", *(child.tail or "" for child in element)]).strip()


def local_name(element: etree._Element) -> str:
    """Return an element's name without its namespace."""
    return etree.QName(element).localname
