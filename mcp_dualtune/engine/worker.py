"""The one thread that owns the model, and the queue between it and async callers.

Owns the thread, the queue and cancellation. Refuses to own: what a job does with the engine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from queue import Full, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Literal, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from mcp_dualtune.errors import Cancelled, DualTuneError, EngineError, ModelLoadError

logger = logging.getLogger(__name__)

T = TypeVar("T")
State = Literal["new", "loading", "ready", "failed", "closed"]
Work = Callable[..., T]
"""`work(built, cancel, *args)`: blocking; looks at `cancel` between steps and raises Cancelled when it is set."""

JOIN_SECONDS = 2.0
"""How long closing waits for a job or a load that does not look at its cancel event."""


class _Job:
    """One call on its way through the thread."""

    def __init__(self, work: Work[Any], args: tuple[Any, ...]) -> None:
        self.work = work
        self.args = args
        self.cancel = Event()
        self.future: Future[Any] = Future()
        self.done = anyio.Event()
        self.token = anyio.lowlevel.current_token()

    def finish(self, error: BaseException | None, value: Any = None) -> None:
        """Hand the outcome to the waiting task; a task that went away is not looked for."""
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)
        if not self.cancel.is_set():
            try:
                anyio.from_thread.run_sync(self.done.set, token=self.token)
            except RuntimeError:
                logger.debug("The event loop of a finished job is gone.")


class EngineWorker:
    """Runs blocking work on an engine, or on what holds engines, that is built and used in one thread only."""

    def __init__(self, build: Callable[[], object], *, queue_size: int = 64, seconds: float = 600.0) -> None:
        """Nothing happens until `start`.

        Args:
            build: loads the model; runs in the worker's thread.
            queue_size: jobs that may wait; one more is turned away.
            seconds: longest time a caller waits for its job, loading included.
        """
        self._build = build
        self._seconds = seconds
        self._queue_size = queue_size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._open: set[_Job] = set()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._state: State = "new"
        self._built: object = None
        self._error: DualTuneError | None = None

    @property
    def state(self) -> State:
        """Where the worker is in its life."""
        return self._state

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._state == "ready"

    @property
    def error(self) -> DualTuneError | None:
        """Why the model could not be loaded."""
        return self._error

    def start(self) -> None:
        """Start loading the model in the background; a second call changes nothing."""
        if self._state == "new":
            self._state = "loading"
            self._thread = Thread(target=self._run, name="dualtune-engine", daemon=True)
            self._thread.start()

    async def run(self, work: Work[T], *args: Any) -> T:
        """Run `work(built, cancel, *args)` in the worker's thread and return what it returns.

        When the awaiting task is cancelled, `cancel` is set and the engine is free at the work's next look at it.

        Raises:
            EngineError: the worker is not running, its queue is full, or the job took too long.
            ModelLoadError: the model could not be loaded.
            Cancelled: the worker was closed meanwhile.
        """
        if self._state in ("new", "closed"):
            raise EngineError("The model is not running.", hint="Use the gateway inside its `async with` block.")
        job = _Job(work, args)
        try:
            self._enqueue(job)
        except Full:
            raise EngineError(
                f"{self._queue_size} requests already wait for the model.", hint="Try again later.", retryable=True
            ) from None
        try:
            with anyio.fail_after(self._seconds):
                await job.done.wait()
        except TimeoutError:
            raise EngineError(
                f"The model gave no answer within {self._seconds:g} seconds.",
                hint="Use a smaller model, or fewer tools.",
                retryable=True,
            ) from None
        finally:
            job.cancel.set()
        if not job.future.done():
            raise Cancelled("The model is shutting down.", hint="Send the request again when the gateway is up.")
        result: T = job.future.result()
        return result

    async def aclose(self) -> None:
        """Cancel what runs and what waits, and end the thread; returns within a few seconds whatever happens."""
        thread, self._state = self._thread, "closed"
        with self._lock:
            waiting = list(self._open)
        for job in waiting:
            job.cancel.set()
            job.done.set()
        self._jobs.put(None)
        if thread is None:
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(thread.join, JOIN_SECONDS)
        if thread.is_alive():
            logger.warning("The model is still busy; its thread ends with the process.")

    def _enqueue(self, job: _Job) -> None:
        with self._lock:
            if len(self._open) > self._queue_size:
                raise Full
            self._open.add(job)
        self._jobs.put(job)

    def _run(self) -> None:
        self._load()
        while (job := self._jobs.get()) is not None:
            self._work(job)
            with self._lock:
                self._open.discard(job)
            # The loop variable must not keep a request alive while the thread sleeps.
            del job

    def _load(self) -> None:
        try:
            self._built = self._build()
        except DualTuneError as error:
            self._error = error
        except Exception as error:
            self._error = ModelLoadError(f"The model could not be loaded: {error}.", hint="Run `dualtune doctor`.")
            self._error.__cause__ = error
        if self._state == "loading":
            self._state = "failed" if self._error else "ready"

    def _work(self, job: _Job) -> None:
        if job.cancel.is_set():
            job.finish(Cancelled("The request was cancelled."))
        elif self._error is not None:
            job.finish(self._error)
        else:
            try:
                value = job.work(self._built, job.cancel, *job.args)
            # Whatever went wrong belongs to the caller; the thread must live on.
            except BaseException as error:
                job.finish(error)
            else:
                job.finish(None, value)
