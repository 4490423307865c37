"""Test the search of folders and `certhash cnf`: nothing is skipped silently, nothing hangs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from tests.conftest import certhash

from certhash.cnf import read

TAC = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="


def phone(cert_hash: str = TAC, url: str = "https://10.201.160.201/SSLVPNphone") -> str:
    return (
        f"<device><vpnGroup><addresses><url1>{url}</url1></addresses>"
        f"<credentials><certHash1>{cert_hash}</certHash1></credentials></vpnGroup></device>"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two phones in two levels of folders, and other files that such folders contain."""
    (tmp_path / "its" / "more").mkdir(parents=True)
    (tmp_path / "its" / "SEP000000000001.cnf.xml").write_text(phone())
    (tmp_path / "its" / "more" / "vrf1_SEP000000000002.cnf.xml").write_text(phone())
    (tmp_path / "its" / "dialplan.xml").write_text("<DIALTEMPLATE/>")
    (tmp_path / "its" / "SEP000000000001.tlv").write_bytes(b"\1\0\2\0\0")
    (tmp_path / "its" / "notes.txt").write_text("nothing of interest")
    return tmp_path


def test_folder_is_searched(folder: Path) -> None:
    sources = read([str(folder)])
    assert [cnf.device for cnf in sources.cnf_files] == ["SEP000000000001", "SEP000000000002"]
    assert sources.problems == ()


def test_loops_pipes_and_broken_links(folder: Path) -> None:
    (folder / "its" / "loop").symlink_to(folder)
    (folder / "SEP000000000003.cnf.xml").symlink_to("nowhere")
    (folder / "SEP000000000004.cnf.xml").symlink_to("SEP000000000004.cnf.xml")
    (folder / "other").symlink_to("nowhere")
    os.mkfifo(folder / "SEP000000000005.cnf.xml")
    os.mkfifo(folder / "pipe")
    sources = read([str(folder)])
    assert [cnf.device for cnf in sources.cnf_files] == ["SEP000000000001", "SEP000000000002"]
    assert sorted((os.path.basename(p.path)[:15], p.message[:12]) for p in sources.problems) == [  # noqa: PTH119
        ("SEP000000000003", "there is no "),
        ("SEP000000000004", "it cannot be"),
        ("SEP000000000005", "it is a pipe"),
    ]


def test_the_same_file_twice_is_read_once(folder: Path) -> None:
    (folder / "SEP000000000001.cnf.xml").symlink_to("its/SEP000000000001.cnf.xml")
    assert len(read([str(folder)]).cnf_files) == 2


def test_what_was_named_must_be_usable(folder: Path) -> None:
    named = [
        str(folder / "its" / name) for name in ("dialplan.xml", "notes.txt", "nowhere", "SEP000000000001.tlv")
    ]
    os.mkfifo(folder / "pipe")
    named.append(str(folder / "pipe"))
    sources = read(named)
    assert [problem.path for problem in sources.problems] == named


def test_unusable_file_given_by_name_is_a_problem_even_inside_a_given_folder(folder: Path) -> None:
    """The order does not matter; a copy that is given is read, and not counted as skipped."""
    notes, copy = folder / "its" / "notes.txt", folder / "its" / "SEP000000000009.cnf.xml.bak"
    copy.write_text(phone())
    for paths in ([folder, notes, copy], [copy, notes, folder]):
        sources = read(map(str, paths))
        assert [problem.path for problem in sources.problems] == [str(notes)]
        assert {cnf.device[-1] for cnf in sources.cnf_files} == {"1", "2", "9"}
        assert sources.copies == ()


def test_what_claims_to_be_a_cnf_file_must_be_readable(folder: Path) -> None:
    (folder / "SEP000000000003.cnf.xml").write_text("gone")
    (folder / "SEP000000000004.cnf.xml").write_bytes(b"")
    (folder / "SEP000000000005.cnf.xml").write_text(phone("7D9D"))
    with (folder / "SEP000000000006.cnf.xml").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    (folder / "SEP000000000007.cnf.xml").mkdir()
    sources = read([str(folder)])
    assert [(os.path.basename(p.path)[:15], "\n" in p.message) for p in sources.problems] == [  # noqa: PTH119
        (f"SEP00000000000{n}", False) for n in (3, 4, 5, 6)
    ]
    assert len(sources.cnf_files) == 3


def test_copies_are_passed_over_in_folders_and_read_where_they_are_named(folder: Path) -> None:
    """The copy has an old hash, which no phone expects, because no phone fetches the copy."""
    old = phone("1eD9l3VEI9DGWQGKlNBGE1bRhUg=")
    names = ("SEP000000000001.cnf.xml.bak", "BAK_SEP000000000001.cnf.xml", "SEP000000000001.cnf (1).xml")
    for name in names:
        (folder / "its" / name).write_text(old)
    sources = read([str(folder)])
    assert [cnf.warnings for cnf in sources.cnf_files] == [(), ()]
    assert sources.problems == ()
    assert sorted(os.path.basename(path) for path in sources.copies) == sorted(names)  # noqa: PTH119
    named = read([str(folder / "its" / name) for name in names])
    assert {cnf.device for cnf in named.cnf_files} == {"SEP000000000001"}
    assert named.copies == ()


def test_a_folder_of_nothing_but_copies_says_so(tmp_path: Path) -> None:
    (tmp_path / "SEP000000000001.cnf.xml.bak").write_text(phone())
    (problem,) = read([str(tmp_path)]).problems
    assert "skipped 1 copy of cnf files (SEP000000000001.cnf.xml.bak)" in problem.message
    done = certhash("cnf", str(tmp_path))
    assert done.status == 2
    (tmp_path / "SEP000000000002.cnf.xml").write_text(phone())
    done = certhash("cnf", str(tmp_path))
    assert (done.status, done.err.count("skipped 1 copy")) == (0, 1)


def test_unreadable_folder_is_a_problem() -> None:
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        Path(folder, "its").mkdir(mode=0)
        if user == 0:
            os.seteuid(65534)  # root may read everything, so become an unprivileged user temporarily
        try:
            problems = read([folder]).problems
        finally:
            os.seteuid(user)
    assert [(p.path, p.message) for p in problems] == [
        (f"{folder}/its", "this user has no permission to read it")
    ]


def test_two_files_for_one_device(folder: Path) -> None:
    (folder / "SEP000000000001.cnf.xml").write_text(phone("1eD9l3VEI9DGWQGKlNBGE1bRhUg="))
    (folder / "sep000000000002.cnf.xml").write_text(phone())
    warned = {cnf.source for cnf in read([str(folder)]).cnf_files if cnf.warnings}
    assert warned == {str(folder / "SEP000000000001.cnf.xml"), str(folder / "its/SEP000000000001.cnf.xml")}


def test_command(folder: Path) -> None:
    done = certhash("cnf", str(folder))
    assert done.status == 0
    text = done.out
    assert text.count(f"{TAC}  SHA-1 7D9DB14073017168FF7D2A0DB392243DB0363EDF") == 2
    assert text.count("https://10.201.160.201/SSLVPNphone") == 2
    assert done.err == ""


def test_command_says_what_is_wrong(folder: Path) -> None:
    (folder / "SEP000000000003.cnf.xml").write_text(phone("a\x1b]0;b"))
    (folder / "SEP000000000004.cnf.xml").write_text("<device><fullConfig>false</fullConfig></device>")
    (folder / "XMLDefault7960.cnf.xml").write_text("<device></device>")
    done = certhash("cnf", str(folder))
    assert done.status == 2
    assert "encrypted: the expected hashes cannot be read" in done.out
    assert "XMLDefault7960" in done.out
    assert "no vpnGroup" in done.out
    assert "\x1b" not in done.out + done.err
    (line,) = done.err.splitlines()
    assert "SEP000000000003.cnf.xml" in line


def test_command_json(folder: Path) -> None:
    (folder / "SEP000000000003.cnf.xml").write_text(phone(""))
    result = certhash("cnf", "--json", str(folder)).json
    assert [len(result[key]) for key in ("cnf_files", "known", "problems")] == [3, 0, 1]
    by_device = {cnf["device"]: cnf["group"]["hashes"][0] for cnf in result["cnf_files"]}
    assert by_device["SEP000000000001"]["digest"] == TAC


def test_command_json_of_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"SEP000000000001-\xff.cnf.xml")
    path.write_text(phone())
    done = certhash("cnf", "--json", os.fspath(path))
    assert done.status == 0
    (cnf,) = done.json["cnf_files"]
    assert cnf["source"].endswith("/SEP000000000001-\\xff.cnf.xml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_a_phones_config_under_another_name(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "phone.txt").write_bytes(phone().encode(encoding))
    (cnf,) = read([str(tmp_path)]).cnf_files
    assert cnf.device == "phone.txt"


def test_command_with_standard_input() -> None:
    done = certhash("cnf", "-", stdin=phone().encode())
    assert done.status == 0
    assert TAC in done.out
    assert "contains no device name" in done.out


def test_a_folder_with_nothing_of_the_kind_is_a_problem(tmp_path: Path) -> None:
    """An unmounted share must not turn the result of an audit into "nothing is wrong"."""
    done = certhash("cnf", str(tmp_path))
    assert done.status == 2
    assert "contains no cnf file, configuration or certificate" in done.err
    (tmp_path / "notes.txt").write_text("nothing of interest")
    (problem,) = read([str(tmp_path)]).problems
    assert "contains no cnf file, configuration or certificate" in problem.message
    assert read([]).problems == ()


def test_the_configuration_of_ocserv_is_refused_by_name(tmp_path: Path) -> None:
    """It names the file of the certificate, and no address that a URL could name."""
    text = 'auth = "pam"\ntcp-port = 443\nudp-port = 443\nserver-cert = /etc/ocserv/cert.pem\n'
    (tmp_path / "ocserv.conf").write_text(text)
    (problem,) = read([str(tmp_path / "ocserv.conf")]).problems
    assert problem.message == (
        "it is ocserv's configuration, which contains no certificate: give /etc/ocserv/cert.pem itself"
    )
