"""The launcher ``dr``, run for real; its python is a script, as making an environment takes too long."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Answers version questions, makes environments and "runs" them; each call is a line in calls.
_PYTHON = """\
#!/bin/sh
printf '%s|' "$@" >>"$CALLS"; printf '\\n' >>"$CALLS"
case "$1 $2" in
"-c import sys; sys.exit(sys.version_info < (3, 11))") exit "${OLD_PYTHON:-0}" ;;
"-c import ensurepip"*) exit "${NO_VENV:-0}" ;;
"-c "*) echo python3.11-venv ;;
"-m venv") sleep "${SLOW:-0}"; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
"-m pip") exit "${NO_INDEX:-0}" ;;
"-m doors.main") shift 2; echo "cwd=$PWD caller=$DR_CALLER_CWD"; printf '<%s>' "$@"; exit "${TASK:-0}" ;;
esac
"""


class Machine:
    """A repository with nothing but the launcher, and a PATH whose python is ours."""

    def __init__(self, root: Path) -> None:
        self.repository = root / "repo with space"
        self.repository.mkdir()
        shutil.copy(REPOSITORY / "dr", self.repository / "dr")
        (self.repository / "requirements.txt").write_text("a==1\n")
        self.bin = root / "bin"
        self.bin.mkdir()
        for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
            self.program(name, _PYTHON)
        self.calls_file = root / "calls"
        self.env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "CALLS": str(self.calls_file)}

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def dr(self, *args: str, program: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        argv = [str(program or self.repository / "dr"), *args]
        cwd = self.bin
        return subprocess.run(
            argv, capture_output=True, text=True, cwd=cwd, env={**self.env, **env}, check=False
        )

    def calls(self, of: str) -> int:
        return sum(line.startswith(of) for line in self.calls_file.read_text().splitlines())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_arguments_arrive_as_they_were_typed_and_so_does_the_exit_code(machine: Machine) -> None:
    done = machine.dr("lab.ssh", "pg1", "--", "echo  'a b' *", "", TASK="3")
    assert done.stdout.splitlines()[1] == "<lab.ssh><pg1><--><echo  'a b' *><>"
    assert done.stdout.splitlines()[0] == f"cwd={machine.repository} caller={machine.bin}"
    assert done.returncode == 3


def test_the_second_call_starts_nothing_but_the_task(machine: Machine) -> None:
    machine.dr()
    machine.calls_file.unlink()
    done = machine.dr("x")
    assert machine.calls_file.read_text() == "-m|doors.main|x|\n"
    assert done.stderr == ""


def test_it_works_through_a_symbolic_link(machine: Machine, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(machine.repository / "dr")
    assert f"cwd={machine.repository} " in machine.dr(program=link).stdout


def test_changed_requirements_are_installed_into_the_same_environment(machine: Machine) -> None:
    machine.dr()
    (machine.repository / "requirements.txt").write_text("a==2\n")
    machine.dr()
    assert machine.calls("-m|venv|") == 1
    assert machine.calls("-m|pip|") == 2


def test_a_half_made_environment_is_made_anew(machine: Machine) -> None:
    machine.dr(NO_INDEX="1")
    rubbish = machine.repository / ".venv" / "rubbish"
    rubbish.touch()
    assert machine.dr().returncode == 0
    assert not rubbish.exists()
    assert machine.calls("-m|venv|") == 2


def test_an_environment_whose_python_is_gone_is_made_anew(machine: Machine) -> None:
    machine.dr()
    (machine.repository / ".venv" / "bin" / "python").unlink()
    assert machine.dr().returncode == 0
    assert machine.calls("-m|venv|") == 2


def test_two_at_once_make_one_environment(machine: Machine) -> None:
    argv = [str(machine.repository / "dr"), "x"]
    env = {**machine.env, "SLOW": "0.3"}
    both = [
        subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(20) for process in both] == [0, 0]
    assert machine.calls("-m|venv|") == 1
    assert machine.calls("-m|pip|") == 1
    assert machine.calls("-m|doors.main|") == 2


def test_an_old_python_is_one_sentence_and_a_hint(machine: Machine) -> None:
    done = machine.dr(OLD_PYTHON="1")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Python 3.11 or newer is needed and was not found.",
        "HINT: sudo apt-get install -y python3 python3-venv",
    ]


def test_a_missing_venv_module_without_rights_names_the_exact_command(machine: Machine) -> None:
    machine.program("id", "#!/bin/sh\necho 1000\n")
    machine.program("sudo", "#!/bin/sh\nexit 1\n")
    done = machine.dr(NO_VENV="1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "HINT: sudo apt-get install -y python3.11-venv"
    assert machine.calls("-m|venv|") == 0


def test_a_missing_venv_module_is_installed_where_sudo_allows_it(machine: Machine) -> None:
    machine.program("id", "#!/bin/sh\necho 1000\n")
    machine.program("sudo", '#!/bin/sh\necho "sudo $*" >>"$CALLS"\n')
    assert machine.dr(NO_VENV="1").returncode == 0
    assert machine.calls("sudo -n apt-get -q -y --no-install-recommends install python3.11-venv") == 1


def test_an_unreachable_index_is_bad_configuration(machine: Machine) -> None:
    done = machine.dr(NO_INDEX="1")
    assert done.returncode == 2
    assert "HINT: Is a package index reachable?" in done.stderr


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_made(machine: Machine) -> None:
    if os.geteuid() == 0:  # who may write everywhere: the launcher is told otherwise
        text = (machine.repository / "dr").read_text()
        assert "[ -w . ]" in text
        (machine.repository / "dr").write_text(text.replace("[ -w . ]", "false"))
    machine.repository.chmod(0o555)
    try:
        done = machine.dr()
    finally:
        machine.repository.chmod(0o755)
    assert done.returncode == 2
    sentence, hint = done.stderr.splitlines()
    assert sentence.startswith(f"The folder {machine.repository} cannot be written by ")
    assert hint == "HINT: Clone the repository anew, as the user who runs it."
    assert not (machine.repository / ".venv").exists()
