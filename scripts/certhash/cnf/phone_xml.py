"""``SEP<MAC>.cnf.xml``, the file that a phone fetches; its ``vpnGroup`` says which head-end to trust.

Only ``/device/vpnGroup`` counts: ``addresses/url1`` to ``url3`` and ``credentials/certHash1`` to
``certHash10``, two lists that no numbering pairs (usecallmanager.nz, sepmac-cnf-xml; the limits are those of
CME's ``vpn-gateway`` and ``vpn-trustpoint`` too). ``/device/certHash`` is something else, the phone's own
certificate. The device's name is in the name of the file alone.

The files are read as they are found: undeclared ``xsi:`` in all that CUCM writes, mismatched tags, stray
characters. What is damaged is read with a warning as long as the vpnGroup stands whole in it, and refused
otherwise: half a list of hashes would make a false mismatch, and a lost vpnGroup a false "none".
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from lxml import etree

from certhash.cnf import signed
from certhash.digest import ALGORITHMS, decode_cert_hash
from certhash.headend import parse_url
from certhash.model import CnfFile, ExpectedHash, Fetch, HeadEndUrl, Problem, VpnGroup
from certhash.visible import visible

LARGEST = 2 * 1024 * 1024
"""Bytes. Files of real phones have 5 to 40 KB."""
URLS, HASHES = 3, 10
LONGEST_URL = 255
"""Characters (usecallmanager.nz)."""

_DEVICE = re.compile(r"(?:vrf\d+_)?(SEP[0-9A-F]{12})(?![0-9A-Z])", re.IGNORECASE)
_CNF_NAME = re.compile(
    r"\.cnf\.xml(?:(?:\.enc)?\.sgn)?$|(?:^|_)SEP[0-9A-F]{12}\b.*\.(?:xml|sgn)$", re.IGNORECASE
)
_SUFFIX = re.compile(r"(?:\.cnf)?(?:\.xml)?(?:\.enc)?(?:\.sgn)?$", re.IGNORECASE)
_DECLARATION = re.compile(r"<\?xml\b[^<>]*\?>")
_ENCODING = re.compile(rb"<\?xml\b[^>]*\bencoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_FAMILIAR_ENCODINGS = ("utf-8", "us-ascii", "iso-8859-", "windows-125")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);)")


def is_cnf_name(name: str) -> bool:
    """Tell whether a file's name claims that it is a phone's config."""
    return bool(_CNF_NAME.search(_base_name(name)))


def device_of(name: str) -> str | None:
    """Return the device that a file is for: ``SEP`` and 12 hex digits, or a shared file's stem; else None."""
    base = _base_name(name)
    found = _DEVICE.match(base)
    if found:
        return found[1].upper()
    stem = _SUFFIX.sub("", re.sub(r"^vrf\d+_", "", base, flags=re.IGNORECASE))
    return stem if is_cnf_name(base) and stem else None


def from_download(name: str, content: bytes, fetch: Fetch) -> CnfFile:
    """Read a cnf file that was seen on the wire; its source is the capture.

    Raises:
        ValueError: it cannot be read; one line that names the file.
    """
    try:
        cnf = read_phone_xml(name, content, fetch.capture)
    except ValueError as error:
        raise ValueError(f"the download of {visible(name)} in frame {fetch.frame}: {error}") from error
    return CnfFile(cnf.device, cnf.source, cnf.kind, cnf.group, fetch, cnf.warnings)


def read_phone_xml(name: str, data: bytes, source: str) -> CnfFile:
    """Read one cnf file, plain or signed; `name` is the file's name, `source` where it came from.

    Raises:
        ValueError: it cannot be read as it should be; the message is one line without the file's name.
    """
    if len(data) > LARGEST:
        raise ValueError(f"it has {len(data) / 1024 / 1024:.0f} MB, and a phone's config has some kilobytes")
    if not data.strip(b"\0 \t\r\n"):
        raise ValueError("it is empty")
    warnings: list[str] = []
    kind = "plain"
    if signed.is_signed(data):
        wrapped = signed.unwrap(data)
        kind = "encrypted" if wrapped.encrypted else "signed"
        if wrapped.name and device_of(name) and device_of(wrapped.name) != device_of(name):
            warnings.append(f"its signed header says that it is {visible(wrapped.name)}")
        name = name if device_of(name) else wrapped.name or name
        data = wrapped.payload
    device = device_of(name)
    if device is None:
        device = _base_name(name)
        warnings.append("its name names no phone (SEP and 12 hex digits)")
    if kind == "encrypted":
        return CnfFile(device, source, "encrypted", None, None, tuple(warnings))
    root = _parse(data, warnings)
    group = _vpn_group(root, warnings)
    if group is None and _text_at(root, "fullConfig").lower() == "false":
        # The short file beside an encrypted one: everything of interest is in the other.
        return CnfFile(device, source, "encrypted", None, None, tuple(warnings))
    return CnfFile(device, source, "signed" if kind == "signed" else "plain", group, None, tuple(warnings))


def problems_of(cnf: CnfFile) -> list[Problem]:
    """Name what makes a file impossible to check: hashes and URLs that are none."""
    if cnf.group is None:
        return []
    place = f"frame {cnf.fetch.frame}, " if cnf.fetch else ""
    problems = []
    for item in cnf.group.hashes:
        if item.algorithm is None:
            written = f'is "{visible(item.value)}"' if item.value else "is empty"
            message = f"{place}{cnf.device}: certHash{item.number} {written}: {why_malformed(item.value)}"
            problems.append(Problem(cnf.source, message))
    for url in cnf.group.urls:
        try:
            parse_url(url.value)
        except ValueError as error:
            message = f'{place}{cnf.device}: url{url.number} is "{visible(url.value)}": {visible(str(error))}'
            problems.append(Problem(cnf.source, message))
    return problems


def why_malformed(value: str) -> str:
    """Say in a few words what is wrong with a ``certHashN`` that decodes to no known digest."""
    text = "".join(value.split())
    if not text:
        return "no certificate can match it"
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}[:-]?){20}", text):
        return "that is the thumbprint in hex, where a phone needs Base64"
    return "not the Base64 of a SHA-1, SHA-256 or SHA-512"


def _base_name(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/").rpartition(":")[2] or name).name


# ---------------------------------------------------------------- the XML


def _parse(data: bytes, warnings: list[str]) -> etree._Element:
    """Parse without entities, network or huge trees."""
    text = _decode(data, warnings)
    if re.search(r"<!\s*(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ValueError("it has a document type declaration, which no phone's config has: not read")
    if not text.lstrip().startswith("<"):
        raise ValueError("it is not XML")
    if text[0] != "<":
        warnings.append("something stands before the first tag: a strict reader refuses that")
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
        root = _salvage(text, where)
        warnings.append(f"damaged XML, {where}")
    _check_root(_local_name(root))
    return root


def _strictly(text: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, encoding="utf-8"
    )
    return etree.fromstring(text.encode("utf-8", "replace"), parser)


def _decode(data: bytes, warnings: list[str]) -> str:
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
    outer = re.search(r"<([A-Za-z_][\w.-]*)", text)
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
    elif not re.search(r"</(?:device|Default)\s*>\s*$", text) or re.search(
        r"vpnGroup|<credentials|<addresses", text
    ):
        raise ValueError(f"it is damaged or cut short, and a vpnGroup may be missing ({where})")
    if re.search(r"<fullConfig>\s*false\s*</fullConfig>", text):
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


def _check_root(name: str) -> None:
    # XMLDefault.cnf.xml, for phones that have no file of their own, has <Default>.
    if name not in {"device", "Default"}:
        raise ValueError(f"its outer element is <{visible(name)}>; a phone's config has <device>")


# ---------------------------------------------------------------- the vpnGroup


def _vpn_group(root: etree._Element, warnings: list[str]) -> VpnGroup | None:
    groups = []
    for element in root.iter(etree.Element):
        name = _local_name(element)
        if name.lower() != "vpngroup":
            continue
        if name == "vpnGroup" and element.getparent() is root:
            groups.append(element)
        else:
            path = "/".join(_local_name(part) for part in reversed([element, *element.iterancestors()]))
            warnings.append(
                f"/{visible(path)} in line {element.sourceline} is not /device/vpnGroup: not counted"
            )
    if len(groups) > 1:
        raise ValueError(f"it has {len(groups)} vpnGroup elements, and which one a phone takes is not known")
    if not groups:
        return None
    group = groups[0]
    urls = tuple(
        HeadEndUrl(number, text, line)
        for number, text, line in _numbered(group, "addresses", "url", URLS, warnings)
        if text
    )
    hashes = tuple(
        ExpectedHash(number, text, *decode_cert_hash(text), line)
        for number, text, line in _numbered(group, "credentials", "certHash", HASHES, warnings)
    )
    host_id_check = _switch(_text_at(group, "enableHostIDCheck"), warnings)
    hash_algorithm = _text_at(group, "credentials/hashAlg") or None
    _weigh(urls, hashes, hash_algorithm, warnings)
    return VpnGroup(urls, hashes, host_id_check, hash_algorithm)


def _numbered(
    group: etree._Element, parent: str, prefix: str, highest: int, warnings: list[str]
) -> list[tuple[int, str, int | None]]:
    """List ``prefixN`` under `parent`: number, text, line; warn of what looks like one and does not count."""
    found: dict[int, tuple[str, int | None]] = {}
    for element in group.iter(etree.Element):
        name = _local_name(element)
        if not re.fullmatch(prefix + r"[0-9]*", name, re.IGNORECASE):
            continue
        shown = f"<{visible(name)}> in line {element.sourceline}"
        holder = element.getparent()
        in_place = holder is not None and _local_name(holder) == parent and holder.getparent() is group
        number = re.fullmatch(prefix + r"([1-9][0-9]{0,3})", name)
        if not in_place or not number:
            warnings.append(f"{shown} is not {parent}/{prefix}1 to {prefix}{highest}: not counted")
            continue
        if int(number[1]) > highest:
            warnings.append(f"{shown}: a phone takes {highest} at most, not counted")
            continue
        if next(element.iterchildren(etree.Element), None) is not None:
            raise ValueError(f"{shown} has other elements in it, and what it says is not known")
        text = _text(element)
        line = element.sourceline
        earlier = found.setdefault(int(number[1]), (text, line if isinstance(line, int) else None))
        if earlier[0] != text:
            raise ValueError(
                f"{shown} stands a second time with another value, and which one counts is not known"
            )
    return [(number, *found[number]) for number in sorted(found)]


def _weigh(
    urls: tuple[HeadEndUrl, ...],
    hashes: tuple[ExpectedHash, ...],
    hash_algorithm: str | None,
    warnings: list[str],
) -> None:
    """Warn of what is odd without making the file unreadable."""
    if urls and not hashes:
        warnings.append("the vpnGroup has a URL and no certHash: the phone can trust no head-end")
    if hashes and not urls:
        warnings.append("the vpnGroup has a certHash and no URL: the phone has nowhere to connect")
    warnings.extend(
        f"url{url.number} has {len(url.value)} characters; a phone takes {LONGEST_URL}"
        for url in urls
        if len(url.value) > LONGEST_URL
    )
    if hash_algorithm not in {None, "0"}:
        warnings.append(
            f"hashAlg is {visible(str(hash_algorithm))}: only 0 (SHA-1) is documented; told by length"
        )
    elif hash_algorithm == "0":
        warnings.extend(
            f"hashAlg is 0 (SHA-1), and certHash{item.number} has the length of {item.algorithm}"
            for item in hashes
            if item.algorithm not in {None, ALGORITHMS[20]}
        )


def _switch(text: str, warnings: list[str]) -> bool | None:
    if text not in {"0", "1", ""}:
        warnings.append(f'enableHostIDCheck is "{visible(text)}": neither 0 nor 1')
    return {"0": False, "1": True}.get(text)


def _text_at(element: etree._Element, path: str) -> str:
    found = element.find("/".join("{*}" + step for step in path.split("/")))
    return "" if found is None else _text(found)


def _text(element: etree._Element) -> str:
    """Return an element's own text, comments left out."""
    return "".join([element.text or "", *(child.tail or "" for child in element)]).strip()


def _local_name(element: etree._Element) -> str:
    return etree.QName(element).localname
