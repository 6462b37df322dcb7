"""The keys of an estate in escrow: sealed into one file, held against what the backups need, laid out again."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task
from pydantic import SecretStr

from doors.support import INVENTORY_HELP, LAB_HELP, caller_path, door
from inventories.errors import BadInput, VerificationFailed

MIN_LENGTH = 12
VARIABLES = ("DR_ESCROW_PASSPHRASE", "DR_ESCROW_PASSPHRASE_2")
PASSPHRASES = {
    "passphrase_file": "file with the passphrase, readable by you alone (default: $DR_ESCROW_PASSPHRASE, else asked)",
    "second_file": "the same for the second person's (default: $DR_ESCROW_PASSPHRASE_2, else asked)",
}


@task(
    help={
        "out": "path of the new bundle",
        "check": "hold an existing bundle against secrets, keys and backups instead",
        "two_persons": "seal it with two passphrases, both of which are needed to open it",
        **PASSPHRASES,
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def escrow(
    c: Context, out: str = "", check: str = "", two_persons: bool = False, passphrase_file: str = "",
    second_file: str = "", inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Seal keys, secrets and instructions into one file.

    Whoever has it and its passphrase can restore every backup, with this tool or with openssl, tar and pgbackrest.
    Keep it where the estate's machines do not reach, and make a new one whenever a secret or a host changes.
    """
    if bool(out) == bool(check):
        raise BadInput("keys.escrow needs either --out FILE or --check FILE", "--out makes a bundle, --check reads one")
    if check:
        _check(caller_path(check), passphrase_file, second_file, inventory)
        return
    from inventories.inventory import read_inventory
    from runbooks.escrow import bundle as bundles
    from runbooks.escrow import sealed

    path = caller_path(out)
    bundle = bundles.collect(read_inventory(inventory or None))
    passphrases = [_passphrase(0, passphrase_file, new=True)]
    if two_persons:
        passphrases.append(_passphrase(1, second_file, new=True))
    bundles.write(bundle, path, passphrases)
    ids = ", ".join(f"{name} {key}" for name, key in bundle.key_ids.items())
    print(f"{path} holds {len(bundle.files)} files; key ids: {ids}")
    again = " (twice: the second person's passphrase opens what the first one's gave)" if two_persons else ""
    print(f"Without this tool: {sealed.OPEN} -in {path.name} | tar xz{again}")


@task(positional=["file"], help={"file": "the bundle", "to": "folder for secrets, keys and inventory", **PASSPHRASES})
@door
def restore(c: Context, file: str, to: str, passphrase_file: str = "", second_file: str = "") -> None:
    """Lay secrets, keys and inventory of a bundle out again.

    Nothing that is there is replaced. Then let the inventory's secrets_file and pki_dir point there.
    """
    from runbooks.escrow import bundle as bundles

    path, folder = caller_path(file), caller_path(to).expanduser()
    bundle = bundles.read(path, _opening(path, passphrase_file, second_file))
    laid = bundles.lay_out(bundle, folder)
    print(f"{len(laid)} files are in {folder}; {bundles.PAGE} says how to go on by hand.")
    print(f"In the inventory: secrets_file = {folder / bundles.SECRETS}, pki_dir = {folder / 'pki'}")


def _check(path: Path, passphrase_file: str, second_file: str, inventory: str) -> None:
    from inventories.inventory import read_inventory
    from runbooks import hosts
    from runbooks.escrow import bundle as bundles
    from runbooks.escrow.check import look

    bundle = bundles.read(path, _opening(path, passphrase_file, second_file))
    print(f"{path} opens and is whole: {len(bundle.files)} files.")
    changed = bundles.differences(bundle, bundles.collect(read_inventory(inventory or None)))
    checked = look(hosts.load(inventory or None), bundle)
    print(f"The key {bundle.key_ids['pgbackrest_cipher']} opens the repository, {checked.backups} backups.")
    if checked.unknown:
        print(f"{len(checked.unknown)} of them do not record their key's id.")
    if checked.snapshots is not None:
        print(f"The key made of it opens {checked.snapshots} snapshots of SQLite databases.")
    if checked.missing:
        told = ", ".join(f"{label} needs {key}" for label, key in checked.missing.items())
        raise VerificationFailed(f"the bundle lacks keys: {told}", "keep the older bundle that has them")
    if checked.spoilt:
        told = f"{', '.join(checked.spoilt[:5])}{' and more' if len(checked.spoilt) > 5 else ''}"
        raise VerificationFailed(f"no key opens {told}", "./dr backup.list --store sqlite names those that are sound")
    if changed:
        raise VerificationFailed(
            f"the bundle is older than {', '.join(changed[:5])}{' and more' if len(changed) > 5 else ''}",
            "./dr keys.escrow --out FILE makes a new one; keep the old one as long as its backups",
        )
    print("Secrets, keys and inventory are those of today.")


def _opening(path: Path, passphrase_file: str, second_file: str) -> list[SecretStr]:
    """One passphrase, or both where the bundle needs both."""
    from runbooks.escrow import bundle as bundles

    if not path.is_file():
        raise BadInput(f"there is no file {path}", "give the path of an escrow bundle")
    first = _passphrase(0, passphrase_file)
    return [first, _passphrase(1, second_file)] if bundles.needs_two(path, first) else [first]


def _passphrase(nr: int, file: str, new: bool = False) -> SecretStr:
    """From the file, the environment or the terminal; never from the command line, where every user sees it."""
    word = _from_file(caller_path(file)) if file else os.environ.get(VARIABLES[nr], "")
    if not word and sys.stdin.isatty():
        whose = ("passphrase", "second person's passphrase")[nr]
        word = getpass.getpass(f"{whose}: ")
        if new and getpass.getpass(f"{whose}, again: ") != word:
            raise BadInput("the two differ", "type the same twice")
    if not word:
        raise BadInput(f"no passphrase was given, and there is no terminal to ask on ({VARIABLES[nr]} is not set)")
    if new and len(word) < MIN_LENGTH:
        raise BadInput(f"the passphrase is shorter than {MIN_LENGTH} characters", "take some words that nobody guesses")
    return SecretStr(word)


def _from_file(path: Path) -> str:
    if not path.is_file():
        raise BadInput(f"there is no file {path}", "write the passphrase into it, readable by you alone")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BadInput(f"{path} can be read by others", f"chmod 600 {path}")
    return path.read_text().strip("\r\n")
