"""The escrow bundle: whole or refused, openable with openssl alone, laid out without replacing anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from inventories import secrets
from inventories.errors import BadInput, ExitCode, Refused
from inventories.inventory import Inventory, read_inventory
from runbooks.escrow import bundle as escrow
from runbooks.escrow import sealed
from tests.drills.doors import dr

ONE, TWO = SecretStr("a long passphrase"), SecretStr("another passphrase")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deriving a key is slow on purpose; one test below keeps the real number."""
    monkeypatch.setattr(sealed, "ITERATIONS", 10)


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """One host, secrets and a CA in a folder of their own."""
    home = tmp_path / "home"
    secrets.make(home / "secrets.yaml")
    (home / "pki").mkdir()
    for name in ("ca.crt", "ca.key", "pg1.key"):
        (home / "pki" / name).write_text(f"{name} of the estate")
    shared = {"secrets_file": str(home / "secrets.yaml"), "pki_dir": str(home / "pki"), "estate": "e"}
    path = tmp_path / "mine.py"
    path.write_text(f"_SHARED = {shared!r}\npg_primary = ([('pg1', {{'ssh_hostname': '192.0.2.1'}})], _SHARED)\n")
    return read_inventory(str(path))


def test_a_bundle_holds_what_a_blank_machine_needs(inventory: Inventory) -> None:
    bundle = escrow.collect(inventory)
    assert set(bundle.files) == {
        "secrets.yaml", "key-ids.json", "README.txt", "MANIFEST.sha256", "inventory/hosts.json", "inventory/mine.py",
        "pki/ca.crt", "pki/ca.key", "pki/pg1.key",
    }  # fmt: skip
    assert set(bundle.secrets) == set(secrets.NAMES)
    cipher = bundle.secrets["pgbackrest_cipher"]
    assert bundle.key_ids["pgbackrest_cipher"] == secrets.key_id(cipher)
    assert set(bundle.key_ids) == {"pgbackrest_cipher", "restic", "td_cipher", "sqlite"}
    assert bundle.key_ids["sqlite"] == secrets.key_id(secrets.sqlite_key(cipher))
    assert cipher.get_secret_value() not in bundle.files["README.txt"].decode()
    assert sealed.OPEN in bundle.files["README.txt"].decode()


@pytest.mark.parametrize("passphrases", [[ONE], [ONE, TWO]])
def test_it_comes_back_as_it_went_in(inventory: Inventory, tmp_path: Path, passphrases: list[SecretStr]) -> None:
    bundle, path = escrow.collect(inventory), tmp_path / "bundle"
    escrow.write(bundle, path, passphrases)
    assert path.stat().st_mode & 0o777 == 0o600
    assert escrow.needs_two(path, ONE) == (len(passphrases) == 2)
    assert escrow.read(path, passphrases).files == bundle.files
    assert list(tmp_path.glob(".bundle*")) == []


def test_no_secret_is_readable_in_it(inventory: Inventory, tmp_path: Path) -> None:
    bundle, path = escrow.collect(inventory), tmp_path / "bundle"
    escrow.write(bundle, path, [ONE])
    sealed_bytes = path.read_bytes()
    assert all(word.get_secret_value().encode() not in sealed_bytes for word in bundle.secrets.values())


def test_openssl_and_tar_open_it_without_this_tool(
    inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    path = tmp_path / "bundle"
    escrow.write(escrow.collect(inventory), path, [ONE])
    done = subprocess.run(
        f"{sealed.OPEN} -in {path} -pass stdin | tar xz && cd {escrow.TOP} && sha256sum -c --quiet {escrow.MANIFEST}",
        shell=True, cwd=tmp_path, input=ONE.get_secret_value(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "pgbackrest_cipher" in yaml.safe_load((tmp_path / escrow.TOP / "secrets.yaml").read_text())


def test_two_persons_are_both_needed(inventory: Inventory, tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    escrow.write(escrow.collect(inventory), path, [ONE, TWO])
    with pytest.raises(BadInput, match="second passphrase"):
        escrow.read(path, [ONE])
    for wrong in ([TWO], [TWO, ONE], [ONE, ONE]):
        with pytest.raises(BadInput):
            escrow.read(path, wrong)


@pytest.mark.parametrize("at", [0, 9, 40, -20, -1])
def test_a_damaged_bundle_is_refused(inventory: Inventory, tmp_path: Path, at: int) -> None:
    path = tmp_path / "bundle"
    escrow.write(escrow.collect(inventory), path, [ONE])
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BadInput):
        escrow.read(path, [ONE])


def test_what_is_there_is_never_replaced(inventory: Inventory, tmp_path: Path) -> None:
    bundle, path, folder = escrow.collect(inventory), tmp_path / "bundle", tmp_path / "new"
    escrow.write(bundle, path, [ONE])
    with pytest.raises(BadInput, match="exists already"):
        escrow.write(bundle, path, [ONE])
    escrow.lay_out(bundle, folder)
    assert escrow.lay_out(bundle, folder)  # the same once more is no mistake
    assert (folder / "secrets.yaml").stat().st_mode & 0o777 == 0o600
    (folder / "pki/ca.key").write_text("another")
    with pytest.raises(Refused, match=r"ca\.key differs"):
        escrow.lay_out(bundle, folder)
    assert (folder / "pki/ca.key").read_text() == "another"


def test_a_changed_secret_and_a_new_key_are_named_without_their_values(inventory: Inventory) -> None:
    before = escrow.collect(inventory)
    assert escrow.differences(before, escrow.collect(inventory)) == ()
    file = Path(str(inventory.data["secrets_file"]))
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "writer": "changed-since"}))
    (Path(str(inventory.data["pki_dir"])) / "pg2.key").write_text("new")
    assert escrow.differences(before, escrow.collect(inventory)) == ("secret writer", "pki/pg2.key")


def test_an_estate_without_its_ca_has_no_bundle(inventory: Inventory) -> None:
    (Path(str(inventory.data["pki_dir"])) / "ca.key").unlink()
    with pytest.raises(BadInput, match="no CA"):
        escrow.collect(inventory)


def told(*words: str, **environment: str) -> tuple[int, str]:
    ended = dr(*words, env={"DR_ESCROW_PASSPHRASE": "", "DR_ESCROW_PASSPHRASE_2": "", **environment})
    assert "Traceback" not in ended.err
    assert ended.hint
    return ended.code, ended.told


def test_bad_input_ends_with_a_sentence(inventory: Inventory, tmp_path: Path) -> None:
    mine, out, word = str(inventory.path), str(tmp_path / "b"), tmp_path / "word"
    word.write_text("a long passphrase\n")
    word.chmod(0o644)
    bad = int(ExitCode.BAD_INPUT)
    assert told("keys.escrow", "--inventory", mine) == (bad, "keys.escrow needs either --out FILE or --check FILE")
    assert "no terminal" in told("keys.escrow", "--out", out, "--inventory", mine)[1]
    assert "shorter than 12" in told("keys.escrow", "--out", out, "--inventory", mine, DR_ESCROW_PASSPHRASE="short")[1]
    assert "by others" in told("keys.escrow", "--out", out, "--inventory", mine, "--passphrase-file", str(word))[1]
    assert told("keys.restore", out, "--to", str(tmp_path / "x")) == (bad, f"there is no file {out}")
    word.chmod(0o600)
    done = dr("keys.escrow", "--out", out, "--inventory", mine, "--passphrase-file", str(word))
    assert done.code == 0, done.err
    assert "passphrase does not open" in told("keys.restore", out, "--to", "x", DR_ESCROW_PASSPHRASE="not it at all")[1]
    laid = dr("keys.restore", out, "--to", str(tmp_path / "x"), "--passphrase-file", str(word))
    assert laid.code == 0, laid.err
    assert (tmp_path / "x/secrets.yaml").read_bytes() == Path(str(inventory.data["secrets_file"])).read_bytes()
