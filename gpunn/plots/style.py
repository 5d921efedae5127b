"""What all pictures share: size, colours and letters, text that came from files, and writing them to a file.

A picture is 1280×720 pixels, a slide, with no letter below 12 points. It is drawn without pyplot, so no window, display
or global state is involved.
"""

from __future__ import annotations

import contextlib
import io
import os
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gpunn.errors import DataError, UsageError
from gpunn.serialize import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
WIDTH, HEIGHT, DPI = 12.8, 7.2, 100
SMALL, TEXT, TITLE = 12, 13, 15  # points
POINT = DPI / 72  # pixels
# Okabe's and Ito's colours, which the colour-blind can tell apart, without yellow, which is too faint on white. Runs
# beyond the eighth have the same ones again; every run has a marker of its own, for those who see no colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
GRID = "#D9D9D9"

_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so a picture looks the same everywhere
    "font.size": TEXT,
    "axes.titlesize": TITLE,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "figure.titlesize": TITLE + 1,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": False,
    "agg.path.chunksize": 10_000,
    "svg.hashsalt": "gpunn",  # the same picture is the same file
    "pdf.fonttype": 42,
}
_UNDATED = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_ORIGIN = {"png": "Source", "svg": "Source", "pdf": "Subject"}  # where each kind says what a picture is from


def need_matplotlib(extra: str = "plot") -> None:
    """Raise UsageError where matplotlib is missing; ``extra`` of ours brings it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UsageError(f"pictures need matplotlib ({error}): pip install 'gpunn[{extra}]'.") from error


def check_suffix(path: Path, flag: str = "--out", others: tuple[str, ...] = ()) -> str:
    """The kind of picture that a file's name asks for: png, svg or pdf, or one of ``others``, such as ".dot".

    Raises
    ------
    UsageError
        If it is none of these, or the path is a folder.
    """
    if path.suffix.lower() not in (*SUFFIXES, *others):
        raise UsageError(f"{flag}: expected a file name that ends in {', '.join((*SUFFIXES, *others))}; got {path}.")
    if path.is_dir():
        raise UsageError(f"{flag}: expected the name of a file; {path} is a folder.")
    return path.suffix.lower()[1:]


@contextlib.contextmanager
def drawing(*, formulas: bool = False) -> Iterator[None]:
    """Our style for the block, whatever the user's matplotlibrc says; making and writing a figure are both in it.

    With ``formulas`` text between dollars is one, as on logarithmic axes; without, it may come from files.
    """
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Classes may be named in a script for which the font has no letters; boxes are drawn then.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=COLOURS)
        matplotlib.rcParams["text.parse_math"] = formulas
        yield


def new_figure() -> Figure:
    """An empty slide whose parts make room for each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.12, h_pad=0.10)  # inches around every part, the slide's border included
    return figure


def write(figure: Figure, path: Path, origin: str | None = None) -> None:
    """Draw it, and write the file whole or not at all; ``origin`` says inside it what it is from.

    Raises
    ------
    DataError
        If the system refuses; the message says what can be done.
    """
    kind = check_suffix(path)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, metadata=_UNDATED[kind] | {_ORIGIN[kind]: origin})
    write_file(path, drawn.getvalue())


def write_file(path: Path, content: bytes) -> None:
    """Write a file, and its folder where that is missing, whole or not at all; DataError if the system refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise DataError(
            f"{path}: could not be written: {error.strerror or error}. Give another place for it."
        ) from error


def label(text: object, most: int) -> str:
    """A text fit for a picture: one line of at most ``most`` characters, of which the middle is left out."""
    plain = "".join(c if c.isprintable() and unicodedata.category(c) != "Cf" else "?" for c in str(text)[: 20 * most])
    if len(plain) <= most:
        return plain
    tail = (most - 1) // 2
    return f"{plain[: most - 1 - tail]}…{plain[-tail:]}"


def width_of(text: str, size: float = SMALL) -> float:
    """About how many pixels a line of text takes."""
    wide = sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.6 for c in text)
    return wide * size * POINT


def run_names(folders: list[str | os.PathLike[str]], most: int = 44) -> list[str]:
    """Short names of runs that tell them apart: as much of the end of each path as that takes."""
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    paths = [path.parent if path.name == "metrics.jsonl" else path for path in paths]
    names = [path.name for path in paths]
    for length in range(2, 1 + max(len(path.parts) for path in paths)):
        if len(set(names)) == len(set(paths)):
            break
        names = ["/".join(path.parts[-length:]) for path in paths]
    short = [label(name, most) for name in names]
    seen: dict[str, int] = {}
    for i, name in enumerate(list(short)):  # the same run twice, or names of which only the middle differs
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1 or name in short[i + 1 :]:
            short[i] = f"{name} ({seen[name]})"
    return short
