"""Samples of stacks as an SVG picture of flames: a box a function, above the one that called it, as
wide as the samples in which it stood there. Pointing at a box tells its name and share.
"""

import re
from html import escape

WIDTH, ROW, LETTER = 1400, 17, 6.6  # pixels
NARROWEST = 0.5
COLOURS = {"kernel": "#8fb4d9", "library": "#e3c68f", "engine": "#e8926f", "thread": "#cfcfcf"}
SAMPLE = re.compile(r"^(?P<thread>\S.*?)\s*$")
FRAME = re.compile(r"^\s+[0-9a-f]+ (?P<name>.*?)(?:\+0x[0-9a-f]+)? \((?P<file>[^()]*)\)$")


class Box:
    def __init__(self, name, kind):
        self.name, self.kind = name, kind
        self.samples = 0
        self.above = {}

    def depth(self):
        return 1 + max((box.depth() for box in self.above.values()), default=0)


def _kind(file, program):
    if file.startswith(("[kernel", "[vdso")) or file.endswith(".ko"):
        return "kernel"
    return "engine" if file.endswith("/" + program) else "library"


def _stacks(script, program):
    """Of the output of `perf script --fields comm,ip,sym,dso`: [(name, kind)], outermost first."""
    for sample in script.split("\n\n"):
        lines = [line for line in sample.splitlines() if line.strip()]
        if not lines:
            continue
        frames = [match for line in lines[1:] if (match := FRAME.match(line))]
        stack = [(frame["name"], _kind(frame["file"], program)) for frame in reversed(frames)]
        yield [(SAMPLE.match(lines[0])["thread"], "thread"), *stack]


def grow(script, program):
    """One box of all samples, with the threads above it."""
    root = Box("all", "thread")
    for stack in _stacks(script, program):
        box = root
        box.samples += 1
        for name, kind in stack:
            box = box.above.setdefault((name, kind), Box(name, kind))
            box.samples += 1
    return root


def _draw(box, left, bottom, pixels, whole):
    width = box.samples * pixels
    if width < NARROWEST:
        return
    share = f"{box.name}: {box.samples} samples, {box.samples / whole:.1%}"
    letters = int((width - 4) / LETTER)
    name = box.name if len(box.name) <= letters else box.name[: max(0, letters - 2)] + ".."
    yield (
        f'<g><title>{escape(share)}</title><rect x="{left:.1f}" y="{bottom - ROW}" '
        f'width="{width:.1f}" height="{ROW - 1}" rx="1" fill="{COLOURS[box.kind]}"/>'
    )
    if letters >= 3:
        yield f'<text x="{left + 2:.1f}" y="{bottom - 5}">{escape(name)}</text>'
    yield "</g>"
    for above in sorted(box.above.values(), key=lambda above: above.name):
        yield from _draw(above, left, bottom - ROW, pixels, whole)
        left += above.samples * pixels


def picture(root, title):
    """The text of the SVG file."""
    height = (root.depth() + 2) * ROW
    boxes = _draw(root, 0, height, WIDTH / root.samples, root.samples)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="monospace" font-size="11">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="4" y="{ROW - 4}" font-size="13">{escape(title)}</text>',
            *boxes,
            "</svg>\n",
        ]
    )
