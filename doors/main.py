"""The program behind ``./dr``: invoke, with our exit codes and a hint where it would print a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from doors.misspelt import HINT, in_words, without_value
from doors.rootless import go_to_the_lab
from inventories.errors import DrError, ExitCode


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Invoke ends a misspelt task with 1 and a number that is none with a traceback; both are bad input."""
    try:
        yield
    except (ParseError, ValueError) as wrong:
        import doors

        raise Exit(in_words(str(wrong), sys.argv[1:], doors.ns.task_names), code=ExitCode.BAD_INPUT) from wrong


class DrProgram(Program):
    """Invoke for this repository: no task means the list, ``help TASK`` means ``--help TASK``."""

    def parse_core(self, argv: list[str] | None) -> None:
        with _usage_errors():
            super().parse_core(argv)
        # Invoke switches the bytecode cache off; without it each call compiles our modules anew.
        sys.dont_write_bytecode = False

    def parse_tasks(self) -> None:
        with _usage_errors():
            super().parse_tasks()
        if option := without_value(sys.argv[1:]):
            raise Exit(f"{option} was given an empty value.\nHINT: {HINT}", code=ExitCode.BAD_INPUT)

    def parse_cleanup(self) -> None:
        with _usage_errors():
            super().parse_cleanup()

    def load_collection(self) -> None:
        """Import ``tasks`` as any module is.

        Invoke's loader would put the folder itself on the module search path, where doors/lab.py hides lab/.
        """
        import doors

        self.config.set_project_location(str(Path(doors.__file__).parent.parent))
        self.config.load_project()
        self.collection = doors.ns

    def _make_pairs(self, coll: Collection, ancestors: list[str] | None = None) -> list[tuple[str, str | None]]:
        """Names and what they do, as they are typed: a collection's default task by the collection's name alone."""
        named = super()._make_pairs(coll, ancestors)
        return [(name.partition("(")[2].rstrip(")") or name, says) for name, says in named]

    def execute(self) -> None:
        try:
            go_to_the_lab(self.tasks, sys.argv[1:])
            super().execute()
        except DrError as error:
            raise Exit(error.render(), code=int(error.exit_code)) from error
        except BrokenPipeError:  # `./dr ... | head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=ExitCode.PASSED) from None
        except KeyboardInterrupt:  # invoke would end with 1, which means failed
            raise Exit("Interrupted.", code=ExitCode.INTERRUPTED) from None

    def no_tasks_given(self) -> None:
        self.list_tasks()
        raise Exit


def arguments(argv: list[str]) -> list[str]:
    """Invoke's argument vector for what was typed after ``./dr``."""
    if argv[:1] == ["help"]:
        argv = ["--help", *argv[1:]] if argv[1:] else ["--list"]
    if argv[:1] in (["rejoin"], ["tdengine-rejoin"]) and argv[1:] and _is_value(argv[1]):
        argv = [argv[0], "--host", *argv[1:]]  # invoke knows no positional argument that may be left out
    return ["dr", *argv]


def _is_value(word: str) -> bool:
    """Neither an option nor the next task."""
    import doors

    return not word.startswith("-") and word not in doors.ns.task_names


def main() -> None:
    """Run what was typed; never returns."""
    if os.environ.get("COLUMNS", "").strip("0") == "":  # of a terminal that does not know; tables would be empty
        os.environ.pop("COLUMNS", None)
    DrProgram(name="dr", binary="./dr", binary_names=["dr", "./dr"]).run(arguments(sys.argv[1:]))


if __name__ == "__main__":
    main()
