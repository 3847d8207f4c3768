"""Where heavy work is done: processes of this machine, each with a device of its own, or a Ray cluster.

items --> as many at once as there are workers --> results, in the order of the items

The work is a function of a module and what it is called with, so that it can be sent anywhere. A worker that dies loses
nothing: what it was given is given to another.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Protocol

MOST_DEATHS = 3  # of workers, one after the other, with nothing done between: then the work itself is deadly
AHEAD = 2  # items given out for each worker

_device = "cpu"


def device() -> str:
    """Where the worker that asks should put its models."""
    return _device


class WorkerDiedError(RuntimeError):
    """Workers died again and again over the same work."""


class Workers(Protocol):
    """Something that does work, and is closed after use."""

    def stream(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """``function(*item)`` for each item, in their order; what the function raises is raised here."""
        ...

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def workers(*, jobs: int = 1, devices: Sequence[str] = (), ray: str | None = None) -> Workers:
    """Processes, one for each of ``devices``, or ``jobs`` of them on the CPU (one: this process); with ``ray`` those of that cluster.

    ``ray`` is the address of a cluster, or ``local`` for one that is started here and ends with the work.
    Raises ValueError with one line for a device that is not there or a cluster that does not answer.
    """
    if ray is not None:
        return RayWorkers(ray)
    if devices:
        check(devices)
    elif jobs == 1:
        return Here()
    return Processes(list(devices) or ["cpu"] * jobs)


def check(devices: Sequence[str]) -> None:
    """Raise ValueError with one line for a device that torch does not have."""
    import torch

    for name in devices:
        try:
            torch.empty(1, device=name)
        except (RuntimeError, AssertionError) as error:
            count = torch.cuda.device_count()
            here = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
            raise ValueError(f"device {name!r} is not there: {here} can be named") from error


class Here:
    """This process alone."""

    def stream(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        return (function(*item) for item in items)

    def __enter__(self) -> Here:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Processes:
    """Processes of this machine. They are spawned: a fork of a process that has used torch hangs."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = list(devices)
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        free = context.SimpleQueue()
        for name in self._devices:
            free.put(name)
        threads = max(1, (os.cpu_count() or 1) // len(self._devices))
        return ProcessPoolExecutor(
            len(self._devices), mp_context=context, initializer=_settle, initargs=(free, threads)
        )

    def stream(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        given: deque[tuple[tuple[Any, ...], Future[Any]]] = deque()
        deaths = 0

        def oldest() -> Any:
            nonlocal deaths
            while True:
                try:
                    result = given[0][1].result()
                except BrokenProcessPool as error:
                    deaths += 1
                    if deaths >= MOST_DEATHS:
                        raise WorkerDiedError(
                            f"{deaths} worker processes died one after the other, for want of memory perhaps: use fewer"
                        ) from error
                    self._pool.shutdown(wait=False, cancel_futures=True)
                    self._pool = self._start()
                    again = [(item, self._pool.submit(function, *item)) for item, _ in given]
                    given.clear()
                    given.extend(again)
                else:
                    deaths = 0
                    given.popleft()
                    return result

        for item in items:
            try:
                given.append((item, self._pool.submit(function, *item)))
            except BrokenProcessPool as error:
                broken: Future[Any] = Future()
                broken.set_exception(error)
                given.append((item, broken))
            if len(given) >= AHEAD * len(self._devices):
                yield oldest()
        while given:
            yield oldest()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)


def _settle(free: Any, threads: int) -> None:
    """A worker takes a device, and no more threads than its share."""
    import cv2
    import torch

    global _device
    _device = free.get()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


class RayWorkers:
    """The workers of a Ray cluster, which must have this package and see the same folders. Ray gives what a dead worker had to another."""

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError as error:
            raise ValueError("work on a cluster needs ray: pip install 'gsc-ros[cluster]'") from error
        self._ray: Any = ray
        _reach(address)
        try:
            ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(f"no Ray cluster at {address}: {str(error).strip().splitlines()[0]}") from error
        resources = ray.cluster_resources()
        self._gpus = int(resources.get("GPU", 0))
        self._count = self._gpus or max(1, int(resources.get("CPU", 1)))

    def stream(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        options = {"max_retries": MOST_DEATHS, "num_cpus": 1, "num_gpus": 1 if self._gpus else 0}
        remote = self._ray.remote(**options)(_on_cluster)
        given: deque[Any] = deque()

        def oldest() -> Any:
            try:
                return self._ray.get(given.popleft())
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.NodeDiedError) as error:
                raise WorkerDiedError(
                    f"{MOST_DEATHS + 1} workers of the cluster died over the same work, for want of memory perhaps"
                ) from error

        for item in items:
            given.append(remote.remote(function, item))
            if len(given) >= AHEAD * self._count:
                yield oldest()
        while given:
            yield oldest()

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()


def _reach(address: str) -> None:
    """Raise ValueError with one line where nothing listens at ``address``, for which Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address in ("local", "auto"):
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Ray cluster at {address}: auto, local, HOST:PORT or ray://HOST:PORT of one that runs ({error})"
        ) from error


def _on_cluster(function: Callable[..., Any], item: tuple[Any, ...]) -> Any:
    import ray
    import torch

    global _device
    _device = "cuda:0" if ray.get_gpu_ids() else "cpu"  # Ray shows a worker no GPU but its own
    torch.set_num_threads(1)
    return function(*item)
