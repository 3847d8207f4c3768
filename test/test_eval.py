"""`gsc eval`: datasets found or refused, peers within their bytes, runs that go on, tables that say what was measured."""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny

from gsc_ros.cli.main import run
from gsc_ros.evaluation import codings, datasets, peers
from gsc_ros.evaluation import report as eval_report
from gsc_ros.evaluation import run as eval_run
from gsc_ros.evaluation.bd_rate import difference
from gsc_ros.evaluation.coded import Setting
from gsc_ros.evaluation.metrics import ALWAYS, PERCEPTUAL, gradient_energy, gradient_ratio, ms_ssim
from gsc_ros.workers import Here, Processes

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
real_samples = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not beside the project")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    from gsc_ros.sources import moving_photographs

    folder = tmp_path_factory.mktemp("photographs")
    for index, image in enumerate(moving_photographs((320, 240))):
        if index % 8 == 0:
            cv2.imwrite(str(folder / f"{index:02d}.png"), image[:, :, ::-1])
    return folder


def file(path: Path, size: tuple[int, int] = (40, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.arange(size[0] * size[1] * 3, dtype=np.uint32).reshape(size[1], size[0], 3) % 251
    cv2.imwrite(str(path), image.astype(np.uint8))
    return path


LAYOUTS = {
    "camvid": ["images/0001.png", "images/0002.png"],
    "cityscapes": ["leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png"],
    "coco": ["val2017/000000000139.png", "val2017/000000000285.png"],
    "folder": ["a.png", "below/b.png"],
    "hypersim": ["ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg"],
    "kitti": ["2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png"],
    "kodak": [f"kodim{number:02d}.png" for number in range(1, 25)],
    "rgbd": ["rgb/0.png"],
    "yamaha": ["iid1/rgb.jpg", "iid2/rgb.jpg"],
}


@pytest.mark.parametrize("name", sorted(datasets.DATASETS))
def test_a_dataset_is_found_in_its_layout_and_refused_elsewhere(tmp_path, name) -> None:
    for entry in LAYOUTS[name]:
        file(tmp_path / "right" / entry)
    file(tmp_path / "right" / "labels" / "mask.pgm") if name == "camvid" else None
    found = datasets.pictures(name, tmp_path / "right")
    assert [picture.name for picture in found] == sorted(LAYOUTS[name])
    assert found[0].read().shape == (20, 40, 3)
    (tmp_path / "wrong" / "nothing").mkdir(parents=True)
    with pytest.raises(ValueError, match="wrong: "):
        datasets.pictures(name, tmp_path / "wrong")
    with pytest.raises(ValueError, match="--root"):
        datasets.pictures(name, tmp_path / "absent")


def test_kitti_is_cut_at_its_lower_edge_and_coco_by_a_list_of_ids(tmp_path) -> None:
    path = file(tmp_path / "kitti" / "image_02" / "0.png", (1242, 375))
    (picture,) = datasets.pictures("kitti", tmp_path / "kitti")
    whole = cv2.imread(str(path))[:, :, ::-1]
    assert np.array_equal(picture.read(), whole[23:, 13:1229])
    for number in (139, 285, 632):
        file(tmp_path / "coco" / f"{number:012d}.png")
    (tmp_path / "coco" / "ids.txt").write_text("632\n000000000139.jpg\n")
    assert [p.path.stem for p in datasets.pictures("coco", tmp_path / "coco")] == ["000000000632", "000000000139"]
    (tmp_path / "coco" / "ids.txt").write_text("632 7\n")
    with pytest.raises(ValueError, match="1 of 2 images are not there, 000000000007"):
        datasets.pictures("coco", tmp_path / "coco")


@real_samples
@pytest.mark.parametrize(
    ("name", "place", "count", "size"),
    [
        ("kodak", "kodak", 24, (512, 768)),
        ("kitti", "val/kitti_raw", 26, (352, 1216)),
        ("camvid", "val/camvid", None, None),
        ("cityscapes", "val/cityscapes_samples", 4, None),
        ("coco", "val/coco", 127, None),
        ("rgbd", "val/rgbd_indoor", None, None),
        ("yamaha", "val/yamaha_offroad", None, None),
    ],
)
def test_real_samples_are_found(name, place, count, size) -> None:
    found = datasets.pictures(name, SHARED / place)
    assert len(found) == count if count else len(found) > 2
    image = found[0].read()
    assert image.shape[:2] == size if size else min(image.shape[:2]) > 100


@pytest.mark.parametrize("name", sorted(peers.PEERS))
def test_a_peer_keeps_the_bytes_allowed_and_picks_its_best_way(photograph, name) -> None:
    view = photograph[:240, :320]
    found = peers.candidates(view, name, 700)
    chosen = peers.best(found, 700)
    assert chosen.bytes <= 700
    assert chosen.bytes <= chosen.file_bytes
    assert chosen.picture.shape == view.shape
    fitting = [ms_ssim(view, candidate.picture) for candidate in found if candidate.bytes <= 700]
    assert ms_ssim(view, chosen.picture) == max(fitting)
    assert len(fitting) >= 2
    assert max(fitting) > 0.4


def test_an_unknown_codec_measure_or_dataset_is_named(capsys, photographs, tmp_path) -> None:
    for options, said in (
        (["--codecs", "jpeg2001"], "codec 'jpeg2001'"),
        (["--codecs", "nano:realsim=1"], "'realsim' is none of realism, steps"),
        (["--codecs", "nano:steps=many"], "steps 'many' is not a number"),
        (["--codecs", "nano:noise=pink"], "noise 'pink' is not matched"),
        (["--measures", "beauty"], "measure 'beauty'"),
        (["--dataset", "cifar"], "dataset 'cifar'"),
        (["--match", "vvc"], "match 'vvc'"),
        (["--anchor", "vvc"], "--anchor vvc"),
        (["--tasks", "detection"], "belong together"),
        (["--tasks", "driving"], "--tasks driving"),
        (["--bytes", "3oo"], "--bytes 3oo"),
    ):
        assert run(["eval", "--root", str(photographs), "--out", str(tmp_path), *options]) != 0
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_a_run_writes_real_bytes_and_goes_on_where_it_was_stopped(photographs, tmp_path, capsys) -> None:
    command = ["eval", "--root", str(photographs), "--bytes", "60,130", "--jobs", "2", "--out", str(tmp_path)]
    command += ["--codecs", "nano,webp", "--anchor", "webp"]
    assert run(command) == 0
    printed = capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [(row["codec"], row["setting"]) for row in summary["rows"]] == [
        ("nano", "60 B"), ("nano", "130 B"), ("webp", "60 B"), ("webp", "130 B"),
    ]  # fmt: skip
    for row in summary["rows"][:2]:
        assert row["over"] == 0 and row["bytes"] > 0.9 * int(row["setting"].split()[0])
    assert summary["rows"][1]["ms_ssim"] > summary["rows"][0]["ms_ssim"]
    assert "| nano | 130 B |" in printed
    images = list(csv.DictReader((tmp_path / "images.csv").open()))
    assert len(images) == 4 * len(list(photographs.iterdir()))
    code = codings.coding("nano", most=300)
    one = next(row for row in images if row["codec"] == "nano" and row["setting"] == "130 B")
    coded = code(datasets.read_file(photographs / one["image"]), Setting(130), "")
    assert coded.bytes == int(one["bytes"])
    assert (tmp_path / "quality.tex").read_text().count(r"\textbf{") >= 2 * 4
    assert (tmp_path / "quality.svg").stat().st_size > 10_000
    assert cv2.imread(str(tmp_path / "quality.png")) is not None
    sheets = sorted((tmp_path / "pictures").iterdir())
    assert [sheet.stem for sheet in sheets] == sorted(path.stem for path in photographs.iterdir())[:3]
    assert cv2.imread(str(sheets[0])).shape[1] > 3 * 320  # the original, nano, webp
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").glob("*.json")}
    lost = min(records)
    lost.unlink()
    command[command.index("--jobs") + 1] = "1"
    assert run(command) == 0
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").glob("*.json")}
    assert after.keys() == records.keys()
    assert [path for path in after if after[path] != records[path]] == [lost]
    next(path for path in lost.parent.iterdir() if path.is_dir()).joinpath("0.png").unlink()
    assert run(command) == 0  # a picture that is gone is made again
    assert all(
        (tmp_path / "records" / path.stem / "0.png").is_file() for path in lost.parent.iterdir() if path.is_dir()
    )
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert run([*command, "--measures", "psnr"]) == 0  # another question: nothing of before answers it
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert "ms_ssim" not in rows[0]
    assert rows[0]["psnr"] == summary["rows"][0]["psnr"]


def test_a_run_goes_on_after_a_worker_was_killed(photographs, tmp_path) -> None:
    found = datasets.pictures("folder", photographs)
    asked = plan(settings=(Setting(60),))
    killed = []

    def kill_after_the_first() -> None:
        if not killed:
            killed.extend(multiprocessing.active_children())
            for child in killed:
                child.kill()

    with Processes(["cpu"]) as crew:
        rows = eval_run.run(asked, found, ["webp", "jpeg2000"], tmp_path, crew=crew, done=kill_after_the_first)
    assert killed
    assert [(row["codec"], row["image"]) for row in rows] == [
        (codec, picture.name) for codec in ("webp", "jpeg2000") for picture in found
    ]


def test_work_that_kills_every_worker_is_told_and_what_was_measured_is_kept(photographs, tmp_path) -> None:
    found = datasets.pictures("folder", photographs)
    asked = plan(settings=(Setting(60),))

    def kill() -> None:
        while not over.is_set():
            for child in multiprocessing.active_children():
                child.kill()
            over.wait(0.01)

    over = threading.Event()
    killer = threading.Thread(target=kill, daemon=True)

    def then_kill() -> None:
        if not killer.is_alive():
            killer.start()

    with Processes(["cpu"]) as crew:
        with pytest.raises(ValueError, match=r"3 worker processes died.*goes on there"):
            eval_run.run(asked, found, ["webp", "jpeg2000"], tmp_path, crew=crew, done=then_kill)
        over.set()
    killer.join()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").glob("*.json")}
    assert 1 <= len(kept) < 2 * len(found)
    rows = eval_run.run(asked, found, ["webp", "jpeg2000"], tmp_path, crew=Here(), done=lambda: None)
    assert len(rows) == 2 * len(found)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())


def test_images_that_cannot_be_read_are_left_out_and_told(photographs, tmp_path, capsys) -> None:
    root = tmp_path / "images"
    shutil.copytree(photographs, root)
    whole = next(root.iterdir()).read_bytes()
    (root / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "._hidden.png").write_bytes(b"of another system")
    options = [
        "--codecs",
        "jpeg",
        "--bytes",
        "600",
        "--measures",
        "psnr",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    for _ in range(2):  # the second time from what is kept
        assert run(["eval", "--root", str(root), *options]) == 0
        captured = capsys.readouterr()
        assert captured.err.count("left out: ") == 1 and "cut.png left out" in captured.err
        assert captured.out.count("| 0 of 3 |") == 1
    for path in root.glob("[!c]*.png"):
        path.unlink()
    assert run(["eval", "--root", str(root), *options]) == 1
    assert "none of 1 images can be read" in capsys.readouterr().err


def test_results_below_the_images_are_not_images(photographs, tmp_path, capsys) -> None:
    for path in sorted(photographs.iterdir())[:2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    command = [
        "eval",
        "--root",
        str(tmp_path),
        "--codecs",
        "nano",
        "--bytes",
        "60",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    said = []
    for _ in range(2):
        assert run(command) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "0 of 2" in said[0]


def test_what_another_program_made_is_read_from_its_folder(photographs, tmp_path) -> None:
    picture = datasets.pictures("folder", photographs)[0]
    image, name = picture.read(), picture.path.stem
    for point, grey, sent in (("low", 60, 50), ("middle", 120, 110), ("high", 200, 290)):
        (tmp_path / point).mkdir()
        cv2.imwrite(str(tmp_path / point / f"{name}.png"), np.full_like(image, grey))
        (tmp_path / point / f"{name}.bin").write_bytes(bytes(sent))
    asked = plan(settings=(Setting(20), Setting(130), Setting(300)), measures=("psnr",))
    codec = f"PerCo@{tmp_path}"
    codings.check(["nano", codec])
    rows = eval_run.measure(asked, codec, picture).rows
    assert [(row["codec"], row["bytes"]) for row in rows] == [("PerCo", 50), ("PerCo", 110), ("PerCo", 290)]
    code = codings.coding(codec, most=300)
    assert [code(image, Setting(size), name).picture[0, 0, 0] for size in (20, 130, 300)] == [60, 120, 200]
    before = asked.key(codec, picture)
    (tmp_path / "low" / "bytes.json").write_text(json.dumps({name: 17}))
    assert asked.key(codec, picture) != before  # another size: the result of before does not answer
    assert code(image, Setting(20), name).bytes == 17
    for wrong, said in (
        (lambda: code(image[:40], Setting(20), name), "is 320x240, the original 320x40"),
        (lambda: code(image, Setting(20), "other"), "high: neither other.bin"),
        (lambda: codings.check([f"PerCo@{tmp_path / 'nowhere'}"]), "NAME@DIR names a folder"),
        (lambda: codings.check(["av1", f"av1@{tmp_path}"]), "two of them have the same name"),
    ):
        with pytest.raises(ValueError, match=said):
            wrong()
    (tmp_path / "middle" / f"{name}.bin").unlink()
    with pytest.raises(ValueError, match=f"neither {name}.bin"):
        code(image, Setting(20), name)


def plan(**changes) -> eval_run.Plan:
    fields = {"settings": (Setting(400),), "measures": ("psnr", "ms_ssim")}
    return eval_run.Plan(**fields | changes)


def test_matched_bytes_are_the_first_codecs(photographs, tmp_path) -> None:
    rows = eval_run.run(
        plan(settings=(Setting(150),), match="av1"),
        datasets.pictures("folder", photographs),
        ["nano", "av1"],
        tmp_path,
        crew=Here(),
        done=lambda: None,
    )
    spent = {row["image"]: row["bytes"] for row in rows if row["codec"] == "av1"}
    for row in rows:
        assert 0.7 * spent[row["image"]] < row["bytes"] <= spent[row["image"]]


def test_bd_rates_are_of_budgets_and_not_of_channel_counts(photographs) -> None:
    found = datasets.pictures("folder", photographs)[:2]
    budgets = plan(settings=(Setting(60), Setting(130)))
    counts = plan(settings=(Setting(130, 4), Setting(130, 8)))
    for asked, expected in ((budgets, 2), (counts, 0)):
        names = ("nano", "nano:selection=rate")
        rows = [row for name in names for picture in found for row in eval_run.measure(asked, name, picture).rows]
        assert len(eval_report.differences(rows, "nano")) == expected
        rows += [row for picture in found for row in eval_run.measure(asked, "original", picture).rows]
        assert len(eval_report.differences(rows, "nano")) == expected  # the images themselves are on no curve


def test_options_of_ours_reach_the_coder(photographs) -> None:
    view = datasets.pictures("folder", photographs)[0].read()
    names = ("nano", "nano:selection=ssim", "nano:realism=1", "nano:realism=1:seed=3", "nano:realism=1:steps=1")
    coded = {
        name: codings.coding(name, most=130)(view, Setting(130), "") for name in (*names, "nano:caption=descriptor")
    }
    pictures = [entry.picture.tobytes() for entry in coded.values()]
    assert len(set(pictures)) == len(pictures)
    detail = {name: gradient_energy(entry.picture) for name, entry in coded.items()}
    assert detail["nano:realism=1"] > 1.1 * detail["nano"]


def test_a_result_is_measured_anew_where_a_default_of_the_profile_has_changed(photographs, tmp_path) -> None:
    import yaml

    from gsc_ros.profiles import load_profile

    profile = load_profile("nano")
    picture = datasets.pictures("folder", photographs)[0]
    source = Path(__file__).resolve().parents[1] / "config" / "profiles" / "nano.yaml"
    content = yaml.safe_load(source.read_text()) | {"weights": str(profile.weights)}
    path = tmp_path / "mine.yaml"
    keys = []
    for steps in (4, 2, 4):
        path.write_text(yaml.safe_dump(content | {"defaults": content["defaults"] | {"steps": steps}}))
        keys.append(plan().key(str(path), picture))
    assert keys[0] == keys[2] != keys[1]


def test_a_result_is_measured_anew_where_the_generator_has_changed(photographs, tmp_path) -> None:
    """What both ends share is the same, and so is the fingerprint: only the base paints otherwise."""
    import shutil

    import yaml

    from gsc_ros.profiles import load_profile, write_sha256

    shipped = load_profile("nano")
    content = yaml.safe_load((Path(__file__).resolve().parents[1] / "config" / "profiles" / "nano.yaml").read_text())
    path, weights = tmp_path / "mine.yaml", tmp_path / "weights"
    path.write_text(yaml.safe_dump(content | {"weights": str(weights)}))
    shutil.copytree(shipped.weights, weights)
    picture = datasets.pictures("folder", photographs)[0]
    before = plan().key(str(path), picture)
    assert plan().key(str(path), picture) == before
    flow = weights / "flow.safetensors"
    flow.write_bytes(flow.read_bytes()[:-1] + b"\x01")
    write_sha256(path)
    assert load_profile(path).fingerprint == shipped.fingerprint
    assert plan().key(str(path), picture) != before


def test_a_task_is_asked_anew_where_its_model_or_the_truth_has_changed(photographs, tmp_path) -> None:
    picture = datasets.pictures("folder", photographs)[0]
    model, labels = tmp_path / "model", tmp_path / "labels.png"
    model.mkdir()
    (model / "config.json").write_text("{}")
    labels.write_bytes(b"1")
    asked = plan(tasks=(("segmentation", model),))
    labelled = replace(picture, label_file=labels)
    keys = [asked.key("nano", picture), asked.key("nano", labelled)]
    keys.append(asked.key("nano", replace(picture, boxes=(datasets.Box("car", (0, 0, 1, 1)),))))
    labels.write_bytes(b"22")
    keys.append(asked.key("nano", labelled))
    (model / "config.json").write_text("{ }")
    keys += [asked.key("nano", labelled), asked.key("nano", picture)]
    assert len(set(keys)) == len(keys)
    without = plan()  # no task, no model, no truth: nothing of that matters
    assert without.key("nano", labelled) == without.key("nano", picture)


def test_only_the_first_words_of_a_caption_are_sent(photographs) -> None:
    view = datasets.pictures("folder", photographs)[0].read()
    start = "nano:realism=1:steps=1:caption="
    names = ("off", "descriptor:words=0", "descriptor:words=2", "descriptor")
    silent, none, two, whole = (
        codings.coding(start + name, most=130)(view, Setting(130), "").picture for name in names
    )
    assert np.array_equal(none, silent)
    assert not np.array_equal(two, silent)
    assert not np.array_equal(two, whole)


def test_at_most_c_channels_are_spent(photographs) -> None:
    picture = datasets.pictures("folder", photographs)[0]
    few, whole = eval_run.measure(plan(settings=(Setting(400, 1), Setting(400))), "nano", picture).rows
    assert few["setting"] == "400 B, C=1"
    assert few["bytes"] < 0.5 * whole["bytes"]
    assert few["ms_ssim"] < whole["ms_ssim"]
    (peer,) = eval_run.measure(plan(settings=(Setting(400, 1), Setting(400, 4))), "jpeg", picture).rows
    assert peer["setting"] == "400 B"  # channels are ours


@real_samples
def test_a_detector_agrees_with_itself_and_less_with_what_was_coded(tmp_path) -> None:
    detector = SHARED / "instruments" / "yolox_nano.onnx"
    found = datasets.pictures("coco", SHARED / "val" / "coco")[:6]
    asked = plan(settings=(Setting(200), Setting(3000)), tasks=(("detection", detector),))
    rows = [row for picture in found for row in eval_run.measure(asked, "nano", picture).rows]
    coarse, fine = eval_report.summarise(rows)
    assert coarse["detector_agreement"] < fine["detector_agreement"] < 1.0
    assert coarse["detection_map50"] < fine["detection_map50"]
    originals = [
        row
        for picture in found
        for row in eval_run.measure(replace(asked, settings=(Setting(1),)), "original", picture).rows
    ]
    (best,) = eval_report.summarise(originals)
    assert best["detector_agreement"] == 1.0 and best["bytes"] == 0
    assert fine["detection_map"] < best["detection_map"]
    assert fine["detection_recall"] < best["detection_recall"]


def test_a_learned_measure_without_its_weights_is_told_in_one_line(photographs, tmp_path, monkeypatch, capsys) -> None:
    import torch

    tiny.make_torchvision_importable()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*arguments, **named):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    command = ["eval", "--root", str(photographs), "--codecs", "nano", "--bytes", "60", "--out", str(tmp_path / "out")]
    for name in ("lpips", "dists"):
        assert run([*command, "--measures", name]) == 1
        error = capsys.readouterr().err
        assert f"{tmp_path}/hub/checkpoints" in error and f"{name}_weights.pt" in error and "no route to host" in error
        assert error.count("\n") == 1


def test_measures_know_better_from_worse(photograph) -> None:
    tiny.make_torchvision_importable()
    view = photograph[:240, :320]
    slight, strong = (cv2.GaussianBlur(view, (0, 0), sigma) for sigma in (0.7, 4.0))
    for name, measure in (ALWAYS | PERCEPTUAL).items():
        if name in PERCEPTUAL:
            pytest.importorskip("piq")
        close, far = measure(view, slight), measure(view, strong)
        better = close < far if name in eval_report.LESS_IS_BETTER else close > far
        assert better, (name, close, far)


def test_gradient_energy_is_linear_in_contrast_and_falls_with_blur(photograph) -> None:
    whole = gradient_energy(photograph)
    assert gradient_energy(photograph // 2) == pytest.approx(whole / 2, rel=0.1)
    assert gradient_energy(cv2.blur(photograph, (9, 9))) < 0.5 * whole


def test_matched_noise_has_the_originals_gradient_and_no_colour(photograph) -> None:
    """The control of every figure about realism: detail without shapes."""
    from gsc_ros.evaluation.noise_control import matched_noise

    blurred = cv2.GaussianBlur(photograph, (0, 0), 3)
    noisy = matched_noise(blurred, photograph, seed=1)
    assert gradient_ratio(photograph, blurred) < 0.6
    assert gradient_ratio(photograph, noisy) == pytest.approx(1.0, abs=0.01)
    inside = (noisy > 0) & (noisy < 255)
    added = np.where(inside.all(axis=2, keepdims=True), noisy.astype(int) - blurred, 0)
    assert (added == added[:, :, :1]).mean() > 0.999 and abs(added.mean()) < 0.5  # but for what rounds the other way
    assert (matched_noise(blurred, photograph, seed=1) == noisy).all()
    assert (matched_noise(blurred, photograph, seed=2) != noisy).any()
    assert matched_noise(photograph, blurred, seed=1) is photograph


def test_the_noise_control_is_a_codec(photographs) -> None:
    path = sorted(photographs.iterdir())[0]
    image = datasets.read_file(path)
    plain, noisy = (
        codings.coding(name, most=300)(image, Setting(130), path.stem) for name in ("nano", "nano:noise=matched")
    )
    assert noisy.bytes == plain.bytes
    assert gradient_ratio(image, plain.picture) < 0.9 < gradient_ratio(image, noisy.picture)


def test_a_codec_that_takes_a_fifth_fewer_bytes_has_that_bd_rate() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([[100.0, 200.0, 400.0, 800.0]]) * rng.uniform(0.8, 1.2, (12, 1))
    quality = np.log(sizes / sizes[:, :1]) + 10
    saved = difference((sizes, quality), (0.8 * sizes, quality), rate=True)
    assert saved.value == pytest.approx(-20.0, abs=0.3)
    assert saved.low <= saved.value <= saved.high
    gained = difference((sizes, quality), (sizes, quality + 0.5), rate=False)
    assert gained.value == pytest.approx(0.5, abs=1e-6)
    apart = difference((sizes, quality), (sizes, quality + 50), rate=True)
    assert np.isnan(apart.value)
