"""Pages that are printed from the code say what the code says."""

import re
import subprocess

import pytest
from support.paths import ROOT

FOLDERS = ["bench", "clients", "deploy", "docs", "tests"]


@pytest.mark.skipif(not (ROOT / "build/labs-analytics").exists(), reason="the engine is not built")
def test_the_page_of_options_is_what_the_engine_prints():
    printed = subprocess.run([ROOT / "scripts/docs", "-"], check=True, capture_output=True)
    page = ROOT / "docs/configuration.md"
    assert page.read_bytes() == printed.stdout, "run `make docs`"


PAGES = [*ROOT.glob("*.md"), *(page for top in FOLDERS for page in (ROOT / top).rglob("*.md"))]


def anchors(page):
    """What GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(pages):
    for page in pages:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text()):
            there = page.parent / target if target else page
            if "://" not in target and not (
                there.exists() and (not anchor or anchor in anchors(there))
            ):
                yield f"{page.name}: {target}#{anchor}"


def test_links_between_pages_lead_somewhere():
    assert list(broken_links(PAGES)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    good = "# `A` head, twice\n[a](#a-head-twice) [b](page.md) [c](https://a.b/c#d)\n"
    page.write_text(good + "[d](page.md#none) [e](none.md)\n```\n# none\n```\n")
    assert list(broken_links([page])) == ["page.md: page.md#none", "page.md: none.md#"]


CALL = re.compile(r'\blog_(info|warning|error)\(\s*"(\w+)",\s*((?:"(?:[^"\\]|\\.)*"|PRI\w+|\s)+)')
VARIABLE = re.compile(r"%[-.*0-9]*(?:llu|zu|[sdufxo])?")


def written_lines(source):
    """(level, room, pattern of the line) of each line that a source may write to the log."""
    for level, room, words in CALL.findall(source):
        line = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', words))
        fixed = [re.escape(part) for part in VARIABLE.split(line)]
        yield level, room, re.compile(".*".join(fixed))


def explained_lines(table):
    for level, room, lines in re.findall(r"^\| (\w+) \| (\w+) \| (.*?) \| ", table, re.MULTILINE):
        for line in re.findall(r"`([^`]+)`", lines):
            yield level, room, line


def differing_lines(source, table):
    """Lines that are written and not explained, and those that are explained and not written."""
    written, explained = list(written_lines(source)), list(explained_lines(table))

    def is_one(written, explained):
        return written[:2] == explained[:2] and written[2].fullmatch(explained[2])

    yield [w[2].pattern for w in written if not any(is_one(w, e) for e in explained)]
    yield [e[2] for e in explained if not any(is_one(w, e) for w in written)]


def test_every_line_of_the_log_is_explained_and_no_other():
    source = "".join(file.read_text() for file in (ROOT / "src").rglob("*.c"))
    table = (ROOT / "docs/operation.md").read_text().split("\n## The log\n")[1]
    assert len(list(written_lines(source))) > 40
    assert list(differing_lines(source, table)) == [[], []]


def test_a_line_of_the_log_that_differs_is_found():
    source = 'log_info("wal", "%" PRIu64 " kept, %s"\n " lost", n, s); log_error("wal", "gone");'
    table = "| info | wal | `<n> kept, <n> lost` | nothing |\n"
    assert list(differing_lines(source, table)) == [["gone"], []]
    table += "| error | wal | `gone`, `lost` | nothing |\n| error | log | `gone` | nothing |\n"
    assert list(differing_lines(source, table)) == [[], ["lost", "gone"]]
