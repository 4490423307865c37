"""Test the reading of phone files: minor damage is accepted, truncated files refused, nothing guessed."""

from __future__ import annotations

import base64
import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certhash.cnf import from_download, problems_of, read_phone_xml
from certhash.model import CnfFile, Fetch

NAME = "SEP0011215A1AE3.cnf.xml"
TAC = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="
OTHER = "1eD9l3VEI9DGWQGKlNBGE1bRhUg="
URL = "https://10.201.160.201/SSLVPNphone"

GROUP = f"""<vpnGroup>
<enableHostIDCheck>0</enableHostIDCheck>
<addresses>
<url1>{URL}</url1>
</addresses>
<credentials>
<hashAlg>0</hashAlg>
<certHash1>{TAC}</certHash1>
</credentials>
</vpnGroup>
"""
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
DEVICE = '<device  xsi:type="axl:XIPPhone" ctiid="548" uuid="{7fe8bd6e-3d42-4ad5-1d1b-cfcb53bdc717}">\n'


def device(inner: str = GROUP, head: str = DECLARATION + DEVICE, tail: str = "</device>\n") -> str:
    return f"{head}<fullConfig>true</fullConfig>\n{inner}<certHash></certHash>\n{tail}"


def read(text: str | bytes, name: str = NAME) -> CnfFile:
    return read_phone_xml(name, text if isinstance(text, bytes) else text.encode(), "folder/" + name)


def assert_documented(cnf: CnfFile) -> None:
    """The complete vpnGroup of Cisco TAC 116638."""
    assert cnf.device == "SEP0011215A1AE3"
    assert cnf.group is not None
    assert [url.value for url in cnf.group.urls] == [URL]
    assert [(item.value, item.digest, item.algorithm) for item in cnf.group.hashes] == [
        (TAC, base64.b64decode(TAC), "SHA-1")
    ]
    assert cnf.group.host_id_check is False
    assert cnf.group.hash_algorithm == "0"
    assert problems_of(cnf) == []


def test_file_as_cucm_writes_it() -> None:
    cnf = read(device())
    assert_documented(cnf)
    assert cnf.group is not None
    assert cnf.group.urls[0].line == 7
    assert cnf.group.hashes[0].line == 11
    assert cnf.kind == "plain"
    assert cnf.warnings == ()


@pytest.mark.parametrize(
    "data",
    [
        device(head="<device>").encode(),
        device().replace("\n", "\r\n").encode(),
        device().encode() + b"\r\r\r",
        b"\xef\xbb\xbf" + device().encode(),
        device().encode("utf-16"),
        device().replace("UTF-8", "UTF-16").encode("utf-16"),
        device().encode("utf-16-le"),
        device("<name>\u00e9</name>" + GROUP).replace("UTF-8", "ISO-8859-1").encode("latin-1"),
        device("<versionStamp>{Jan 01 2002 00:00:00}</versionStamp>" + GROUP).encode(),
        device("<name>>us.pool.ntp.org</name>" + GROUP).encode(),
        device(GROUP.replace("\n", "")).encode(),
        device(GROUP.replace(TAC, f"\n   {TAC[:9]} {TAC[9:]}\n")).replace("xsi:", "").encode(),
        device(GROUP.replace(TAC, f"<!-- a -->{TAC}")).encode(),
        device("<!-- <vpnGroup><addresses/></vpnGroup> -->" + GROUP).encode(),
        device(head='<device xmlns="urn:x" xmlns:xsi="urn:y">').encode(),
    ],
)
def test_forms_that_are_no_damage(data: bytes) -> None:
    cnf = read(data)
    assert cnf.warnings == ()
    assert cnf.group is not None
    assert [item.digest for item in cnf.group.hashes] == [base64.b64decode(TAC)]
    assert [url.value for url in cnf.group.urls] == [URL]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (device("<dateTemplate>M/D/YA</dateTempliate>" + GROUP).encode(), "damaged XML, line 4"),
        (device("<TVS><port>2445</port><TVS>" + GROUP).encode(), "damaged XML"),
        (("\n" + device()).encode(), "before the first tag"),
        (device().encode() + b"\0\0\0", "NUL"),
        (device("<name>R&D</name>" + GROUP).encode(), "bare &"),
        (device("<name>\u00e9</name>" + GROUP).encode("latin-1"), "Latin-1"),
        (device("<name>\x01</name>" + GROUP).encode(), "damaged XML"),
        (device(GROUP + "<!-- a -- b -->").encode(), "damaged XML"),
        (device(tail="").encode(), "damaged XML"),
        (device(tail="<loadInform").encode(), "damaged XML"),
    ],
)
def test_damage_is_read_with_a_warning(data: bytes, words: str) -> None:
    cnf = read(data)
    assert_documented(cnf)
    assert [warning for warning in cnf.warnings if words in warning]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<fullConfig>", "<fullCo]]>nfig>"),
        ("xsi:type=", "xs"),
        ("</fullConfig>", "</device>"),
        ("</fullConfig>", "</fullConfig></device>"),
        ("<certHash></certHash>", "<certHash></certHash"),
        ("ctiid=", "<ctiid="),
    ],
)
def test_a_whole_group_survives_damage_elsewhere(old: str, new: str) -> None:
    """A repairing parser closes elements early and drops what follows, but the vpnGroup is complete."""
    text = device("<!-- two\nlines <vpnGroup> -->" + GROUP).replace(old, new)
    cnf = read(text)
    assert_documented(cnf)
    assert cnf.warnings
    assert cnf.group is not None
    assert cnf.group.hashes[0].line == 1 + text[: text.index(TAC)].count("\n")


def test_damaged_stub_is_still_a_stub() -> None:
    stub = device("<a>1</b>").replace("<fullConfig>true", "<fullConfig>false")
    assert read(stub).kind == "encrypted"


def test_characters_in_a_url_survive_damage_elsewhere() -> None:
    damaged = device("<a>1</b>" + GROUP.replace("phone<", "?a&b=1&amp;c=2<"))
    cnf = read(damaged)
    assert cnf.group is not None
    assert cnf.group.urls[0].value == "https://10.201.160.201/SSLVPN?a&b=1&c=2"


@pytest.mark.parametrize("cut", range(1, len(GROUP)))
def test_a_file_cut_within_its_vpn_group_is_refused(cut: int) -> None:
    """An incomplete list of hashes would cause a false mismatch, and a lost vpnGroup a false "no VPN"."""
    whole = device(tail="")
    start = whole.index("<vpnGroup>")
    end = whole.index("</vpnGroup>") + len("</vpnGroup>")
    if start + cut < end:
        with pytest.raises(ValueError, match="damaged or cut short"):
            read(whole[: start + cut])


def test_a_file_cut_before_its_vpn_group_is_refused() -> None:
    with pytest.raises(ValueError, match="a vpnGroup may be missing"):
        read(device("<port>2445</port>", tail=""))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</certHash1>", f"<certHash2>{OTHER}</certHash2>"),
        ("</certHash1>", "</certHash2>"),
        ("</vpnGroup>", "</vpnGrup>"),
        ("<vpnGroup>", "<vpnG<vpnGroup/>roup>"),
        ("<credentials>", ""),
        ("</addresses>", "</adresses>"),
        (TAC, TAC[:9] + "\x01" + TAC[9:]),
    ],
)
def test_a_file_damaged_within_its_vpn_group_is_refused(old: str, new: str) -> None:
    with pytest.raises(ValueError, match="damaged or cut short within its vpnGroup"):
        read(device(GROUP.replace(old, new)))


@pytest.mark.parametrize("lost", ["<vpnGroup>", "<vpnGr", "vpnGroup>\n<enable"])
def test_a_file_that_lost_the_start_of_its_vpn_group_is_refused(lost: str) -> None:
    with pytest.raises(ValueError, match=r"a vpnGroup may be missing|outer element"):
        read(device(GROUP.replace(lost, "", 1)))


def test_a_group_in_a_comment_does_not_count() -> None:
    assert read(device(f"<!-- {GROUP} -->")).group is None
    assert read(device(f"<!-- template -- {GROUP} -->")).group is None


def test_the_certificate_hash_of_the_phone_is_something_else() -> None:
    cnf = read(device(f"<certHash1>{TAC}</certHash1><url1>{URL}</url1>"))
    assert cnf.group is None
    assert cnf.warnings == ()


def group(*, urls: str = f"<url1>{URL}</url1>", hashes: str = f"<certHash1>{TAC}</certHash1>") -> str:
    return f"<vpnGroup><addresses>{urls}</addresses><credentials>{hashes}</credentials></vpnGroup>"


def test_three_urls_and_ten_hashes() -> None:
    hashes = "".join(
        f"<certHash{n}>{base64.b64encode(bytes([n]) * 20).decode()}</certHash{n}>" for n in range(12, 0, -1)
    )
    urls = "".join(f"<url{n}>https://vpn{n}.example/x</url{n}>" for n in range(4, -1, -1))
    cnf = read(device(group(urls=urls, hashes=hashes)))
    assert cnf.group is not None
    assert [(url.number, url.value) for url in cnf.group.urls] == [
        (n, f"https://vpn{n}.example/x") for n in (1, 2, 3)
    ]
    assert [(item.number, item.digest) for item in cnf.group.hashes] == [
        (n, bytes([n]) * 20) for n in range(1, 11)
    ]
    assert len([warning for warning in cnf.warnings if "is ignored" in warning]) == 4


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (group(urls=f"<url>{URL}</url><url1>{URL}</url1>"), "<url> in line 4"),
        (group(hashes=f"<certhash1>{TAC}</certhash1><certHash1>{TAC}</certHash1>"), "<certhash1>"),
        (group() + "<a><vpnGroup/></a>", "/device/a/vpnGroup"),
        ("<VPNgroup/>" + group(), "/device/VPNgroup"),
        (group().replace("</credentials>", f"</credentials><certHash2>{TAC}</certHash2>"), "<certHash2>"),
        (group(hashes=f"<hashAlg>1</hashAlg><certHash1>{TAC}</certHash1>"), "hashAlg is 1"),
        (
            group(
                hashes=f"<hashAlg>0</hashAlg><certHash1>{base64.b64encode(bytes(32)).decode()}</certHash1>"
            ),
            "is as long as a SHA-256",
        ),
        (group(hashes=""), "no certHash"),
        (group(urls=""), "no URL"),
        (group(urls=f"<url1>{URL}{'x' * 250}</url1>"), "characters"),
        (group().replace("<addresses>", "<enableHostIDCheck>yes</enableHostIDCheck><addresses>"), "yes"),
    ],
)
def test_oddities_are_warned_of_and_not_counted(inner: str, words: str) -> None:
    cnf = read(device(inner))
    assert [warning for warning in cnf.warnings if words in warning]
    assert cnf.group is not None
    assert len(cnf.group.urls) <= 1
    assert len(cnf.group.hashes) <= 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is empty"),
        ("7D9DB14073017168FF7D2A0DB392243DB0363EDF", "thumbprint in hex"),
        ("fZ2xQHMBcWj", "not the Base64"),
        ("not Base64!", "not the Base64"),
        (base64.b64encode(bytes(16)).decode(), "like an MD5"),
    ],
)
def test_malformed_hash_is_kept_and_reported(value: str, words: str) -> None:
    cnf = read(device(group(hashes=f"<certHash1>{value}</certHash1><certHash2>{TAC}</certHash2>")))
    assert cnf.group is not None
    assert [(item.value, item.digest, item.algorithm) for item in cnf.group.hashes] == [
        (value, b"", None),
        (TAC, base64.b64decode(TAC), "SHA-1"),
    ]
    (problem,) = problems_of(cnf)
    assert problem.path == "folder/" + NAME
    assert words in problem.message
    assert "certHash1" in problem.message


def test_unusable_url_is_reported() -> None:
    cnf = read(device(group(urls="<url1>http://10.1.1.1/x</url1><url2></url2>")))
    (problem,) = problems_of(cnf)
    assert "url1" in problem.message
    assert "https://" in problem.message


@pytest.mark.parametrize(("text", "value"), [("1", True), ("0", False), ("", None), (" 1\n", True)])
def test_host_id_check(text: str, value: bool | None) -> None:
    inner = group().replace("<addresses>", f"<enableHostIDCheck>{text}</enableHostIDCheck><addresses>")
    cnf = read(device(inner))
    assert cnf.group is not None
    assert cnf.group.host_id_check is value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\0\0\r\n", "empty"),
        (b"hello", "not XML"),
        (b"<html><body>404</body></html>", "<html>"),
        (b"<device", "damaged or cut short"),
        (device(GROUP.replace(TAC, f"{TAC[:1]}<a>z</a>{TAC[1:]}")).encode(), "contains other elements"),
        (device(GROUP + GROUP).encode(), "2 vpnGroup"),
        (
            device(GROUP.replace("</addresses>", "<url1>https://b/x</url1></addresses>")).encode(),
            "occurs twice",
        ),
        (
            device(
                GROUP.replace(
                    "</vpnGroup>", f"<credentials><certHash2>{TAC}</certHash2></credentials></vpnGroup>"
                )
            ).encode(),
            "second <credentials>",
        ),
        (device(head="<!DOCTYPE device [<!ENTITY a 'b'>]>\n<device>").encode(), "document type"),
        (b"<" + b"a" * (3 * 1024 * 1024), "3 MB"),
        (b"<device>" + b"<a>" * 5000, "cut short"),
        (b"\xff\xfe<\0d", "UTF-16"),
    ],
)
def test_refusals(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        read(data)
    assert words in str(refusal.value)


def test_entities_never_reach_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("secret") / "file"
    secret.write_text(URL)
    head = f'<!DOCTYPE device [<!ENTITY x SYSTEM "file://{secret}">]>\n<device>'
    for text in (
        device(group(urls="<url1>&x;</url1>"), head=head),
        device(group(urls="<url1>&x;</url1>"), head=head.replace("!DOCTYPE", "!doctype")),
    ):
        with pytest.raises(ValueError, match="document type"):
            read(text)


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    for tried in (
        data,
        b"<device>" + data,
        device().encode().replace(b"<certHash>", data),
        b"\x01\0\x02" + data,
    ):
        with contextlib.suppress(ValueError):
            read(tried)


def test_a_name_that_names_no_phone_is_warned_of() -> None:
    cnf = read(device(), "saved page.xml")
    assert cnf.device == "saved page.xml"
    assert "contains no device name" in cnf.warnings[0]


# ---------------------------------------------------------------- signed and encrypted


def field(tag: int, value: bytes) -> bytes:
    return struct.pack(">BH", tag, len(value)) + value


def sign(payload: bytes, name: str = NAME + ".sgn", version: int = 1, extra: bytes = b"") -> bytes:
    """Build a header as documented: signer, signature, file name, time, padded to four bytes with 0x0d."""
    signer = field(3, field(4, b"CN=TFTP,O=x\0") + field(6, b"CN=CA\0") + field(5, b"\x01\x02"))
    rest = (
        signer
        + field(7, field(8, b"\1") + field(9, field(10, b"\0") + field(11, b"\1")) + field(12, b"\x0d" * 128))
        + field(14, name.encode() + b"\0")
        + field(15, b"\0\0\0\0")
        + extra
    )
    length = 10 + len(rest)
    padding = -length % 4
    head = field(1, bytes([version, 0])) + field(2, struct.pack(">H", length + padding))
    return head + rest + b"\x0d" * padding + payload


def test_signed_file() -> None:
    cnf = read(sign(device().encode()), NAME + ".sgn")
    assert_documented(cnf)
    assert cnf.kind == "signed"
    assert cnf.warnings == ()


def test_signed_name_with_plain_content() -> None:
    """Over HTTPS 6971, phones request .sgn and get the unsigned file."""
    cnf = read(device(), NAME + ".sgn")
    assert_documented(cnf)
    assert cnf.kind == "plain"


def test_name_in_the_header() -> None:
    assert "SEP0011215A1AE3" in read(sign(device().encode()), "SEP001122334455.cnf.xml.sgn").warnings[0]
    assert_documented(read(sign(device().encode()), "download.bin"))


@pytest.mark.parametrize(
    "data",
    [
        sign(b"\x8f\x00\xff" * 50, NAME + ".enc.sgn", version=2),
        sign(b"\x8f\x00\xff" * 50, extra=field(16, field(19, bytes(16)))),
        sign(
            device("<capfAuthMode>0</capfAuthMode><certHash>00ff</certHash><encrConfig>true</encrConfig>")
            .replace("<fullConfig>true", "<fullConfig>false")
            .encode()
        ),
    ],
)
def test_encrypted_file_cannot_be_told(data: bytes) -> None:
    cnf = read(data, NAME + ".enc.sgn")
    assert cnf.kind == "encrypted"
    assert cnf.group is None
    assert cnf.device == "SEP0011215A1AE3"


def test_only_a_full_file_without_vpn_group_means_a_phone_without_vpn() -> None:
    stub = device("<encrConfig>true</encrConfig>").replace("<fullConfig>true", "<fullConfig>false")
    assert read(stub).kind == "encrypted"
    full = device("<encrConfig>true</encrConfig>")
    assert (read(full).kind, read(full).group) == ("plain", None)


@pytest.mark.parametrize("cut", [4, 9, 60, 200])
def test_signed_file_cut_in_its_header(cut: int) -> None:
    with pytest.raises(ValueError, match="signed header"):
        read(sign(device().encode())[:cut])


def test_signed_header_with_fields_that_overlap() -> None:
    data = bytearray(sign(device().encode()))
    data[11:13] = b"\xff\xff"
    with pytest.raises(ValueError, match="reaches over"):
        read(bytes(data))


# ---------------------------------------------------------------- seen on the wire


FETCH = Fetch("a.pcap", 42, 1_700_000_000_000_000, "10.0.0.1", "10.0.0.2")


def test_download() -> None:
    cnf = from_download("/" + NAME, device().encode(), FETCH)
    assert_documented(cnf)
    assert (cnf.source, cnf.fetch) == ("a.pcap", FETCH)


def test_damaged_download_names_file_and_frame() -> None:
    with pytest.raises(ValueError, match=f"the download of {NAME} in frame 42: it is damaged") as refusal:
        from_download(NAME, device().encode()[:300], FETCH)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("values", [("0", "1"), ("1", "0"), ("0", "")])
def test_a_host_id_check_that_contradicts_itself_counts_as_on(values: tuple[str, str]) -> None:
    """Neither the first nor the last is used, but the file is still read."""
    twice = "".join(f"<enableHostIDCheck>{value}</enableHostIDCheck>" for value in values)
    cnf = read(device(group().replace("<addresses>", f"{twice}<addresses>")))
    assert cnf.group is not None
    assert cnf.group.host_id_check is None
    assert cnf.group.hashes
    assert any("the check is assumed to be on" in warning for warning in cnf.warnings)


def test_of_two_algorithms_only_sha1_counts() -> None:
    inner = f"<hashAlg>1</hashAlg><hashAlg>0</hashAlg><certHash1>{TAC}</certHash1>"
    cnf = read(device(group(hashes=inner)))
    assert cnf.group is not None
    assert cnf.group.hash_algorithm is None
    assert any("only a SHA-1 counts" in warning for warning in cnf.warnings)


@pytest.mark.parametrize(
    "check", ["<EnableHostIDCheck>0</EnableHostIDCheck>", "<a><enableHostIDCheck>0</enableHostIDCheck></a>"]
)
def test_a_host_id_check_in_another_place_or_case_is_named(check: str) -> None:
    cnf = read(device(group().replace("<addresses>", f"{check}<addresses>")))
    assert any("is not vpnGroup/enableHostIDCheck, and is ignored" in warning for warning in cnf.warnings)
