"""Read ``SEP<MAC>.cnf.xml``, the file that a phone downloads; its ``vpnGroup`` names the trusted head-ends.

Only ``/device/vpnGroup`` counts: ``addresses/url1`` to ``url3`` and ``credentials/certHash1`` to
``certHash10``. The two lists are independent: equal numbers do not form pairs (usecallmanager.nz,
sepmac-cnf-xml; CME's ``vpn-gateway`` and ``vpn-trustpoint`` have the same limits). ``/device/certHash`` is
something else: the hash of the phone's own certificate. Only the file name contains the device name.

:mod:`certhash.cnf.xml` parses the files, including damaged ones.
"""

from __future__ import annotations

import re

from lxml import etree
from msgspec.structs import replace

from certhash.cnf import signed
from certhash.cnf.names import base_name, device_of
from certhash.cnf.rules import CHECKED_TWICE, HASHES, LARGEST, LONGEST_URL, URLS, why_longer
from certhash.cnf.xml import local_name, parse, text_at, text_of
from certhash.digest import ALGORITHMS, decode_cert_hash
from certhash.model import CnfFile, ExpectedHash, Fetch, HeadEndUrl, VpnGroup
from certhash.visible import visible


def from_download(name: str, content: bytes, fetch: Fetch) -> CnfFile:
    """Read a cnf file that was downloaded in a capture; its source is the capture.

    Raises:
        ValueError: it cannot be read; the message is one line that names the file.
    """
    try:
        cnf = read_phone_xml(name, content, fetch.capture)
    except ValueError as error:
        raise ValueError(f"the download of {visible(name)} in frame {fetch.frame}: {error}") from error
    return replace(cnf, fetch=fetch)


def read_phone_xml(name: str, data: bytes, source: str) -> CnfFile:
    """Read one cnf file, plain or signed; `name` is its file name, `source` its origin.

    Raises:
        ValueError: it cannot be read correctly; the message is one line without the file name.
    """
    if len(data) > LARGEST:
        raise ValueError(f"it has {len(data) / 1024 / 1024:.0f} MB; a phone's config has only some kilobytes")
    if not data.strip(b"\0 \t\r\n"):
        raise ValueError("it is empty")
    warnings: list[str] = []
    kind = "plain"
    if signed.is_signed(data):
        wrapped = signed.unwrap(data)
        kind = "encrypted" if wrapped.encrypted else "signed"
        if wrapped.name and device_of(name) and device_of(wrapped.name) != device_of(name):
            warnings.append(f"its signed header has another name, {visible(wrapped.name)}")
        name = name if device_of(name) else wrapped.name or name
        data = wrapped.payload
    device = device_of(name)
    if device is None:
        device = base_name(name)
        warnings.append("its file name contains no device name (SEP and 12 hex digits)")
    if kind == "encrypted":
        return CnfFile(device, source, "encrypted", None, None, tuple(warnings))
    root = parse(data, warnings)
    group = vpn_group(root, warnings)
    if group is None and text_at(root, "fullConfig").lower() == "false":
        # The short companion of an encrypted file: the encrypted file has all settings.
        return CnfFile(device, source, "encrypted", None, None, tuple(warnings))
    return CnfFile(device, source, "signed" if kind == "signed" else "plain", group, None, tuple(warnings))


# ---------------------------------------------------------------- the vpnGroup


def vpn_group(root: etree._Element, warnings: list[str]) -> VpnGroup | None:
    """Return the vpnGroup of a phone's configuration, or None; irregularities go to `warnings`.

    Raises:
        ValueError: there are several, or one that contradicts itself; the message is one line.
    """
    groups = []
    for element in root.iter(etree.Element):
        name = local_name(element)
        if name.lower() != "vpngroup":
            continue
        if name == "vpnGroup" and element.getparent() is root:
            groups.append(element)
        else:
            path = "/".join(local_name(part) for part in reversed([element, *element.iterancestors()]))
            warnings.append(
                f"/{visible(path)} in line {element.sourceline} is not /device/vpnGroup, and is ignored"
            )
    if len(groups) > 1:
        raise ValueError(f"it has {len(groups)} vpnGroup elements, and it is unknown which one a phone uses")
    if not groups:
        return None
    group = groups[0]
    _refuse_gaps(group, warnings)
    urls = tuple(
        HeadEndUrl(number, text, line)
        for number, text, line in _numbered(group, "addresses", "url", URLS, warnings)
        if text
    )
    hashes = tuple(
        ExpectedHash(number, text, *decode_cert_hash(text), line)
        for number, text, line in _numbered(group, "credentials", "certHash", HASHES, warnings)
    )
    warnings.extend(
        f"<{visible(local_name(element))}> in line {element.sourceline} is not vpnGroup/enableHostIDCheck, "
        "and is ignored"
        for element in group.iter(etree.Element)
        if local_name(element).lower() == "enablehostidcheck"
        and (local_name(element) != "enableHostIDCheck" or element.getparent() is not group)
    )
    checks = _texts_at(group, "enableHostIDCheck")
    if len(checks) > 1:
        warnings.append(f"{CHECKED_TWICE}, and it is unknown which one counts: the check is assumed to be on")
    host_id_check = _switch("".join(checks), warnings) if len(checks) == 1 else None
    algorithms = _texts_at(group, "credentials/hashAlg")
    if len(algorithms) > 1:
        warnings.append("hashAlg occurs twice with different values: only a SHA-1 counts")
    hash_algorithm = (algorithms[0] if len(algorithms) == 1 else "") or None
    _weigh(urls, hashes, hash_algorithm, warnings)
    return VpnGroup(urls, hashes, host_id_check, hash_algorithm)


def _refuse_gaps(group: etree._Element, warnings: list[str]) -> None:
    """Raise ValueError for text among the URLs or hashes: "[lines omitted]", dots, the signs of a diff.

    An incomplete list of hashes causes a false mismatch, and a line that a diff removes a false match.
    """
    for element in group.iter(etree.Element):
        name = local_name(element)
        holds_elements = next(element.iterchildren(etree.Element), None) is not None
        pieces = [element.text or "", *(child.tail or "" for child in element)]
        said = re.sub(r"[ \t\r\n]+", " ", "".join(pieces)).strip(" ")
        if not said or name not in {"vpnGroup", "addresses", "credentials"} or not holds_elements:
            continue
        shown = f'"{visible(said[:60])}"'
        if name != "vpnGroup":
            raise ValueError(
                f"{shown} is among the {name}, where lines may be missing: "
                "copy everything from <vpnGroup> to </vpnGroup>"
            )
        if not said.strip("-+ "):
            raise ValueError(f"{shown} is in the vpnGroup, as in a diff: it is unknown which lines count")
        warnings.append(f"{shown} is in the vpnGroup, where lines may be missing")


def _texts_at(group: etree._Element, path: str) -> list[str]:
    """Return the distinct texts of all elements at a path of names, in any namespace."""
    found = group.iterfind("/".join("{*}" + step for step in path.split("/")))
    return list(dict.fromkeys(text_of(element) for element in found))


def _numbered(
    group: etree._Element, parent: str, prefix: str, highest: int, warnings: list[str]
) -> list[tuple[int, str, int | None]]:
    """Return number, text and line of each ``prefixN`` in `parent`; warn of similar names."""
    found: dict[int, tuple[str, int | None]] = {}
    first_holder = None
    for element in group.iter(etree.Element):
        name = local_name(element)
        if not re.fullmatch(prefix + r"[0-9]*", name, re.IGNORECASE):
            continue
        shown = f"<{visible(name)}> in line {element.sourceline}"
        holder = element.getparent()
        in_place = holder is not None and local_name(holder) == parent and holder.getparent() is group
        number = re.fullmatch(prefix + r"([1-9][0-9]{0,3})", name)
        if not in_place or not number:
            warnings.append(f"{shown} is not {parent}/{prefix}1 to {prefix}{highest}, and is ignored")
            continue
        if int(number[1]) > highest:
            warnings.append(f"{shown} is ignored: a phone accepts at most {highest}")
            continue
        if next(element.iterchildren(etree.Element), None) is not None:
            raise ValueError(f"{shown} contains other elements, so its value is unknown")
        first_holder = holder if first_holder is None else first_holder
        if holder is not first_holder:
            raise ValueError(f"{shown} is in a second <{parent}>, and it is unknown which one counts")
        text = text_of(element)
        line = element.sourceline
        earlier = found.setdefault(int(number[1]), (text, line if isinstance(line, int) else None))
        if earlier[0] != text:
            raise ValueError(
                f"{shown} occurs twice with different values, and it is unknown which one counts"
            )
    return [(number, *found[number]) for number in sorted(found)]


def _weigh(
    urls: tuple[HeadEndUrl, ...],
    hashes: tuple[ExpectedHash, ...],
    hash_algorithm: str | None,
    warnings: list[str],
) -> None:
    """Add warnings of irregularities that do not make the file unreadable."""
    if urls and not hashes:
        warnings.append("the vpnGroup has a URL and no certHash: the phone can trust no head-end")
    if hashes and not urls:
        warnings.append("the vpnGroup has a certHash and no URL: the phone has nowhere to connect")
    warnings.extend(
        f"url{url.number} has {len(url.value)} characters, but a phone accepts {LONGEST_URL}"
        for url in urls
        if len(url.value) > LONGEST_URL
    )
    if hash_algorithm not in {None, "0"}:
        warnings.append(
            f"hashAlg is {visible(str(hash_algorithm))}: only 0 (SHA-1) is documented, so the length of each "
            "hash decides"
        )
    else:
        warnings.extend(
            f"certHash{item.number} {why_longer(item.algorithm)}"
            for item in hashes
            if item.algorithm not in {None, ALGORITHMS[20]}
        )


def _switch(text: str, warnings: list[str]) -> bool | None:
    if text not in {"0", "1", ""}:
        warnings.append(f'enableHostIDCheck is "{visible(text)}": neither 0 nor 1')
    return {"0": False, "1": True}.get(text)
