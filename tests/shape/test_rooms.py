"""The house stands as ARCHITECTURE.md says, and the check that says so can fail."""

import pytest
from shape import rooms
from support.paths import ROOT

MAP = """
| row | room | owns | alone includes |
|---|---|---|---|
| 1 | `base` | errors | |
| 2 | `txn` | the noun | |
| 3 | `http` | loops | `h2o` |
| 3 | `wal` | the log | |
| 7 | `app` | wiring | |
"""


def faults_of(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return rooms.violations(rooms.read_map(MAP), tmp_path)


def test_the_house_stands_as_the_map_says():
    house = rooms.read_map((ROOT / "ARCHITECTURE.md").read_text())
    assert rooms.violations(house, ROOT / "src") == []


def test_the_map_names_every_room_of_the_code():
    house = rooms.read_map((ROOT / "ARCHITECTURE.md").read_text())
    folders = {path.name for path in (ROOT / "src").iterdir() if path.is_dir()}
    assert set(house.rows) == folders


def test_a_room_may_include_lower_rows_and_itself(tmp_path):
    files = {
        "base/buf.c": '#include "base/buf.h"\n#include "base/err.h"\n',
        "wal/wal.c": '#include "wal/wal.h"\n#include "wal/wal_priv.h"\n#include "txn/txn.h"\n',
        "http/http.c": "#include <h2o.h>\n#include <h2o/http1.h>\n#include <stdio.h>\n",
        "main.c": '#include "app/app.h"\n',
    }
    assert faults_of(tmp_path, files) == []


@pytest.mark.parametrize(
    ("include", "complaint"),
    [
        ('#include "http/http.h"', "http stands in row 3"),
        ('#include "app/app.h"', "app stands in row 7"),
        ('  #  include   "app/app.h"', "app stands in row 7"),
        ('#include "txn/txn_priv.h"', "private to txn"),
        ('#include "attic/attic.h"', "in no room"),
        ('#include "../app/app.h"', "in no room"),
        ("#include <h2o.h>", "only http may"),
        ("#include <h2o/http1.h>", "only http may"),
    ],
)
def test_an_include_of_what_stands_higher_or_is_private_is_found(tmp_path, include, complaint):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/app.h").write_text("")
    faults = faults_of(tmp_path, {"wal/wal_read.c": f"/* reads */\n{include}\n"})
    assert len(faults) == 1
    assert faults[0].startswith("src/wal/wal_read.c:2: ")
    assert complaint in faults[0]


@pytest.mark.parametrize(
    "statement",
    [
        'printf("x");',
        'fprintf(stderr, "x");',
        'fputs("x", stdout);',
        'puts("x");',
        'perror("x");',
        "exit(1);",
        "_exit(1);",
        'getenv("HOME");',
        'secure_getenv("HOME");',
        "write(STDOUT_FILENO, x, 1);",
    ],
)
def test_a_room_that_prints_exits_or_reads_the_environment_is_found(tmp_path, statement):
    body = f"void f(void)\n{{\n    {statement}\n}}\n"
    faults = faults_of(tmp_path, {"wal/wal_read.c": body, "app/app.c": body, "main.c": body})
    assert len(faults) == 1
    assert faults[0].startswith("src/wal/wal_read.c:3: ")


def test_words_in_comments_and_strings_and_longer_names_are_no_speech(tmp_path):
    body = """
/* printf("x"); exit(1);
   #include "app/app.h" */
void f(void)
{
    // getenv("HOME")
    snprintf(out, 2, "exit(1)");
    buf_printf(out, "puts(1)");
    fprintf(file, "x");
    log->exit(1);
    loop_exit(1);
}
"""
    assert faults_of(tmp_path, {"wal/wal_read.c": body}) == []


def test_the_log_may_speak(tmp_path):
    body = "void f(void) { write(STDERR_FILENO, x, 1); }\n"
    faults = faults_of(tmp_path, {"base/log.c": body, "base/buf.c": body})
    assert [fault.split(":")[0] for fault in faults] == ["src/base/buf.c"]


def test_a_folder_that_the_map_does_not_name_is_found(tmp_path):
    assert faults_of(tmp_path, {"attic/attic.c": ""}) == [
        "src/attic: is in no row of ARCHITECTURE.md"
    ]


def test_a_map_without_its_table_is_an_error():
    with pytest.raises(ValueError, match="table of rooms"):
        rooms.read_map("# The map\n")
