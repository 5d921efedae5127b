"""What a failure looks like to the user: one message, and an exit status.

A message says where, what was expected, what came and the likely fix. Of an exception in the user's own network it
shows the file and the line. What is left is a fault of this program, and is called one.
"""

from __future__ import annotations

import errno
import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, TracebackType
from typing import Any

from gpunn.errors import DataError, DeviceError, GpunnError, UsageError, shortened

LONGEST = 480  # characters of a message
TRACEBACK = "GPUNN_TRACEBACK"  # the environment variable that asks for tracebacks
_HOUSE = Path(__file__).parent.parent
# What is asked for is not there, or may not be used: the user's choice of a path.
_WRONG_PATHS = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EROFS,
    errno.EINVAL,
)
_EXTRAS = {"sklearn": "scikit-learn", "PIL": "pillow", "cv2": "opencv-python", "yaml": "pyyaml"}


def describe(error: BaseException) -> tuple[str, int]:
    """The message for an exception that a command raised, and the exit status."""
    text, status = _describe(error)
    return shortened(" ".join(text.split()), LONGEST), status


def _describe(error: BaseException) -> tuple[str, int]:
    place = _users_line(error)
    if isinstance(error, GpunnError):
        text = str(error) or type(error).__name__
        return text if place is None else f"{text} [{place}]", 2 if _is_the_users(error) else 1
    if isinstance(error, SystemExit):
        at = f"{place}: " if place is not None else ""
        return f"{at}sys.exit({error.code!r}) would end the whole program. Raise an exception instead.", 1
    if isinstance(error, MemoryError):
        said = f": {error}" if str(error) else ""
        at = f" [{place}]" if place is not None else ""
        return f"out of memory{said}. Take smaller batches or images, or a smaller network.{at}", 1
    said = f"{type(error).__name__}: {error}" if str(error) else f"{type(error).__name__}{_source(error)}"
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return "the home folder is not known, in which caches are kept. Set HOME, or GPUNN_CACHE and CUPY_CACHE_DIR.", 1
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames) if _is_ours(frame.filename)), None)
    at = f" at {_short(last.filename)}:{last.lineno}" if last is not None else ""
    if place is not None:
        # What a call from there raises in a file of ours is mostly the caller's mistake, but may be our own.
        return f"{place}: {said}{at if frames and last is frames[-1] else ''}", 1
    if isinstance(error, OSError):
        return _describe_system(error)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] != "gpunn":
        package = error.name.split(".")[0]
        name = _EXTRAS.get(package, package)
        return f"this needs the package {name}, which is not installed: pip install {name}", 2
    if isinstance(error, RecursionError):
        if frames and {"pathlib", "pathlib.py", "os.py"} & set(Path(frames[-1].filename).parts):
            return "a path has too many folders, one in the other. Give a shorter one.", 2
        return "the network is nested too deeply for Python's stack: build it flatter, as one Sequential.", 1
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "the system allows no further thread (ulimit -u, ulimit -v). Raise the limit, or give --threads 1.", 1
    why = f"This is a fault of gpunn: please report it, with the traceback that {TRACEBACK}=1 shows."
    return f"unexpected {said}{at}. {why}", 1


def _is_the_users(error: GpunnError) -> bool:
    return isinstance(error, UsageError | DataError | DeviceError)


def _describe_system(error: OSError) -> tuple[str, int]:
    """What the system says of a file, or of something else."""
    status = 2 if error.errno in _WRONG_PATHS else 1
    said = error.strerror or str(error) or type(error).__name__
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    if names:
        return f"{' -> '.join(names)}: {said}.{_fix(error.errno)}", status
    return f"the system says: {said}.{_fix(error.errno)}", status


def _fix(number: int | None) -> str:
    if number in (errno.EACCES, errno.EPERM):
        return " Check who may read and write it (ls -l)."
    if number in (errno.ENOSPC, errno.EDQUOT):
        return " Free some space, or choose another place."
    if number in (errno.EMFILE, errno.ENFILE):
        return " Close other programs, or raise the limit (ulimit -n)."
    if number == errno.EFBIG:
        return " It would exceed the limit on the size of files (ulimit -f)."
    return ""


def _users_line(error: BaseException) -> str | None:
    """``net.py, line 12, in forward``: the innermost place in code that is neither ours nor a library's."""
    seen: set[int] = set()
    inner: BaseException | None = error
    while inner is not None and id(inner) not in seen:
        seen.add(id(inner))
        place = _innermost(inner.__traceback__)
        if isinstance(inner, SyntaxError) and inner.filename and not _is_ours(inner.filename):
            place = None  # its own text says file and line
        if place is not None:
            return place
        inner = inner.__cause__
    return None


def _innermost(trace: TracebackType | None) -> str | None:
    found = next(((code, line) for code, line in reversed([*_frames(trace)]) if not _is_a_librarys(code)), None)
    if found is None:
        return None
    code, line = found
    inside = "" if code.co_name == "<module>" else f", in {code.co_name}"
    return f"{_short(code.co_filename)}, line {line}{inside}"


def _frames(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    """Functions and lines that an exception came through, innermost last."""
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno
        if trace.tb_next is None:
            # A forward that is given other arguments than it takes fails in its caller, before its first line.
            module = trace.tb_frame.f_locals.get("self")
            forward = getattr(type(module), "forward", None)
            if trace.tb_frame.f_code.co_name == "__call__" and isinstance(forward, FunctionType):
                yield forward.__code__, forward.__code__.co_firstlineno
        trace = trace.tb_next


def _source(error: BaseException) -> str:
    """The line that raised an exception without a text, such as an assertion."""
    frames = traceback.extract_tb(error.__traceback__)
    return f": {frames[-1].line}" if frames and frames[-1].line else ""


def _is_ours(name: str) -> bool:
    return Path(name).is_relative_to(_HOUSE)


def _is_a_librarys(code: CodeType) -> bool:
    """Whether code belongs to gpunn, Python or an installed package; so does what has no file."""
    name = code.co_filename
    if name.startswith("<") or name.endswith((".pyx", ".pxd", ".pxi")) or _is_ours(name):
        return True
    paths = sysconfig.get_paths()
    homes = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib") if key in paths}
    return any(Path(name).is_relative_to(home) for home in homes)


def _short(name: str) -> str:
    """A file's name as one would type it here: relative where it lies below the working folder."""
    try:
        path: Any = Path(name)
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    except OSError:  # the working folder is gone
        return name
