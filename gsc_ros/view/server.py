"""The web server behind the operator's page: one page, one websocket. It knows nothing of ROS.

node --- publish(update) --> every browser          browser --- request --> on_request(camera, Request)

Whoever reaches the port may be hostile, and so may any page in the operator's browser. What they may do is bounded
here and in connections.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gsc_ros.link.request import Request
from gsc_ros.printable import printable
from gsc_ros.view.connections import Connections, Names

PAGE = Path(__file__).with_name("page.html")
MAX_MESSAGE = 4096  # bytes of what a browser may send
MAX_REFUSAL = 300  # characters of what it is told
REQUESTS = 5  # a second from one browser, as many at once
ALL_REQUESTS = 10  # from all of them
BEAT_S = 0.5  # the page hears something at least so often, or knows that it hears nothing
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
NUMBERS = ("max_bytes", "bits_per_second", "channels")


class ViewError(ValueError):
    """An address that cannot be bound, or a message that asks for nothing known."""


def parse_request(text: str) -> tuple[str, Request]:
    """Camera and request of a browser's message; raises ViewError."""
    try:
        message = json.loads(text)
        known = {"camera", "caption", "sharpen", "key_frame", *NUMBERS}
        if not isinstance(message, dict) or set(message) - known or not isinstance(message.get("camera"), str):
            raise ViewError(f"a request has a camera, and of {', '.join(sorted(known))} what is asked")
        camera = message.pop("camera")
        wrong = [name for name in NUMBERS if name in message and type(message[name]) is not int]
        wrong += [name for name in ("sharpen", "key_frame") if type(message.get(name, False)) is not bool]
        if wrong or not isinstance(message.get("caption", ""), str):
            raise ViewError(f"{', '.join(wrong) or 'caption'}: of another kind than is expected")
        return camera, Request(**message)
    except ViewError:
        raise
    except RecursionError as error:
        raise ViewError("a message nested so deeply is no request") from error
    except ValueError as error:
        raise ViewError(str(error)) from error


class Allowance:
    """At most ``rate`` requests a second, and as many at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._left, self._then = rate, clock()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock()
        self._left, self._then = min(self._rate, self._left + (now - self._then) * self._rate), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class ViewServer:
    """Serves the page. The last update of each kind is kept for browsers that come later.

    An update of kind ``ros``, without a camera, says with ``alive`` (bool) and ``text`` whether the pictures are live.
    """

    def __init__(self, cameras: list[str], on_request: Callable[[str, Request], None]) -> None:
        self._cameras = cameras
        self._on_request = on_request
        self._sockets: dict[Any, asyncio.Queue[str]] = {}
        self._last: dict[tuple[str, str], str] = {}
        self._at: dict[tuple[str, str], float] = {}  # when the last one was published
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all = Allowance(ALL_REQUESTS)

    def publish(self, kind: str, camera: str, content: dict[str, Any]) -> None:
        """Send an update to every browser; may be called from any thread. ValueError: a number that JSON has not."""
        text = json.dumps({"kind": kind, "camera": camera, **content}, allow_nan=False)
        if self._loop is None:
            self._last[kind, camera] = text  # for the first browser
        else:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._spread, (kind, camera), text)

    async def serve(self, host: str, port: int, ready: Callable[[int], None]) -> None:
        """Serve until cancelled; raises ViewError where the address cannot be had."""
        from aiohttp import web

        self._loop = asyncio.get_running_loop()
        self._names = Names(host)

        @web.middleware  # type: ignore[untyped-decorator]
        async def guard(request: Any, handler: Any) -> Any:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/live", self._live)
        logger = logging.getLogger("gsc_ros.view")
        logger.addFilter(_of_ours)
        runner = web.AppRunner(app, access_log=None, logger=logger, shutdown_timeout=1.0)
        await runner.setup()
        self._connections = Connections(runner.server)  # type: ignore[arg-type]
        try:
            server = await self._loop.create_server(self._connections, host, port)
        except (OSError, UnicodeError) as error:
            await runner.cleanup()
            why = getattr(error, "strerror", None) or error
            raise ViewError(f"{host}:{port}: {why}; name another --host or --port") from error
        try:
            ready(server.sockets[0].getsockname()[1])
            while True:
                await asyncio.sleep(BEAT_S)
                for queue in self._sockets.values():
                    if queue.empty():
                        queue.put_nowait('{"kind": "beat"}')
        finally:
            server.close()
            for socket in list(self._sockets):
                await socket.close()
            await runner.cleanup()

    def _spread(self, key: tuple[str, str], text: str) -> None:
        self._last[key], self._at[key] = text, time.monotonic()
        for queue in self._sockets.values():
            _put(queue, text)

    def _aged(self, key: tuple[str, str], text: str) -> str:
        """An update as it is now: a page that is opened later must not show an old picture as a young one."""
        content, now = json.loads(text), time.monotonic()
        if content.get("age_s") is not None:
            content["age_s"] += now - self._at.get(key, now)
        return json.dumps(content)

    async def _guard(self, request: Any, handler: Any) -> Any:
        """Every request passes here: its name is checked, and a connection is for one of them."""
        from aiohttp import web

        hosts = request.headers.getall("Host", [])
        try:
            if len(hosts) != 1 or not self._names.known(hosts[0], request.transport):
                raise web.HTTPMisdirectedRequest(text="this is not the name of this page's server")
            response = await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=error.text)
        if not response.prepared:
            response.headers.update(HEADERS)
            response.force_close()
        return response

    async def _page(self, request: Any) -> Any:
        from aiohttp import web

        cameras = json.dumps(self._cameras).replace("<", "\\u003c")
        text = PAGE.read_text(encoding="utf-8").replace("[]/*cameras*/", cameras)
        return web.Response(text=text, content_type="text/html")

    async def _live(self, request: Any) -> Any:
        from aiohttp import WSMsgType, web

        # Any page in the operator's browser could open a socket to this one: only our own may.
        origin = request.headers.get("Origin")
        if origin is not None and not _same(origin, request.host):
            raise web.HTTPForbidden(text="this socket serves its own page alone")
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=MAX_MESSAGE, compress=False)
        await socket.prepare(request)
        transport, own = request.transport, Allowance(REQUESTS)
        self._connections.stays(transport)
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=max(64, 8 * len(self._cameras)))
        for key, text in self._last.items():
            if not queue.full():
                queue.put_nowait(self._aged(key, text))
        self._sockets[socket] = queue
        sender = asyncio.create_task(self._send(socket, queue))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and (refusal := self._take(message.data, own)):
                    _put(queue, json.dumps({"kind": "refused", "camera": "", "text": refusal}))
        finally:
            sender.cancel()
            del self._sockets[socket]
            self._connections.ends(transport)
        return socket

    def _take(self, text: str, own: Allowance) -> str:
        """Pass a browser's message on; returns why it was refused, in one line, or nothing."""
        if not own.take():
            return f"too many requests: {REQUESTS} a second are passed to the robot; ask again"
        if not self._all.take():
            return f"too many requests: {ALL_REQUESTS} a second from all pages are passed to the robot; ask again"
        try:
            self._on_request(*parse_request(text))
        except Exception as error:  # whatever a message makes of itself: the page goes on
            return printable(str(error) or type(error).__name__)[:MAX_REFUSAL]
        return ""

    @staticmethod
    async def _send(socket: Any, queue: asyncio.Queue[str]) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                await socket.send_str(await queue.get())


def _of_ours(record: logging.LogRecord) -> bool:
    """Whether a line of the log is about a fault of this server: each broken request would leave a traceback there."""
    from aiohttp.http_exceptions import HttpProcessingError

    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _put(queue: asyncio.Queue[str], text: str) -> None:
    """``text`` in the place of the oldest where a browser does not keep up."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(text)


def _same(origin: str, host: str) -> bool:
    """Whether ``origin``, a header that a browser sets, is of the page at ``host``."""
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False
