"""A TDengine database with one of everything that this edition has: what people make, and not what we would."""

from __future__ import annotations

DROP = (
    "DROP TOPIC IF EXISTS `torture_topic`", "DROP VTABLE IF EXISTS `vt`", "DROP STABLE IF EXISTS `vst`",
    *(f"DROP TABLE IF EXISTS `{name}`" for name in ("plain", "keyed-1", "表'q", "blobs")),
    *(f"DROP STABLE IF EXISTS `{name}`" for name in ("empty_st", "every-type", "jsoned", "bars")),
)  # fmt: skip
CREATE = (
    "CREATE TABLE `plain` (`ts` TIMESTAMP, `v` DOUBLE, `s` VARCHAR(20)) TTL 4000 COMMENT 'by hand'",
    "CREATE TABLE `keyed-1` (`ts` TIMESTAMP, `id` VARCHAR(10) PRIMARY KEY, `列` INT)",
    "CREATE TABLE `表'q` (`ts` TIMESTAMP, `v.w` INT, `a b` NCHAR(9))",
    "CREATE STABLE `empty_st` (`ts` TIMESTAMP, `v` INT) TAGS (`a` INT) COMMENT 'nobody writes it'",
    "CREATE STABLE `every-type` (`ts` TIMESTAMP, `c_bool` BOOL, `c_ti` TINYINT, `c_si` SMALLINT, `c_i` INT, "
    "`c_bi` BIGINT, `c_uti` TINYINT UNSIGNED, `c_usi` SMALLINT UNSIGNED, `c_ui` INT UNSIGNED, "
    "`c_ubi` BIGINT UNSIGNED, `c_f` FLOAT, `c_d` DOUBLE ENCODE 'delta-d' COMPRESS 'zstd' LEVEL 'high', "
    "`c_ts` TIMESTAMP, `c_vc` VARCHAR(20), `c_nc` NCHAR(20), `c_vb` VARBINARY(20), `c_geo` GEOMETRY(100), "
    "`c_d64` DECIMAL(18,4), `c_d128` DECIMAL(38,10)) "
    "TAGS (`t_bool` BOOL, `t_ti` TINYINT, `t_bi` BIGINT, `t_ubi` BIGINT UNSIGNED, `t_f` FLOAT, `t_d` DOUBLE, "
    "`t_ts` TIMESTAMP, `t_vc` VARCHAR(20), `t_nc` NCHAR(20), `t_vb` VARBINARY(20), `t_geo` GEOMETRY(100))",
    "CREATE STABLE `jsoned` (`ts` TIMESTAMP, `v` INT) TAGS (`j` JSON)",
    "CREATE TABLE `blobs` (`ts` TIMESTAMP, `v` DOUBLE, `b` BLOB, `s` VARCHAR(9))",
    "CREATE STABLE `bars` (`ts` TIMESTAMP, `event_id` BIGINT, `close` DOUBLE, `note` VARCHAR(10)) "
    "TAGS (`symbol` VARCHAR(9))",
    "CREATE VTABLE `vt` (`ts` TIMESTAMP, `a` DOUBLE FROM `plain`.`v`)",
    "CREATE STABLE `vst` (`ts` TIMESTAMP, `a` DOUBLE) TAGS (`k` INT) VIRTUAL 1",
    "CREATE VTABLE `vc1` (`a` FROM `plain`.`v`) USING `vst` TAGS (1)",
    "CREATE TABLE `子-'1` USING `every-type` TAGS (true, -1, -5, 18446744073709551615, 1.1, 0.1, 1700000000000000001, "
    "'O\\'Hare', '引号\"\\\\', '\\x0102ff', 'POINT(0.1234567890123456 1e-9)') TTL 3000 COMMENT 'a child'",
    "CREATE TABLE `nulls` USING `every-type` TAGS (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    "CREATE TABLE `j1` USING `jsoned` TAGS ('{\"a\":1,\"b\":\"x\\\\\"y\"}')",
    "CREATE TABLE `bar1` USING `bars` TAGS ('600000')",
    "CREATE TABLE `bar2` USING `bars` TAGS ('600001')",
    "CREATE TOPIC `torture_topic` AS SELECT * FROM `plain`",
)  # fmt: skip
TABLES = ("plain", "keyed-1", "表'q", "every-type", "jsoned", "blobs", "bars")
DEFINED = ("vt", "vst", "vc1")


def rows(at: int) -> tuple[str, ...]:
    """Rows from the moment `at` (ns) on, a minute apart."""
    m = 60 * 10**9
    bars = " ".join(f"({at + n * m}, {n + 1}, {10 + n}.5, 'n{n}')" for n in range(40))
    return (
        f"INSERT INTO `plain` VALUES ({at}, 1.5, 'x') ({at + m}, NULL, NULL) ({at + 2 * m}, 2.5, 'it''s')",
        f"INSERT INTO `keyed-1` VALUES ({at}, 'a', 1) ({at}, 'b', 2) ({at + m}, 'a', NULL)",
        f"INSERT INTO `表'q` VALUES ({at}, 1, '中文') ({at + m}, 2, NULL)",
        f"INSERT INTO `子-'1` VALUES ({at}, true, -1, -2, -3, -4, 5, 6, 7, 18446744073709551615, 1.25, 0.1, "
        f"1700000000000000000, 'a', '中', '\\x00ff', 'POINT(1 2)', 123.4567, -12345678901234567890.0123456789)",
        f"INSERT INTO `nulls` (`ts`) VALUES ({at})",
        f"INSERT INTO `j1` VALUES ({at}, 1)",
        f"INSERT INTO `blobs` VALUES ({at}, 1.5, 'abc', 'x') ({at + m}, NULL, NULL, NULL) "
        f"({at + 2 * m}, 2.5, '\\x0001ff', 'y')",
        f"INSERT INTO `bar1` VALUES {bars}",
        f"INSERT INTO `bar2` VALUES {bars}",
    )


def changes(at: int) -> dict[str, tuple[str, ...]]:
    """What people do to rows that are there, each a kind of its own that sums of a day do not tell: for one hour."""
    m = 60 * 10**9

    def bar(table: str, minute: int, event: int, close: str, note: str = "n") -> str:
        return f"INSERT INTO `{table}` VALUES ({at + minute * m}, {event}, {close}, '{note}')"

    return {
        "values that change places": (bar("bar1", 3, 4, "14.5", "n3"), bar("bar1", 4, 5, "13.5", "n4")),
        "offsetting corrections": (bar("bar1", 6, 7, "17.5", "n6"), bar("bar1", 7, 8, "15.5", "n7"),
                                   bar("bar1", 8, 9, "19.5", "n8")),
        "values that change places between subtables": (bar("bar1", 10, 11, "99.5", "n10"),
                                                        bar("bar2", 10, 11, "-58.5", "n10")),
        "a timestamp that moves inside its hour": (f"DELETE FROM `bar1` WHERE `ts` = {at + 12 * m}",
                                                   f"INSERT INTO `bar1` VALUES ({at + 12 * m + 7}, 13, 22.5, 'n12')"),
        "a row that is corrected twice within its hour": (bar("bar1", 18, 59, "1.5", "wrong"),
                                                          bar("bar1", 18, 60, "28.5", "n18")),
        "the last digits of a number": (bar("bar1", 14, 15, "24.500000000000004", "n14"),),
        "texts that change places": (bar("bar2", 3, 4, "13.5", "n4"), bar("bar2", 4, 5, "14.5", "n3")),
        "a value that becomes NULL and a zero": (bar("bar2", 16, 17, "NULL", "n16"),),
        "a byte of a BLOB": (f"INSERT INTO `blobs` (`ts`, `b`) VALUES ({at}, 'abd')",),
        "a byte of a VARBINARY": (f"INSERT INTO `子-'1` (`ts`, `c_vb`) VALUES ({at}, '\\x00fe')",),
        "the last digit of a DECIMAL": (
            f"INSERT INTO `子-'1` (`ts`, `c_d128`) VALUES ({at}, -12345678901234567890.0123456780)",),
        "a point that moves": (f"INSERT INTO `子-'1` (`ts`, `c_geo`) VALUES ({at}, 'POINT(1 3)')",),
        "a row of a plain table": (f"INSERT INTO `plain` VALUES ({at + m}, NULL, 'now')",),
    }  # fmt: skip


# NaN and infinities have no literal: they come by a client's binding, which is what this stands for.
NAN = """
import struct
import numpy as np
from agents.tdengine.backup import settings
from agents.tdengine.backup.block import Block, Column, encode
from agents.tdengine.backup.raw import RawSession
at, first, second = {at}, {first}, {second}
stamps = np.array([at + n * 60 * 10**9 for n in range(3)], "<i8")
values = np.array([float("nan"), first, second], "<f8")
none = np.zeros(3, bool)
column = lambda kind, held: Column(kind, 8, none, held.view(np.uint8).reshape(3, 8))
with RawSession(settings.load().server(), "{database}") as session:
    session.write_fields("plain", encode(Block(3, (column(9, stamps), column(7, values)))), ("ts", "v"))
"""
