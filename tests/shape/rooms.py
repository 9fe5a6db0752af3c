"""The order of rooms: what ARCHITECTURE.md says a room may include, held against the code."""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROW = re.compile(r"^\|\s*(\d+)\s*\|\s*`(\w+)`\s*\|[^|]*\|([^|]*)\|\s*$", re.MULTILINE)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)

# A room that is in no row of the table but may know and do what the highest one may.
MAIN = "main"
OUTSPOKEN = {"app", "cli", MAIN}
# The log speaks for all rooms; running out of memory ends the process.
OUTSPOKEN_FILES = {"base/log.c", "base/mem.c"}

SPEECH = re.compile(
    r"""(?<![\w.>])(?:
        v?printf\s*\( | puts\s*\( | putchar\s*\( | perror\s*\( | psignal\s*\( |
        v?fprintf\s*\(\s*std(?:out|err)\b | f?put[sc]\s*\([^;]*,\s*std(?:out|err)\s*\) |
        std::c(?:out|err)\b | STD(?:OUT|ERR)_FILENO\b |
        _?exit\s*\( | _Exit\s*\( | quick_exit\s*\( | errx?\s*\(\s*\w+\s*, |
        (?:secure_)?getenv\s*\( | setenv\s*\( | putenv\s*\( | extern\s+char\s*\*\*\s*environ\b
    )""",
    re.VERBOSE,
)
COMMENT_OR_TEXT = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])+'""",
    re.VERBOSE | re.DOTALL,
)


@dataclass
class Map:
    rows: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # library header → its one room


def read_map(architecture):
    """The rooms table of ARCHITECTURE.md, given its text."""
    house = Map()
    for row, room, libraries in ROW.findall(architecture):
        if room in house.rows:
            raise ValueError(f"ARCHITECTURE.md: room {room} stands in two rows")
        house.rows[room] = int(row)
        for library in re.findall(r"`([^`]+)`", libraries):
            house.owners[library] = room
    if not house.rows:
        raise ValueError("ARCHITECTURE.md: the table of rooms was not found")
    return house


def bare_code(text):
    """The text with comments, strings and characters blanked, line for line."""
    return COMMENT_OR_TEXT.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def library_of(header):
    return re.sub(r"\.h(?:pp)?$", "", header.split("/")[0])


def room_of(path):
    return path.parts[0] if len(path.parts) > 1 else MAIN


def check_include(house, source, room, path, header, quoted):
    """What is wrong with one #include, or None. `path` is the file's below `source`."""
    if not quoted:
        owner = house.owners.get(library_of(header))
        if owner not in (None, room):
            return f"includes <{header}>, which only {owner} may"
        return None
    folder = header.split("/")[0]
    if "/" not in header or folder not in house.rows:
        if (source / path.parent / header).exists() or (source / header).exists():
            if ".." not in header:
                return None
        return f'includes "{header}", which is in no room of ARCHITECTURE.md'
    if folder == room:
        return None
    if room != MAIN and house.rows[folder] >= house.rows[room]:
        return (
            f'includes "{header}": {room} (row {house.rows[room]}) may include only lower rows, '
            f"{folder} stands in row {house.rows[folder]}"
        )
    if folder != "base" and header != f"{folder}/{folder}.h":
        return f'includes "{header}", which is private to {folder}'
    return None


def check_file(house, source, path):
    text = (source / path).read_text(encoding="utf-8")
    room = room_of(path)
    # Includes are read from the text itself, for blanking takes their names away.
    code = bare_code(text)
    for found in INCLUDE.finditer(text):
        if code[found.start() : found.end()].lstrip()[:1] != "#":
            continue  # inside a comment
        fault = check_include(house, source, room, path, found[2], found[1] == '"')
        if fault:
            yield f"src/{path}:{line_of(text, found.start())}: {fault}"
    if room in OUTSPOKEN or str(path) in OUTSPOKEN_FILES:
        return
    for found in SPEECH.finditer(code):
        words = " ".join(found.group().split())
        yield (
            f"src/{path}:{line_of(code, found.start())}: {words}: "
            "only app and cli print, exit or read the environment"
        )


def violations(house, source):
    """All that is wrong in the folder `source`, as lines that name file and line."""
    source = Path(source)
    faults = []
    for room in sorted(child.name for child in source.iterdir() if child.is_dir()):
        if room not in house.rows:
            faults.append(f"src/{room}: is in no row of ARCHITECTURE.md")
    files = [p for p in source.rglob("*") if p.suffix in {".c", ".h", ".cc", ".hpp"}]
    for file in sorted(files):
        path = file.relative_to(source)
        if room_of(path) in house.rows or room_of(path) == MAIN:
            faults += check_file(house, source, path)
    return faults
