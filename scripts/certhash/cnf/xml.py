"""Parse the bytes of a phone's configuration into elements, as strictly as real files allow.

Real files have defects: an undeclared ``xsi:`` in all files from CUCM, mismatched tags, stray characters. A
damaged file is read with a warning if its vpnGroup is complete, and refused otherwise: an incomplete list of
hashes would cause a false mismatch, and a lost vpnGroup a false "none". ``plugin/certhash/xml.lua`` and
``markup.lua`` do the same for the plugin.
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
    """Return the root of a phone's configuration; harmless defects go to `warnings`.

    No entities, network access or huge trees are allowed.

    Raises:
        ValueError: it is not a phone's configuration, or its vpnGroup may be incomplete; one line.
    """
    text = decode(data, warnings)
    if not text.lstrip().startswith("<"):
        raise ValueError("it is not XML")
    if text[0] != "<":
        warnings.append("there is text before the first tag, which a strict parser refuses")
    return parse_text(text, warnings)


def parse_text(text: str, warnings: list[str], *, strict: bool = False) -> etree._Element:
    """Return the root of a text, as :func:`parse` does; the text begins with optional blanks and a tag.

    Args:
        text: one document, line ends LF.
        warnings: receives harmless defects.
        strict: refuse damage of any kind.

    Raises:
        ValueError: as for :func:`parse`.
    """
    if re.search(r"<!\s*(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ValueError("it has a document type declaration, which no phone's config has: not read")
    # lxml refuses a declared encoding that differs from the actual one; line numbers must not change.
    text = _DECLARATION.sub(lambda found: "\n" * found[0].count("\n"), text, count=1)
    # No file of CUCM declares the prefix of its xsi:type; this is not damage.
    if "xmlns:xsi" not in text:
        text = re.sub(r"<device(?=\s)", '<device xmlns:xsi="urn:undeclared"', text, count=1)
    if "<![CDATA[" not in text:
        text, bare = _BARE_AMPERSAND.subn("&#38;", text)
        if bare:
            warnings.append(f"it contains a bare & ({bare} in all), which a strict parser refuses")
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
                f"its root element is <{name}>, not <{right}>, and it is unknown how a phone handles this"
            )
        warnings.append(
            f"its root element is <{name}>, not <{right}>, and it is unknown how a phone handles this"
        )
    return root


def _strictly(text: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, encoding="utf-8"
    )
    return etree.fromstring(text.encode("utf-8", "replace"), parser)


def decode(data: bytes, warnings: list[str]) -> str:
    """Return the text of a phone's configuration with LF line ends; irregular bytes go to `warnings`.

    Raises:
        ValueError: it is truncated or damaged UTF-16.
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
            warnings.append("NUL bytes follow its end, which a strict parser refuses")
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
        warnings.append("its bytes are not in the encoding that it declares, and were read as Latin-1")
        return data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")


def _salvage(text: str, where: str) -> etree._Element:
    """Return the root of a damaged file, or refuse it if a vpnGroup may be incomplete or lost.

    A repairing parser closes elements early and drops what follows, so the vpnGroup is cut out of the text
    itself. It must be complete there, and the only one; comments do not count.
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
            # The line ends before it preserve its line numbers.
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
    """Remove comments, and keep their line ends."""
    first, *parts = text.split("<!--")
    kept = [first]
    for part in parts:
        comment, _, after = part.partition("-->")
        kept += ["\n" * comment.count("\n"), after]
    return "".join(kept)


def refuse_other_root(text: str) -> None:
    """Raise ValueError if a text is a well-formed document, but not a phone's configuration."""
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
            f"its root element is <{visible(name)}>; a phone's config has <device>, or <Default> in "
            "XMLDefault.cnf.xml"
        )


def text_at(element: etree._Element, path: str) -> str:
    """Return the text of the first element at a path of names, in any namespace; empty if none."""
    found = element.find("/".join("{*}" + step for step in path.split("/")))
    return "" if found is None else text_of(found)


def text_of(element: etree._Element) -> str:
    """Return an element's own text without comments."""
    return "".join([element.text or "", *(child.tail or "" for child in element)]).strip()


def local_name(element: etree._Element) -> str:
    """Return an element's name without its namespace."""
    return etree.QName(element).localname
