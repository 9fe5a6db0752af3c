"""Where things are. LABS_ENGINE picks another build of the engine, e.g. a sanitizer's."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = Path(os.environ.get("LABS_ENGINE", ROOT / "build/labs-analytics")).resolve()
