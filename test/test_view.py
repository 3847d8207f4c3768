"""The operator's page: requests that are checked, a page of its own alone, and a real browser that clicks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import DOMAINS, LIMIT_S

from gsc_ros.link.request import Request
from gsc_ros.view import connections
from gsc_ros.view import server as server_module
from gsc_ros.view.server import Allowance, ViewError, ViewServer, parse_request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_requests_from_a_browser_are_checked() -> None:
    camera, request = parse_request('{"camera": "/front", "max_bytes": 120, "sharpen": true, "caption": "ü"}')
    assert (camera, request) == ("/front", Request(max_bytes=120, sharpen=True, caption="ü"))
    for text in (
        "{", "[]", "7", '{"max_bytes": 5}', '{"camera": "/a", "evil": 1}', '{"camera": "/a", "max_bytes": "5"}',
        '{"camera": "/a", "max_bytes": -5}', '{"camera": "/a", "max_bytes": true}', '{"camera": "/a", "sharpen": 1}',
        '{"camera": "/a", "caption": 5}', '{"camera": 3}', '{"camera": "/a", "caption": "' + 300 * "x" + '"}',
    ):  # fmt: skip
        with pytest.raises(ViewError):
            parse_request(text)


async def served(server: ViewServer, use) -> None:
    ready: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(server.serve("127.0.0.1", 0, ready.put_nowait))
    try:
        await asyncio.wait_for(use(await asyncio.wait_for(ready.get(), LIMIT_S)), LIMIT_S)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_socket_serves_its_own_page_alone_and_keeps_the_last_update() -> None:
    import aiohttp

    asked: list = []
    server = ViewServer(["/front"], lambda camera, request: asked.append((camera, request)))

    async def use(port: int) -> None:
        here = f"http://127.0.0.1:{port}"
        server.publish("caption", "/front", {"text": "<b>"})
        async with aiohttp.ClientSession() as session:
            async with session.get(here) as answer:
                page = await answer.text()
                assert '["/front"]' in page
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(f"{here}/live", headers={"Origin": "http://evil.example"})
            async with session.ws_connect(f"{here}/live", headers={"Origin": here}) as socket:
                assert (await socket.receive_json())["text"] == "<b>"  # published before this browser came
                await socket.send_str("garbage")
                assert (await socket.receive_json())["kind"] == "refused"
                await socket.send_str('{"camera": "/front", "key_frame": true}')
                while not asked:
                    await asyncio.sleep(0.02)
        assert asked == [("/front", Request(key_frame=True))]

    asyncio.run(served(server, use))


def test_a_page_that_is_opened_later_shows_the_age_that_the_picture_has_by_then(monkeypatch) -> None:
    import aiohttp

    server, offset = plain(), [0.0]
    monkeypatch.setattr(server_module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + offset[0]))

    async def use(port: int) -> None:
        async with aiohttp.ClientSession() as session:
            live = functools.partial(session.ws_connect, f"http://127.0.0.1:{port}/live")
            async with live() as socket:
                server.publish("image", "/front", {"data": "", "age_s": 0.5})
                while (first := await socket.receive_json())["kind"] != "image":
                    pass
                assert first["age_s"] == 0.5
            offset[0] = 3600.0  # nothing came for an hour
            async with live() as socket:
                assert (await socket.receive_json())["age_s"] >= 3600.5
                server.publish("image", "/front", {"data": "", "age_s": None})
                while (await socket.receive_json()).get("age_s", 0) is not None:
                    pass
            async with live() as socket:
                assert (await socket.receive_json())["age_s"] is None  # what is not known stays so

    asyncio.run(served(server, use))


def test_what_ended_before_the_server_began_is_told() -> None:
    import aiohttp

    server = plain()
    server.publish("ros", "", {"alive": False, "text": "no node"})

    async def use(port: int) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"http://127.0.0.1:{port}/live") as socket:
                told = await socket.receive_json()
                assert (told["kind"], told["alive"], told["text"]) == ("ros", False, "no node")

    asyncio.run(served(server, use))


def test_an_address_that_is_taken_is_one_line() -> None:
    async def use(port: int) -> None:
        with pytest.raises(ViewError, match=f"127.0.0.1:{port}"):
            await ViewServer([], lambda camera, request: None).serve("127.0.0.1", port, lambda port: None)

    asyncio.run(served(ViewServer([], lambda camera, request: None), use))


async def raw(port: int, sent: bytes, *, source: str | None = None) -> bytes:
    """All that the server answers to ``sent`` until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0) if source else None)
    try:
        writer.write(sent)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def plain() -> ViewServer:
    return ViewServer(["/front"], lambda camera, request: None)


UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"


def test_only_the_names_of_this_server_are_answered() -> None:
    """A page elsewhere whose name is pointed here (DNS rebinding) read pictures and asked things of the robot."""

    async def use(port: int) -> None:
        for path, more, good in (("/", "", b"HTTP/1.1 200"), ("/live", UPGRADE, b"HTTP/1.1 101")):
            for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"LocalHost:{port}", f"[::1]:{port}"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
                assert (await reader.readline()).startswith(good), host
                writer.close()
            for host in ("evil.example", f"evil.example:{port}", "localhost", "127.0.0.1", f"127.0.0.1:{port + 1}", "",
                         f"localhost:{port}.evil.example", f"localhost.evil.example:{port}", f"a@localhost:{port}"):  # fmt: skip
                origin = f"Origin: http://{host}\r\n"
                answer = await raw(port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{origin}{more}\r\n".encode())
                assert answer.split()[1] in (b"421", b"400"), (host, answer[:80])
                assert b"/front" not in answer
            two = f"Host: localhost:{port}\r\nHost: evil.example\r\n"
            for hosts in (two, ""):
                answer = await raw(port, f"GET {path} HTTP/1.1\r\n{hosts}{more}\r\n".encode())
                assert answer.split()[1] in (b"421", b"400"), answer[:80]
            for version in ("1.0", "1.1"):
                answer = await raw(
                    port, f"GET http://evil.example/ HTTP/{version}\r\nHost: evil.example\r\n\r\n".encode()
                )
                assert answer.split()[1] in (b"421", b"400"), answer[:80]

    asyncio.run(served(plain(), use))


def test_on_another_address_the_machines_own_name_is_one_too(monkeypatch) -> None:
    class Transport:
        def __init__(self, address: str) -> None:
            self._address = address

        def get_extra_info(self, name: str) -> tuple[str, int]:
            return self._address, 8047

    monkeypatch.setattr(connections.socket, "gethostname", lambda: "Base.lan")
    for host, address in (("0.0.0.0", "192.0.2.7"), ("192.0.2.7", "192.0.2.7"), ("::", "::ffff:192.0.2.7")):
        names = connections.Names(host)
        for good in ("192.0.2.7:8047", "base.lan:8047", "BASE.local:8047", "localhost:8047"):
            assert names.known(good, Transport(address)), good
        for bad in ("192.0.2.7", "192.0.2.8:8047", "base.lan:80", "evil.example:8047", "base:8047"):
            assert not names.known(bad, Transport(address)), bad
    assert connections.Names("::").known("[fe80::5]:8047", Transport("fe80::5%eth0"))
    assert not connections.Names("127.0.0.1").known("base.lan:8047", Transport("127.0.0.1"))


def test_no_page_may_frame_this_one_and_every_answer_says_so() -> None:
    async def use(port: int) -> None:
        for path, host in (("/", f"localhost:{port}"), ("/nowhere", f"localhost:{port}"), ("/", "evil.example")):
            answer = (await raw(port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())).decode()
            head = answer.partition("\r\n\r\n")[0]
            assert "frame-ancestors 'none'" in head
            assert "X-Frame-Options: DENY" in head

    asyncio.run(served(plain(), use))


def test_a_script_cannot_be_slipped_in_by_a_cameras_name() -> None:
    async def use(port: int) -> None:
        page = await raw(port, f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        assert page.count(b"</script>") == 1
        assert rb"\u003c/script>" in page and b"<!--" not in page.split(b"const cameras")[1].split(b"\n")[0]

    asyncio.run(served(ViewServer(["/a</script><script>alert(1)</script>"], lambda camera, request: None), use))


def test_requests_are_limited_for_each_browser_and_in_all(monkeypatch) -> None:
    """The clock stands still: what was not allowed at once is refused, with a word."""
    import aiohttp

    monkeypatch.setattr(server_module, "Allowance", functools.partial(Allowance, clock=lambda: 0.0))
    asked: list = []

    async def use(port: int) -> None:
        here = f"http://127.0.0.1:{port}/live"
        async with aiohttp.ClientSession() as session:
            for passed in (5, 10, 10):
                before = len(asked)
                async with session.ws_connect(here) as socket:
                    for _ in range(20):
                        await socket.send_str('{"camera": "/front", "key_frame": true}')
                    told = []
                    while len(told) < 20 - (passed - before):
                        update = await socket.receive_json()
                        if update["kind"] == "refused":
                            told.append(update["text"])
                    assert all("too many requests" in text for text in told)
                    assert len(asked) == passed

    asyncio.run(served(ViewServer(["/front"], lambda camera, request: asked.append(request)), use))


def test_an_allowance_fills_up_again() -> None:
    now = [0.0]
    allowance = Allowance(5, clock=lambda: now[0])
    assert [allowance.take() for _ in range(7)] == 5 * [True] + 2 * [False]
    now[0] = 0.4
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    now[0] = 1000.0
    assert sum(allowance.take() for _ in range(99)) == 5


def test_whatever_a_message_makes_of_itself_is_one_short_line() -> None:
    import aiohttp

    def fails(camera: str, request: Request) -> None:
        raise RuntimeError("the publisher\nis gone \x1b[2J" + 5000 * "!")

    async def use(port: int) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"http://127.0.0.1:{port}/live") as socket:
                for text in (
                    4000 * "[",
                    650 * '{"a":',
                    '{"camera": ' + 4000 * "9" + "}",
                    '{"camera": "/front", "sharpen": true}',
                ):
                    await socket.send_str(text)
                    update = await socket.receive_json()
                    while update["kind"] != "refused":
                        update = await socket.receive_json()
                    assert 0 < len(update["text"]) <= 300
                    assert update["text"].isprintable()
                assert "the publisher\\x0ais gone" in update["text"]

    asyncio.run(served(ViewServer(["/front"], fails), use))


def test_half_a_request_ends_and_a_websocket_does_not(monkeypatch) -> None:
    import aiohttp

    monkeypatch.setattr(connections, "LIFE_S", 0.3)

    async def use(port: int) -> None:
        head = f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n"
        post = f"POST / HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 50\r\n\r\nhalf"
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"http://127.0.0.1:{port}/live") as socket:
                halves = [raw(port, data) for data in (b"", b"GET", head.encode(), post.encode())]
                await asyncio.gather(*halves)  # each of them returns: the server has closed it
                for _ in range(3):  # long after a connection that is none would have ended
                    assert (await socket.receive_json())["kind"] == "beat"

    asyncio.run(served(plain(), use))


def test_a_head_without_an_end_is_cut_off() -> None:
    async def use(port: int) -> None:
        head = f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n"
        endless = head + "".join(f"X-{number}: {4000 * 'a'}\r\n" for number in range(1000))
        assert b"200 OK" not in await raw(port, endless.encode())

    asyncio.run(served(plain(), use))


def test_connections_are_limited_for_each_address_and_in_all(monkeypatch) -> None:
    monkeypatch.setattr(connections, "MOST", 6)
    monkeypatch.setattr(connections, "MOST_FROM_ONE", 4)

    async def use(port: int) -> None:
        page = f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()
        begun = b"GET / HTTP/1.1\r\n"
        held = []
        for _ in range(4):
            held.append(await asyncio.open_connection("127.0.0.1", port))
            held[-1][1].write(begun)
        assert await raw(port, page) == b""
        assert b"200 OK" in await raw(port, page, source="127.0.0.2")
        for _ in range(2):
            held.append(await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)))
            held[-1][1].write(begun)
        assert await raw(port, page, source="127.0.0.3") == b""
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        while b"200 OK" not in await raw(port, page):  # as soon as the server has seen them go
            await asyncio.sleep(0.02)

    asyncio.run(served(plain(), use))


def test_what_is_no_http_leaves_no_trace(caplog) -> None:
    async def use(port: int) -> None:
        with caplog.at_level(logging.WARNING):
            for data in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 2000 + b"\r\n\r\n"):
                await raw(port, data)
            await raw(port, f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        assert not caplog.records

    asyncio.run(served(plain(), use))


class Page:
    """A page in headless Chromium at a phone's width, driven through its debugging socket."""

    def __init__(self, socket) -> None:
        self._socket, self._number = socket, 0

    async def call(self, method: str, **parameters):
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            reply = await self._socket.receive_json()
            if reply.get("id") == self._number:
                return reply["result"]

    async def value(self, expression: str):
        return (await self.call("Runtime.evaluate", expression=expression, returnByValue=True))["result"].get("value")

    async def until(self, expression: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until ``expression`` is true."""
        deadline = time.monotonic() + LIMIT_S
        while not await self.value(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            meanwhile()
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def chromium(folder: Path, address: str, meanwhile: Callable[[], object] = lambda: None):
    """The page at ``address`` in a browser of its own."""
    import aiohttp

    browser = subprocess.Popen(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=390,844",
         f"--user-data-dir={folder}", address],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port_file, deadline = folder / "DevToolsActivePort", time.monotonic() + LIMIT_S
        while not port_file.is_file() or not port_file.read_text():
            assert time.monotonic() < deadline, "the browser did not start"
            meanwhile()
            await asyncio.sleep(0.02)
        port = port_file.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                pages = await answer.json(content_type=None)
            target = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            async with session.ws_connect(target, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        browser.kill()
        browser.wait()


STATE = "document.querySelector('#state')"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_says_when_pictures_are_not_live(tmp_path, monkeypatch) -> None:
    """The ROS side ends; the server ends, and comes back; it says nothing any more."""
    visible = f"getComputedStyle({STATE}).display !== 'none'"
    dimmed = "parseFloat(getComputedStyle(document.querySelector('img.image')).opacity) < 0.5"

    async def serve(server: ViewServer, port: int) -> tuple[asyncio.Task, int]:
        ready: asyncio.Queue[int] = asyncio.Queue()
        task = asyncio.create_task(server.serve("127.0.0.1", port, ready.put_nowait))
        return task, await asyncio.wait_for(ready.get(), LIMIT_S)

    async def end(task: asyncio.Task) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def drive() -> None:
        server = plain()
        task, port = await serve(server, 0)
        async with chromium(tmp_path / "profile", f"http://127.0.0.1:{port}") as page:
            await page.until(f"socket !== null && socket.readyState === 1 && !({visible})")
            assert not await page.value(dimmed)
            server.publish("ros", "", {"alive": False, "text": "the node <b>was</b> killed"})
            await page.until(visible)
            assert await page.value(f"{STATE}.textContent") == (
                "The ROS side of this page has ended: the node <b>was</b> killed, pictures are not live"
            )
            assert await page.value(dimmed)
            assert await page.value(f"getComputedStyle({STATE}).backgroundColor") == "rgb(176, 0, 32)"
            await page.value("document.querySelector('[name=sharpen]').click()")
            assert "not asked" in await page.value("document.querySelector('.told').textContent")
            await page.value("location.reload()")  # a browser that comes later is told as well
            await page.until(f"socket !== null && socket.readyState === 1 && {STATE}.textContent.includes('ROS side')")
            server.publish("ros", "", {"alive": True, "text": ""})
            await page.until(f"!({visible}) && !({dimmed})")
            # Ten seconds of the page's own clock, in which nothing is heard.
            await page.value(
                "performance.now = (now => () => now() + 10000)(performance.now.bind(performance)); tell()"
            )
            assert await page.value(visible)
            await page.until(f"!({visible})")
            await end(task)
            await page.until(visible)
            assert "No connection to the base station" in await page.value(f"{STATE}.textContent")
            task, _ = await serve(server, port)
            await page.until(f"!({visible})")
        await end(task)

    asyncio.run(drive())


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_picture_and_a_click_reaches_the_robot(tmp_path, photograph) -> None:
    """From image topics through `gsc view` into headless Chromium at a phone's width, and back as GscRequest."""
    rclpy = pytest.importorskip("rclpy")
    pytest.importorskip("gsc_ros.msg")
    from gsc_ros.msg import GscLink, GscRequest, GscStats
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image
    from std_msgs.msg import String

    from gsc_ros.image_messages import fill_image

    domain = DOMAINS[0]
    context = rclpy.Context()
    context.init(domain_id=domain)
    node = rclpy.create_node("view_test", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    asked: list = []
    node.create_subscription(GscRequest, "/camera/gsc/request", asked.append, QoSProfile(depth=5))
    kinds = {"image_raw": Image, "confidence": Image, "caption": String, "stats": GscStats}
    send = {
        name: node.create_publisher(kind, f"/camera/gsc/{name}", QoSProfile(depth=2)) for name, kind in kinds.items()
    }
    link = node.create_publisher(GscLink, "/gateway/link", QoSProfile(depth=2))
    env = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "gsc_ros.cli.main", "view", "--port", "0"]
    view = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    assert view.stdout is not None
    address = view.stdout.readline().split()[0]

    def publish() -> None:
        message = Image()
        now = time.time_ns() - 2 * 10**9
        message.header.stamp.sec, message.header.stamp.nanosec = now // 10**9, now % 10**9
        send["image_raw"].publish(fill_image(message, photograph, message.header))
        confidence = np.full(photograph.shape[:2], 128, dtype=np.uint8)
        send["confidence"].publish(fill_image(Image(), confidence, message.header))
        send["caption"].publish(String(data="a <b>rover</b> at the gate"))
        send["stats"].publish(GscStats(packet_bytes=123, frames=7))
        link.publish(
            GscLink(
                cameras=["/camera"],
                frames=[9],
                lost=[3],
                replaced=[0],
                late=[0],
                bits_per_second=4000.0,
                received_bits_per_second=2500.0,
            )
        )
        executor.spin_once(timeout_sec=0.05)

    async def drive() -> None:
        deadline = time.monotonic() + LIMIT_S
        async with chromium(tmp_path / "profile", address, publish) as page:
            await page.until("document.querySelector('.age')?.textContent.endsWith(' s')", publish)
            assert await page.value("document.querySelector('img.image').naturalWidth") == photograph.shape[1]
            assert await page.value("getComputedStyle(document.querySelector('.mark')).display") != "none"
            first = float((await page.value("document.querySelector('.age').textContent")).split()[0])
            assert first > 1.5  # the stamp is two seconds old
            while float((await page.value("document.querySelector('.age').textContent")).split()[0]) < first + 0.7:
                assert time.monotonic() < deadline, "the age does not grow"
            assert await page.value("document.querySelector('.caption').textContent") == "a <b>rover</b> at the gate"
            assert "2.50 kbit/s of 4.00 kbit/s" in await page.value("document.querySelector('.link').textContent")
            assert "3 of 12" in await page.value("document.querySelector('.lost').textContent")
            await page.call(
                "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
            )
            assert await page.value("document.documentElement.scrollWidth") <= 390
            assert await page.value("document.querySelector('img.confidence').hidden")
            await page.value("document.querySelector('.overlay').click()")
            assert not await page.value("document.querySelector('img.confidence').hidden")
            await page.value("document.querySelector('[name=sharpen]').click()")
            await page.value("document.querySelector('[data-number=max_bytes] input').value = '90'")
            await page.value("document.querySelector('[data-number=max_bytes] button').click()")
            while len(asked) < 2:
                assert time.monotonic() < deadline, "the click did not arrive"
                publish()
            shot = base64.b64decode((await page.call("Page.captureScreenshot"))["data"])
            (tmp_path / "view.png").write_bytes(shot)

    try:
        asyncio.run(drive())
        assert asked[0].sharpen
        assert asked[0].max_bytes == -1
        assert (asked[1].max_bytes, asked[1].sharpen) == (90, False)
        import cv2

        shot = cv2.imread(str(tmp_path / "view.png"))
        assert shot.shape[1] == 390
        assert shot.std() > 20
        view.send_signal(signal.SIGINT)
        assert view.wait(timeout=LIMIT_S) == 0
        assert "Traceback" not in view.stdout.read()
    finally:
        view.kill()
        view.wait()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def test_numbers_that_json_has_not_reach_no_page() -> None:
    server = ViewServer(["/front"], lambda camera, request: None)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            server.publish("link", "/front", {"received": value})
    assert not server._last
