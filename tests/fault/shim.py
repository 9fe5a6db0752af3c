"""Faults of system calls, by a library that is loaded before the engine's own (support/shim.c)."""

import subprocess

from support import instrumented
from support.paths import ROOT

SOURCE = ROOT / "tests/support/shim.c"


class Shim:
    """options(): what an engine is started with. Faults are files in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.library = folder / "shim.so"
        folder.mkdir()
        words = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self.library), str(SOURCE), "-ldl"]
        subprocess.run(words, check=True)

    def options(self):
        first = " ".join([*instrumented.runtime(), str(self.library)])
        return {"LD_PRELOAD": first, "LABS_SHIM": str(self.folder)}

    def fail_syncs_of(self, part):
        """Of every file with this in its path."""
        self._order("sync", part)

    def hang_syncs_of(self, part):
        """They do not return, until they are healed."""
        self._order("hang", part)

    def hang_reads_of(self, part):
        """Nor do these."""
        self._order("read", part)

    def _order(self, name, part):
        (self.folder / "draft").write_text(part)
        (self.folder / "draft").rename(self.folder / name)

    def hang_names(self):
        """Nobody says where "localhost" is."""
        (self.folder / "names").touch()

    def heal(self):
        for name in ("sync", "hang", "read", "names"):
            (self.folder / name).unlink(missing_ok=True)
