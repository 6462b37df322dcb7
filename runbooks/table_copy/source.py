"""Where the copy's rows come from: a side cluster, read by a program that the live server starts on its own host."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from runbooks.table_copy.names import literal

# The same text and the same hash for the same value on both servers, whatever their settings are.
PLAIN = {
    "timezone": "UTC", "datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "1",
    "bytea_output": "hex", "search_path": "public", "jit": "off", "lc_monetary": "C", "array_nulls": "on",
    "xmloption": "content", "standard_conforming_strings": "on", "transform_null_equals": "off",
}  # fmt: skip
# Two values of an extension's type are equal by the extension's own operator, wherever that lies.
_SCHEMAS = (
    "SELECT DISTINCT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
    "WHERE n.nspname NOT IN ('pg_catalog', 'public')"
)
_PATH = (
    "BEGIN PERFORM set_config('search_path', 'public' || coalesce((SELECT string_agg(', ' || quote_ident(nspname), '' "
    f"ORDER BY nspname) FROM ({_SCHEMAS}) s), ''), false); "
    # What a database or a role sets is of one moment, and the copy's and the live one's may differ.
    "PERFORM set_config('client_encoding', "
    "CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END, false); END"
)
SEARCH_PATH = f"DO {literal(_PATH)}"
# A file of the session's own in the data directory, where programs begin: the parent of their shell is its backend.
_FOLDER = "base/pgsql_tmp"
_ASKED = f"{_FOLDER}/pgsql_tmp_dr_$PPID"
# What COPY says when the program that should read the copy ended before it wrote a row; why is in the server's log.
NO_ROWS = ("COPY file signature not recognized", "program \"", "unexpected EOF in COPY data")


def gave_no_rows(error: str) -> bool:
    return any(text in error for text in NO_ROWS)


@dataclass(frozen=True)
class Source:
    """A server behind a unix socket; `bin` is the folder of its programs."""

    bin: str
    socket: str
    port: int
    database: str

    @property
    def connect(self) -> str:
        """psql's options, quoted for a shell."""
        return f"-h {shlex.quote(self.socket)} -p {self.port}"

    def fetch(self, into: str, query: str, form: str = "binary") -> str:
        """Statements by which the query's rows come into a table, or columns of one; the last tells how many."""
        return self.fetch_said(into, literal(query), form)

    def fetch_said(self, into: str, query: str, form: str = "binary") -> str:
        """The same for a query that is known to the live server alone: an SQL expression of its text.

        It goes through a file: a program takes 128 KiB of one argument, and a query may name 1,600 columns. The server
        tells by an error when it could not be written, and nobody backs it up or keeps it over a restart.
        """
        copy = f"'COPY (' || {query} || ') TO STDOUT (FORMAT {form});'"
        text = f"translate(encode(convert_to({copy}, current_setting('client_encoding')), 'base64'), chr(10), '')"
        keep = f"umask 077 && mkdir -p {_FOLDER} && base64 -d >{_ASKED}"
        return (
            f"COPY (SELECT {text}) TO PROGRAM {literal(keep)};\n"
            f"COPY {into} FROM PROGRAM {literal(self._read)} (FORMAT {form});\n"
        )

    @property
    def _read(self) -> str:
        """A shell command that asks what is in the file, and writes rows as COPY does."""
        options = " ".join(f"-c {name}={value}" for name, value in PLAIN.items())
        return (
            f"exec <{_ASKED} && rm {_ASKED} && PGOPTIONS={shlex.quote(options)} "
            f"{self.bin}/psql -qAtX -v ON_ERROR_STOP=1 {self.connect} -d {shlex.quote(self.database)} "
            f"-c {shlex.quote(SEARCH_PATH)} -f -"
        )


def plain_settings() -> str:
    """Statements that give the live session the settings that the source's has."""
    values = "".join(f"SET {name} = {literal(value)};\n" for name, value in PLAIN.items() if name != "search_path")
    return f"{values}{SEARCH_PATH};\nSET client_min_messages = warning;\n"


# An event trigger of an extension is part of what it does: without TimescaleDB's, DDL would not reach the chunks.
_OF_PRODUCTION = (
    "FROM pg_event_trigger e WHERE evtenabled <> 'D' AND NOT EXISTS (SELECT FROM pg_depend d "
    "WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')"
)


def own_triggers_off() -> str:
    """Production's event triggers are off in this transaction, and for it alone; `own_triggers_on` undoes it."""
    back = (
        "string_agg(format('ALTER EVENT TRIGGER %I ENABLE%s', evtname, "
        "CASE evtenabled WHEN 'A' THEN ' ALWAYS' WHEN 'R' THEN ' REPLICA' ELSE '' END), '; ')"
    )
    off = "string_agg(format('ALTER EVENT TRIGGER %I DISABLE', evtname), '; ')"
    return (
        f"SELECT coalesce({off}, 'SELECT') AS event_triggers_off, coalesce({back}, 'SELECT') AS event_triggers_back "
        f"{_OF_PRODUCTION} \\gset\n:event_triggers_off \\g /dev/null\n"
    )


def own_triggers_on() -> str:
    return ":event_triggers_back \\g /dev/null\n"


EVENT_TRIGGERS = f"SELECT coalesce(json_agg(evtname ORDER BY evtname), '[]') {_OF_PRODUCTION};"
