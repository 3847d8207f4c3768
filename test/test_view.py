"""The operator's page: requests that are checked, a page of its own alone, and a real browser that clicks."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import DOMAINS, LIMIT_S

from gsc_ros.link.request import Request
from gsc_ros.view.server import ViewError, ViewServer, parse_request

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


def test_an_address_that_is_taken_is_one_line() -> None:
    async def use(port: int) -> None:
        with pytest.raises(ViewError, match=f"127.0.0.1:{port}"):
            await ViewServer([], lambda camera, request: None).serve("127.0.0.1", port, lambda port: None)

    asyncio.run(served(ViewServer([], lambda camera, request: None), use))


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
    browser = subprocess.Popen(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=390,844",
         f"--user-data-dir={tmp_path / 'profile'}", address],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

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
        import aiohttp

        port_file = tmp_path / "profile" / "DevToolsActivePort"
        deadline = time.monotonic() + LIMIT_S
        while not port_file.is_file() or not port_file.read_text():
            assert time.monotonic() < deadline, "the browser did not start"
            publish()
        port = port_file.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                pages = await answer.json(content_type=None)
            target = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            async with session.ws_connect(target, max_msg_size=0) as socket:
                number = 0

                async def call(method: str, **parameters):
                    nonlocal number
                    number += 1
                    await socket.send_json({"id": number, "method": method, "params": parameters})
                    while True:
                        reply = await socket.receive_json()
                        if reply.get("id") == number:
                            return reply["result"]

                async def value(expression: str):
                    return (await call("Runtime.evaluate", expression=expression, returnByValue=True))["result"].get(
                        "value"
                    )

                while "s" not in (await value("document.querySelector('.age')?.textContent") or "no").split()[-1:]:
                    assert time.monotonic() < deadline, "no picture on the page"
                    publish()
                assert await value("document.querySelector('img.image').naturalWidth") == photograph.shape[1]
                assert await value("getComputedStyle(document.querySelector('.mark')).display") != "none"
                first = float((await value("document.querySelector('.age').textContent")).split()[0])
                assert first > 1.5  # the stamp is two seconds old
                while float((await value("document.querySelector('.age').textContent")).split()[0]) < first + 0.7:
                    assert time.monotonic() < deadline, "the age does not grow"
                assert await value("document.querySelector('.caption').textContent") == "a <b>rover</b> at the gate"
                assert "2.50 kbit/s of 4.00 kbit/s" in await value("document.querySelector('.link').textContent")
                assert "3 of 12" in await value("document.querySelector('.lost').textContent")
                await call(
                    "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
                )
                assert await value("document.documentElement.scrollWidth") <= 390
                assert await value("document.querySelector('img.confidence').hidden")
                await value("document.querySelector('.overlay').click()")
                assert not await value("document.querySelector('img.confidence').hidden")
                await value("document.querySelector('[name=sharpen]').click()")
                await value("document.querySelector('[data-number=max_bytes] input').value = '90'")
                await value("document.querySelector('[data-number=max_bytes] button').click()")
                while len(asked) < 2:
                    assert time.monotonic() < deadline, "the click did not arrive"
                    publish()
                shot = base64.b64decode((await call("Page.captureScreenshot"))["data"])
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
        for process in (browser, view):
            process.kill()
            process.wait()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
