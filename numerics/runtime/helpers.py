"""Helping processes, which can be started before the imports of whoever needs them, and end with that process.

They are new interpreters that are asked and answer through pipes: the program that needs them is not run again in them
(as `multiprocessing` does it), and the pipe tells them when it has gone, whatever ended it.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from importlib import import_module
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, BinaryIO, ParamSpec, TypeAlias, TypeVar

from ...theory.errors import ExtraWarning
from .collector import collect_rarely

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Process: TypeAlias = "subprocess.Popen[bytes]"
_Work: TypeAlias = tuple["Future[Any]", bytes]  # what to answer, and the pickled call


@contextmanager
def helpers(count: int, module: str) -> Iterator[Helpers | None]:
    """So many processes, none for 0; they import the module that their work needs at once, and end with the block."""
    if count == 0:
        yield None
        return
    with Helpers(count) as pool:
        for _ in range(count):
            with suppress(BrokenExecutor):  # whoever asks finds out
                pool.submit(import_module, module)
        yield pool


class Helpers(Executor):
    """Processes that carry out calls of functions that can be imported.

    One that ends leaves the call that it had with `BrokenExecutor`; once none is left no call is taken any more.
    """

    def __init__(self, count: int) -> None:
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._lock = Lock()
        self._processes: list[_Process] = []
        with suppress(OSError):  # no memory for more of them, or no interpreter: those that there are do it
            for _ in range(count):
                self._processes.append(_started())
        self._alive = len(self._processes)
        self._employers = [Thread(target=self._employ, args=(process,), daemon=True) for process in self._processes]
        for employer in self._employers:
            employer.start()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call ``fn`` in one of the processes; `BrokenExecutor` where none is left."""
        future: Future[_T] = Future()
        call = pickle.dumps((fn, args, kwargs))
        with self._lock:
            if not self._alive:
                raise BrokenExecutor("no helping process is left")
            self._waiting.put((future, call))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes at once, whatever they are doing."""
        with self._lock:
            self._alive = 0
        for process in self._processes:
            process.kill()
        self._leave()
        for employer in self._employers:
            employer.join()

    def _employ(self, process: _Process) -> None:
        """Give a process one call after the other until it has ended."""
        try:
            self._ask_on(process)
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # it may hold what nobody has read
                        pipe.close()
            process.wait()

    def _ask_on(self, process: _Process) -> None:
        while (work := self._waiting.get()) is not None:
            future, call = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = _answer(process, call)
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                with self._lock:
                    self._alive = max(self._alive - 1, 0)
                if not self._alive:
                    self._leave()
                ended = BrokenExecutor("the helping process has ended")
                ended.__cause__ = error
                future.set_exception(ended)
                return
            if isinstance(answer, _Raised):
                future.set_exception(answer.error)
            else:
                future.set_result(answer)

    def _leave(self) -> None:
        """Nobody is left to work: break what waits, and let go whoever waits for it."""
        with suppress(Empty):
            while True:
                if (work := self._waiting.get_nowait()) is not None and work[0].set_running_or_notify_cancel():
                    work[0].set_exception(BrokenExecutor("no helping process is left"))
        for _ in self._processes:
            self._waiting.put(None)


class _Raised:
    """The answer of a call that raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _started() -> _Process:
    """A new process; Ctrl-C is for whoever asks it, who ends it then."""
    program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    command = [sys.executable, "-c", program]
    errors = subprocess.DEVNULL if sys.stderr is None else None
    if sys.platform == "win32":
        group = subprocess.CREATE_NEW_PROCESS_GROUP
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, creationflags=group
        )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited: it is silent from its first moment
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(process: _Process, call: bytes) -> Any:
    """Ask a process; what it returned, or `_Raised`."""
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump(call, process.stdin)  # as bytes: a call that cannot be understood there does not confuse the next
    process.stdin.flush()
    return pickle.loads(pickle.load(process.stdout))


def serve() -> None:
    """What a helping process does: answer calls until whoever asks has gone."""
    calls: SimpleQueue[bytes] = SimpleQueue()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a check prints must not come between the answers
        Thread(target=_listen, args=(sys.stdin.buffer, calls), daemon=True).start()
        collect_rarely()
        warnings.simplefilter("ignore", ExtraWarning)  # whoever asks has said so
        while True:
            answer = _carried_out(calls.get())
            try:
                pickle.dump(answer, answers)
                answers.flush()
            except OSError:
                os._exit(0)


def _listen(source: BinaryIO, calls: SimpleQueue[bytes]) -> None:
    """Take calls while another thread works; the end of the pipe is the end of whoever asks, and of this process."""
    try:
        while True:
            calls.put(pickle.load(source))
    except (OSError, EOFError, pickle.UnpicklingError):
        os._exit(0)


def _carried_out(call: bytes) -> bytes:
    try:
        function, arguments, options = pickle.loads(call)
        return pickle.dumps(function(*arguments, **options))
    except Exception as error:
        try:
            return pickle.dumps(_Raised(error))
        except Exception:
            return pickle.dumps(_Raised(RuntimeError(str(error))))
