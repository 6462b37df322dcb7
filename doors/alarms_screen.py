"""What `./dr alarms` shows."""

from __future__ import annotations

from rich.table import Column, Table

from doors.support import screen, utc
from runbooks.alarms.listing import Listing
from runbooks.judge.objectives import duration

_STYLES = {"fires": "bold red", "acknowledged": "yellow", "silenced": "yellow", "pending": "dim", "over": "dim"}


def show(found: Listing) -> None:
    console = screen(highlight=False)
    if found.alarms:
        table = Table("nr", "severity", "state", "since", "seen", Column("what", overflow="fold"), "what to run")
        for one in found.alarms:
            by = f" by {one['acked_by']}{': ' + one['note'] if one['note'] else ''}" if one["acked_at"] else ""
            state = f"[{_STYLES[one['state']]}]{one['state']}{by}[/]"
            hint = one["hint"] if one["state"] != "over" else ""
            table.add_row(
                str(one["id"]), one["severity"], state, utc(one["first_at"]), str(one["count"]), one["says"], hint
            )
        console.print(table)
    else:
        console.print("No alarm is open.", style="green")
    _channels(found)
    for one in found.silences:
        what = one["rule"] or "every rule"
        console.print(f"[yellow]SILENCED[/]  {what} until {utc(one['until'])}: {one['reason']} ({one['owner']}).")
    if found.unread:
        console.print(f"Not looked at here: {', '.join(found.unread)}.", soft_wrap=True)
    if found.looked_at is None:
        console.print("[red]Nobody has looked yet.[/] ./dr alarms.on does.")
    elif found.late:
        ago = duration(max(0.0, found.at - found.looked_at))
        console.print(f"[red]Nobody looks: the last look was {ago} ago.[/] ./dr alarms.on does.")


def _channels(found: Listing) -> None:
    if not found.channels:
        return
    table = Table("channel", "works", "last proved", "messages that wait", box=None, padding=(0, 2, 0, 0))
    for one in found.channels:
        works = f"[red]fails: {one['error']}[/]" if one["failing_since"] else "yes" if one["ok_at"] else "unused"
        table.add_row(one["name"], works, utc(one["proved_at"]) if one["proved_at"] else "never", str(one["waiting"]))
    screen(highlight=False).print(table)
