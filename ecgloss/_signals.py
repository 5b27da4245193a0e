"""Signals that ask a process to end: it says so and ends with the usual code, 128 + the number of the signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")  # of the system, a batch queue or a closed terminal; Ctrl-C stays KeyboardInterrupt


class Stopped(SystemExit):
    """A signal asked the process to end.

    Args:
        number: Of the signal.
        done: What was done about it, a sentence without a full stop; may be empty.

    Example:
        >>> stop = Stopped(15, "saved runs/a")
        >>> str(stop), stop.code
        ('stopped by SIGTERM: saved runs/a', 143)
    """

    def __init__(self, number: int, done: str = "") -> None:
        super().__init__(128 + number)
        self.number, self.done = number, done

    def __str__(self) -> str:
        name = f"stopped by {signal.Signals(self.number).name}"
        return f"{name}: {self.done}" if self.done else name


class StopRequest:
    """Whether a signal has asked to end.

    Attributes:
        number: Of the signal; None: none has come.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._waits = False

    def wait(self) -> None:
        """From now on the work asks; until then a signal ends it at once."""
        self._waits = True

    def come(self, number: int) -> None:
        """A signal has come.

        Raises:
            Stopped: If the work does not ask, or this is the second one.
        """
        if self.number is not None or not self._waits:
            raise Stopped(number)
        self.number = number

    def __bool__(self) -> bool:
        return self.number is not None

    def leave(self, done: str) -> None:
        """End now, if a signal has asked for it.

        Args:
            done: What was done about it.

        Raises:
            Stopped: If a signal has come.
        """
        if self.number is not None:
            raise Stopped(self.number, done)


@contextmanager
def stop_at_once() -> Iterator[None]:
    """Raise :class:`Stopped` where a signal arrives, so that unfinished files are removed."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(stop):
        yield


@contextmanager
def stop_when_asked() -> Iterator[StopRequest]:
    """Remember that a signal has come, for work that ends at a good moment; a second signal ends it at once.

    Before :meth:`StopRequest.wait`, the first one does.

    Yields:
        The request, true once a signal has come.

    Raises:
        Stopped: If the work fails after a signal, which may have ended its helpers as well.
    """
    request = StopRequest()

    with _handled(lambda number, _: request.come(number)):
        try:
            yield request
        except Exception as error:
            if request.number is None:
                raise
            raise Stopped(request.number, "the newest checkpoint is the last one") from error


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals; what was set before is back afterwards. Only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    handled = [number for number, old in before.items() if old is not signal.SIG_IGN and old is not None]  # not nohup's
    for number in handled:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
