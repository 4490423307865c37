"""Test what the name of a file says: whether a phone requests it, and whose it is."""

from __future__ import annotations

import pytest

from certhash.cnf.names import device_of, is_cnf_name, is_copy


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SEP0011215A1AE3.cnf.xml", "SEP0011215A1AE3"),
        ("sep0011215a1ae3.cnf.xml.sgn", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3.cnf.xml.enc.sgn", "SEP0011215A1AE3"),
        ("vrf1_SEP0011215A1AE3.cnf.xml", "SEP0011215A1AE3"),
        ("flash:/its/vrf2_SEP0011215A1AE3.cnf.xml", "SEP0011215A1AE3"),
        ("C:\\tftp\\SEP0011215A1AE3.cnf.xml", "SEP0011215A1AE3"),
        ("XMLDefault7960.cnf.xml", "XMLDefault7960"),
        ("vrf1_XMLDefault.cnf.xml", "XMLDefault"),
        ("ATA001122334455.cnf.xml", "ATA001122334455"),
        ("SEP0011215A1AE.cnf.xml", "SEP0011215A1AE"),
        ("notes.xml", None),
        ("ITLSEP0011215A1AE3.tlv", None),
    ],
)
def test_device_is_in_the_name_of_the_file(name: str, expected: str | None) -> None:
    assert device_of(name) == expected
    assert is_cnf_name(name) == (expected is not None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SEP0011215A1AE3.cnf.xml.bak", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3.cnf.xml_", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3.cnf.xml~", "SEP0011215A1AE3"),
        ("BAK_SEP0011215A1AE3.cnf.xml", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3-old.cnf.xml", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3.cnf(1).xml", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3.cnf (1).xml", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3 (1).cnf.xml.sgn", "SEP0011215A1AE3"),
        ("Copy of SEP0011215A1AE3.cnf.xml", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3.xml", "SEP0011215A1AE3"),
        ("SEP0011215A1AE3 SEP0011215A1AE4.cnf.xml", None),
        ("XMLDefault - Copy.cnf.xml", None),
        ("XMLDefault.cnf.xml.old", None),
    ],
)
def test_a_copy_is_told_by_its_name(name: str, expected: str | None) -> None:
    assert not is_cnf_name(name)
    assert is_copy(name)
    assert device_of(name) == expected


@pytest.mark.parametrize(
    "name", ["notes.xml", "ITLSEP0011215A1AE3.tlv", "SEP0011215A1AE3.log", "x.cnf", "a.bak"]
)
def test_other_files_are_no_copies(name: str) -> None:
    assert not is_copy(name)
