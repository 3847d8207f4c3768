"""The full-size system's parts, tiny, behind the real nodes: camera topic in, caption and generated picture out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import DOMAINS

pytest.importorskip("rclpy")
pytest.importorskip("gsc_ros.msg")

from sensor_msgs.msg import Image
from std_msgs.msg import String
from test_gateway import Camera, Side, stamp_of, until

from gsc_ros.image_messages import read_image

START = """
import sys
sys.path.insert(0, {tests!r})
import tiny
tiny.make_torchvision_importable()
from gsc_ros.nodes.{node} import main
main()
"""


class PaperSide(Side):
    """Starts nodes where torchvision belongs to another build of torch."""

    def start(self, node: str, *parameters: str) -> None:
        arguments = [part for parameter in parameters for part in ("-p", parameter)]
        program = START.format(tests=str(Path(__file__).parent), node=node)
        with (self.folder / f"{self.name}_{node}.log").open("ab") as out:
            self.processes[node] = subprocess.Popen(
                [sys.executable, "-c", program, "--ros-args", *arguments],
                stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "ROS_DOMAIN_ID": str(self.domain)},
            )  # fmt: skip


def test_the_nodes_run_the_profile_paper(calibrated, tiny_flux, tmp_path, photograph) -> None:
    import cv2
    import tiny

    shutil.copytree(calibrated, tmp_path / "paper")
    tiny.save_qwen(tmp_path / "paper" / "qwen")
    path = tmp_path / "paper" / "profile.yaml"
    content = yaml.safe_load(path.read_text())
    content["flux"] = {"base": str(tiny_flux), "control": "", "dtype": "float32", "max_text_tokens": 16}
    content["captioner"] = {"name": "qwen_vl", "model": "qwen", "dtype": "float32", "most_tokens": 4}
    content["defaults"]["steps"] = 2
    path.write_text(yaml.safe_dump(content))
    os.environ["ROS_LOG_DIR"] = str(tmp_path)
    side = PaperSide(tmp_path, "one", DOMAINS[0])
    try:
        side.start("compressor", f"profile:={path}", "caption_mode:=model", "memory:='off'", "max_bytes_per_frame:=300")
        side.start("reconstructor", f"profile:={path}", "mark:=false", "max_age_s:=30.0")
        shown, captions = side.hear(Image, "/camera/gsc/image_raw"), side.hear(String, "/camera/gsc/caption")
        camera = Camera(side, cv2.resize(photograph, (128, 96), interpolation=cv2.INTER_AREA))

        def alive() -> None:
            camera.tick()
            side.spin()
            for node, process in side.processes.items():
                assert process.poll() is None, side.log(node)

        until(lambda: len(shown) > 2 and any(caption.data for caption in captions), "pictures with a caption", alive)
        assert all(stamp_of(message) in camera.stamps for message in shown)
        assert read_image(shown[-1]).shape == (96, 128, 3)
        for node in list(side.processes):
            assert side.stop(node) == 0, side.log(node)
            assert "Traceback" not in side.log(node)
    finally:
        side.close()
