"""Which Debian mirror a machine's apt configuration names."""

from pathlib import Path

import pytest

from inventories.errors import BadInput
from lab import mirror

DEB822 = """\
Types: deb deb-src
# a comment between fields
URIs: https://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://sec.example/debian-security
Suites: bookworm-security
Components:
 main
 contrib

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def choose(*texts: str) -> mirror.Mirror:
    return mirror.choose([source for text in texts for source in mirror.parse_deb822(text)])


def test_the_deb822_style_names_main_and_security() -> None:
    assert choose(DEB822) == mirror.Mirror(
        "https://mirror.example/debian", "http://sec.example/debian-security"
    )


def test_the_one_line_style_is_read_with_options_and_comments() -> None:
    text = """\
    # deb http://no.example/debian trixie main
    deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian trixie main non-free  # ours
    deb-src http://m.example/debian trixie main
    deb http://m.example/security trixie-security main
    """
    found = mirror.choose(mirror.parse_one_line(text))
    assert found == mirror.Mirror("http://m.example/debian", "http://m.example/security")


def test_the_old_name_of_the_security_suite_is_understood() -> None:
    lines = "deb http://m/debian stable main\ndeb http://m/security bullseye/updates main\n"
    assert mirror.choose(mirror.parse_one_line(lines)).security == "http://m/security"


def test_a_third_party_that_calls_its_suite_stable_is_not_debian() -> None:
    ours = "deb http://m/debian stable main\ndeb http://m/debian stable-updates main"
    found = mirror.choose(mirror.parse_one_line(f"deb http://grafana.example stable main\n{ours}"))
    assert found.main == "http://m/debian"


def test_a_third_party_component_or_suite_is_never_chosen() -> None:
    text = "deb http://docker.example/debian bookworm stable\ndeb http://pg.example/pub bookworm-pgdg main"
    with pytest.raises(BadInput, match="names no Debian mirror"):
        mirror.choose(mirror.parse_one_line(text))


def test_a_mirror_list_is_followed_to_its_first_address(tmp_path: Path) -> None:
    listed = tmp_path / "debian.list"
    listed.write_text("# cloud\nhttps://cloud.example/debian/\nhttps://other.example/debian\n")
    assert mirror.resolve(f"mirror+file:{listed}") == "https://cloud.example/debian"
    listed.write_text("\n")
    with pytest.raises(BadInput, match="is empty"):
        mirror.resolve(f"mirror+file:{listed}")
    with pytest.raises(BadInput, match="cannot be read"):
        mirror.resolve(f"mirror+file:{tmp_path}/none")


def test_sources_come_from_both_places_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://a/debian trixie main\n")
    (tmp_path / "sources.list.d" / "b.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "c.list.disabled").write_text("deb http://c/debian trixie main\n")
    uris = [source.uri for source in mirror.read_sources(tmp_path)]
    assert uris == ["http://a/debian", "https://mirror.example/debian", "http://sec.example/debian-security"]


def test_a_mirror_without_security_gives_two_lines() -> None:
    assert mirror.Mirror("http://m").lines() == (
        "deb http://m trixie main",
        "deb http://m trixie-updates main",
    )
