"""README's pictures of demonstrations: what ``gpunn demo NAME`` draws, in fewer colours, as small files.

    python -m benchmarks.demo_pictures           run the demonstrations, and write benchmarks/results/demo-NAME.png
    python -m benchmarks.demo_pictures --check   say which picture is not of today's program, and run nothing

A picture has the digest of the program that drew it. So a program that was changed asks for its picture again.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
from pathlib import Path

from gpunn.cli import pictures
from gpunn.demos import NAMES, source

ROOT = Path(__file__).parent.parent
RESULTS = Path("benchmarks/results")
COLOURS = 96
MOST = 60_000  # bytes, so that README loads quickly and the repository stays small
_ALT = re.compile(rf"!\[[^]]+\]\({RESULTS.as_posix()}/demo-([a-z-]+)\.png\)")


def shown() -> list[str]:
    """The demonstrations whose pictures README shows."""
    return _ALT.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def make(name: str) -> None:
    """Run a demonstration at its own sizes, and keep its picture."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "picture.png"
        pictures.make(name, drawn, seed=0, device="cpu", told=print)
        note = PngInfo()
        note.add_text("Source", f"gpunn demo {name}")
        note.add_text("Program", _digest(name))
        with Image.open(drawn) as picture:
            # Without dither, whose dots would look like noise on plain areas and make the file larger.
            few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
            few.save(_path(name), pnginfo=note, optimize=True)


def stale() -> list[str]:
    """What is wrong with the pictures, a sentence each."""
    from PIL import Image

    wrong = []
    for name in shown():
        path = _path(name)
        if name not in NAMES or not path.is_file():
            wrong.append(f"README shows {path.relative_to(ROOT)}, which no demonstration has drawn")
            continue
        with Image.open(path) as picture:
            text = getattr(picture, "text", {})
        if text.get("Program") != _digest(name):
            wrong.append(f"{path.relative_to(ROOT)} is not of today's gpunn/demos: python -m benchmarks.demo_pictures")
        if path.stat().st_size > MOST:
            wrong.append(f"{path.relative_to(ROOT)} has {path.stat().st_size:,} bytes, expected at most {MOST:,}")
    return wrong


def _path(name: str) -> Path:
    return ROOT / RESULTS / f"demo-{name}.png"


def _digest(name: str) -> str:
    return hashlib.sha256(source(name).encode()).hexdigest()[:16]


def main() -> int:
    """Make README's pictures, or check them; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="run nothing; fail if a picture is not of today's program")
    if not parser.parse_args().check:
        for name in shown():
            make(name)
    wrong = stale()
    print("\n".join(wrong), file=sys.stderr, end="\n" * bool(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
