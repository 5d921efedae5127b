"""Signals that end training after the running step instead of in the middle of it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """Training was ended by a signal, after a step; ``signum`` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class StopSignals:
    """Notes the first signal, for the loop to look at; the second ends the program at once, by an exception.

    Attributes
    ----------
    signum : int
        The signal that came; 0: none.
    """

    def __init__(self) -> None:
        self.signum = 0

    def _came(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            raise Interrupted(signum)
        self.signum = signum

    @contextlib.contextmanager
    def watching(self, signals: Iterable[int]) -> Iterator[None]:
        """Note these signals for the block.

        Only the main thread can. Signals that the program handles in its own way, or that it was told to ignore (as
        nohup does with SIGHUP), are left alone.
        """
        self.signum = 0
        before = {}
        if threading.current_thread() is threading.main_thread():
            for signum in signals:
                if signal.getsignal(signum) in (signal.SIG_DFL, signal.default_int_handler):
                    before[signum] = signal.signal(signum, self._came)
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.signum:
            raise Interrupted(self.signum)
