"""What no file of the project may contain, whoever wrote it."""

import re
import subprocess
from pathlib import Path

# Spelled in two parts, so that this file passes its own test.
MARKERS = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]
MIRRORS = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "registry.npmjs" + ".org",
    "proxy.golang" + ".org",
    "deb.debian" + ".org",
    "snapshot.debian" + ".org",
]
RULES = [
    (re.compile(r"(?<![\w./~-])/" + r"work(?![\w-])"), "a path of one machine"),
    (re.compile(r"\b(?:" + "|".join(MARKERS) + r")\b"), "work put off"),
    (re.compile("|".join(map(re.escape, MIRRORS))), "a package mirror's name"),
]

LEFT_BY_BUILDS = re.compile(r"^(?:build[^/]*|data|\.git|\.venv[^/]*)/|(?:^|/)__pycache__/|\.pyc$")


def project_files(root):
    """The files of the project: what git tracks or would track, or all but build products."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    try:
        listed = subprocess.run(
            [*command, "--exclude-standard"], check=True, capture_output=True, text=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [str(p.relative_to(root)) for p in Path(root).rglob("*")]
        listed = [name for name in listed if not LEFT_BY_BUILDS.search(name)]
    return sorted(name for name in listed if name and Path(root, name).is_file())


def violations(root):
    """All forbidden words below `root`, as lines that name file and line."""
    faults = []
    for name in project_files(root):
        try:
            lines = Path(root, name).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a corpus of bytes
        for number, line in enumerate(lines, 1):
            for rule, why in RULES:
                if found := rule.search(line):
                    faults.append(f"{name}:{number}: {found.group()}: {why}")
    return faults
