"""Pages that are printed from the code say what the code says."""

import re
import subprocess

import pytest
from support.paths import ROOT


@pytest.mark.skipif(not (ROOT / "build/labs-analytics").exists(), reason="the engine is not built")
def test_the_page_of_options_is_what_the_engine_prints():
    printed = subprocess.run([ROOT / "scripts/docs", "-"], check=True, capture_output=True)
    page = ROOT / "docs/configuration.md"
    assert page.read_bytes() == printed.stdout, "run `make docs`"


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []
