"""TDengine's runbooks as tasks."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from doors.runbooks import HELP, run_procedure
from doors.support import door


@task(
    help={
        **HELP,
        "host": "which node comes back (default: the only one that is out)",
        "replace": "move what it has aside and fill it from the others",
    },
    name="tdengine-rejoin",
)
@door
def tdengine_rejoin(
    c: Context, host: str = "", replace: bool = False, plan: bool = False, resume: bool = False, yes: bool = False,
    json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Bring a lost or blank TDengine node of three back."""
    from runbooks.procedures.tdengine.rejoin import TdengineRejoinOptions

    options = TdengineRejoinOptions(yes=yes, host=host, replace=replace)
    run_procedure("tdengine-rejoin", options, plan, resume, json, inventory)


@task(help=HELP, name="tdengine-restart")
@door
def tdengine_restart(
    c: Context, plan: bool = False, resume: bool = False, yes: bool = False, json: bool = False, inventory: str = "",
    lab: str = "",
) -> None:  # fmt: skip
    """Have TDengine serve again after its process died."""
    from runbooks.procedures.tdengine.restart import TdengineRestartOptions

    run_procedure("tdengine-restart", TdengineRestartOptions(yes=yes), plan, resume, json, inventory)


TOP_LEVEL = (tdengine_rejoin, tdengine_restart)
