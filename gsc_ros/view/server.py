"""The web server behind the operator's page: one page, one websocket. It knows nothing of ROS.

node --- publish(update) --> every browser          browser --- request --> on_request(camera, Request)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gsc_ros.link.request import Request

PAGE = Path(__file__).with_name("page.html")
MAX_MESSAGE = 4096  # bytes of what a browser may send
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
    except ValueError as error:
        raise ViewError(str(error)) from error


class ViewServer:
    """Serves the page. The last update of each kind is kept for browsers that come later."""

    def __init__(self, cameras: list[str], on_request: Callable[[str, Request], None]) -> None:
        self._cameras = cameras
        self._on_request = on_request
        self._sockets: dict[Any, asyncio.Queue[str]] = {}
        self._last: dict[tuple[str, str], str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def publish(self, kind: str, camera: str, content: dict[str, Any]) -> None:
        """Send an update to every browser; may be called from any thread."""
        text = json.dumps({"kind": kind, "camera": camera, **content})
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._spread, (kind, camera), text)

    async def serve(self, host: str, port: int, ready: Callable[[int], None]) -> None:
        """Serve until cancelled; raises ViewError where the address cannot be had."""
        from aiohttp import web

        self._loop = asyncio.get_running_loop()
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_get("/live", self._live)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise ViewError(f"{host}:{port}: {error.strerror or error}; name another --host or --port") from error
        try:
            ready(runner.addresses[0][1])
            await asyncio.Event().wait()
        finally:
            for socket in list(self._sockets):
                await socket.close()
            await runner.cleanup()

    def _spread(self, key: tuple[str, str], text: str) -> None:
        self._last[key] = text
        for queue in self._sockets.values():
            if queue.full():  # a browser that does not keep up sees the newest
                queue.get_nowait()
            queue.put_nowait(text)

    async def _page(self, request: Any) -> Any:
        from aiohttp import web

        text = PAGE.read_text(encoding="utf-8").replace("[]/*cameras*/", json.dumps(self._cameras))
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'"
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def _live(self, request: Any) -> Any:
        from aiohttp import WSMsgType, web

        # Any page in the operator's browser could open a socket to this one: only our own may.
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="this socket serves its own page alone")
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=MAX_MESSAGE)
        await socket.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=64)
        for text in self._last.values():
            if not queue.full():
                queue.put_nowait(text)
        self._sockets[socket] = queue
        sender = asyncio.create_task(self._send(socket, queue))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    try:
                        self._on_request(*parse_request(message.data))
                    except ValueError as error:
                        await socket.send_str(json.dumps({"kind": "refused", "camera": "", "text": str(error)}))
        finally:
            sender.cancel()
            del self._sockets[socket]
        return socket

    @staticmethod
    async def _send(socket: Any, queue: asyncio.Queue[str]) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                await socket.send_str(await queue.get())
