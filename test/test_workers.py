"""Work spread over processes and a Ray cluster: in order, whole, whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import LIMIT_S

from gsc_ros.cli.main import run
from gsc_ros.workers import Here, Processes, WorkerDiedError, device, workers


def squared(number: int) -> int:
    return number * number


def where(number: int) -> tuple[int, str]:
    return os.getpid(), device()


def meet(number: int, folder: str) -> tuple[int, str]:
    """Waits until two workers are here."""
    (Path(folder) / str(os.getpid())).touch()
    deadline = time.monotonic() + LIMIT_S
    while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.getpid(), device()


def refused(number: int) -> int:
    raise ValueError(f"{number} is refused")


def dies_once(number: int, folder: str) -> int:
    """Kills its worker the first time that it is called with 3."""
    mark = Path(folder) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order_and_errors_are_raised_here() -> None:
    with workers(jobs=2) as crew:
        assert list(crew.stream(squared, ((n,) for n in range(20)))) == [n * n for n in range(20)]
        with pytest.raises(ValueError, match="7 is refused"):
            list(crew.stream(refused, [(7,)]))
        assert list(crew.stream(squared, [(2,)])) == [4]  # and the crew is as good as before
        assert list(crew.stream(squared, [])) == []
    assert list(Here().stream(squared, [(3,)])) == [9]
    assert isinstance(workers(jobs=1), Here)


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def items():
        for n in range(100):
            taken.append(n)
            yield (n,)

    with workers(jobs=2) as crew:
        results = crew.stream(squared, items())
        assert next(results) == 0
        assert len(taken) == 4  # two for each worker: a long bag is not read into memory


def test_every_device_has_a_process_of_its_own(tmp_path) -> None:
    with Processes(["cpu", "meta"]) as crew:
        found = set(crew.stream(meet, ((n, str(tmp_path)) for n in range(8))))
    assert {name for _, name in found} == {"cpu", "meta"}
    assert len(found) == 2
    assert os.getpid() not in {process for process, _ in found}


@pytest.mark.parametrize("name", ["cuda:7", "gpu"])
def test_a_device_that_is_not_there_is_named(name) -> None:
    with pytest.raises(ValueError, match=f"device '{name}' is not there: cpu"):
        workers(devices=["cpu", name])


def test_a_worker_that_dies_loses_nothing(tmp_path) -> None:
    with Processes(["cpu", "cpu"]) as crew:
        assert list(crew.stream(dies_once, ((n, str(tmp_path)) for n in range(8)))) == list(range(8))
    assert (tmp_path / "died").exists()


def test_work_that_kills_whoever_does_it_is_given_up() -> None:
    with Processes(["cpu"]) as crew:
        results = crew.stream(dies, ((n,) for n in range(8)))
        assert [next(results) for _ in range(2)] == [0, 1]
        with pytest.raises(WorkerDiedError, match="3 worker processes died"):
            list(results)
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two workers, which a command started and which goes on until it is stopped."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        here = Path(__file__).parent
        patch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]))
        running = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        yield running.address
        running.shutdown()


def test_a_cluster_does_the_same_and_a_dead_worker_loses_nothing(cluster, tmp_path) -> None:
    with workers(ray=cluster) as crew:
        assert list(crew.stream(squared, ((n,) for n in range(20)))) == [n * n for n in range(20)]
        found = set(crew.stream(where, ((n,) for n in range(20))))
        assert os.getpid() not in {process for process, _ in found}
        assert {name for _, name in found} == {"cpu"}
        with pytest.raises(ValueError, match=r"^7 is refused$"):
            list(crew.stream(refused, [(7,)]))
        assert list(crew.stream(dies_once, ((n, str(tmp_path)) for n in range(8)))) == list(range(8))
    assert (tmp_path / "died").exists()


def test_an_evaluation_on_a_cluster_says_what_one_here_says(cluster, tmp_path, capsys) -> None:
    image = np.random.default_rng(0).integers(0, 255, (8, 10, 3)).astype(np.uint8)
    images = tmp_path / "images"
    images.mkdir()
    for index in range(3):
        picture = cv2.resize(np.roll(image, index), (200, 170), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(images / f"{index}.png"), picture)
    said = []
    for name, where_to in (("here", ["--jobs", "1"]), ("there", ["--ray", cluster])):
        command = ["eval", "--root", str(images), "--codecs", "nano,webp", "--bytes", "100", *where_to]
        assert run([*command, "--out", str(tmp_path / name)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "| nano | 100 B |" in said[0]


def test_a_cluster_that_is_not_there_is_told() -> None:
    pytest.importorskip("ray")
    for address in ("127.0.0.1:1", "nowhere"):
        with pytest.raises(ValueError, match=f"no Ray cluster at {address}: auto, local"):
            workers(ray=address)
