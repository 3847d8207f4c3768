"""What a person looks at after the demo: side_by_side.png and index.html."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.demo.report import Shown
from gsc_ros.marking import mark_generated

COLUMN = 420
ROWS = 4
NOTE = "The right-hand pictures are generated from the bytes shown. Where the confidence map is dark, expect them to be unlike the scene."


def pick(shown: Sequence[Shown], count: int = ROWS) -> list[Shown]:
    """``count`` frames spread over the run."""
    return [
        shown[index] for index in sorted({round(i) for i in np.linspace(0, len(shown) - 1, min(count, len(shown)))})
    ]


def _fit(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height = round(image.shape[0] * COLUMN / image.shape[1])
    return np.asarray(cv2.resize(image, (COLUMN, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _heat(confidence: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(
        cv2.cvtColor(cv2.applyColorMap(confidence, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB), dtype=np.uint8
    )


def side_by_side(shown: Sequence[Shown]) -> NDArray[np.uint8]:
    """Original, reconstruction and confidence of several frames, with caption and bytes below each."""
    rows = []
    for frame in pick(shown):
        panels = np.hstack([_fit(frame.original), mark_generated(_fit(frame.picture)), _heat(_fit(frame.confidence))])
        strip = np.full((30, panels.shape[1], 3), 255, dtype=np.uint8)
        text = f"{frame.figures['bytes']} bytes   {frame.figures['psnr']:.1f} dB   caption: {frame.caption or '(none)'}"
        cv2.putText(strip, text, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
        rows += [panels, strip]
    head = np.full((30, rows[0].shape[1], 3), 255, dtype=np.uint8)
    for index, title in enumerate(("original", "generated reconstruction", "confidence (bright: likely to be alike)")):
        cv2.putText(head, title, (6 + index * COLUMN, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([head, *rows])


def plots(frames: Sequence[dict[str, Any]]) -> bytes:
    """Bytes, latency and similarity over the run, as one PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(12, 3), layout="constrained")
    index = range(len(frames))
    bottom = np.zeros(len(frames))
    for name, colour in (("head_bytes", "#555555"), ("text_bytes", "#d98032"), ("channel_bytes", "#2b7bba")):
        values = np.array([frame[name] for frame in frames])
        left.bar(index, values, bottom=bottom, label=name.removesuffix("_bytes"), color=colour, width=0.9)
        bottom += values
    left.set(title="bytes a frame", xlabel="frame")
    left.legend(frameon=False, fontsize=8)
    for name, colour in (("latency_ms", "#333333"), ("decode_ms", "#2b7bba"), ("encode_ms", "#d98032")):
        middle.plot(index, [frame[name] for frame in frames], label=name.removesuffix("_ms"), color=colour)
    middle.set(title="milliseconds", xlabel="frame")
    middle.legend(frameon=False, fontsize=8)
    right.plot(index, [frame["ms_ssim"] for frame in frames], label="MS-SSIM", color="#2b7bba")
    right.plot(index, [frame["confidence"] for frame in frames], label="confidence", color="#4a9c5d")
    right.set(title="similarity and confidence", xlabel="frame", ylim=(0, 1))
    right.legend(frameon=False, fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    pyplot.close(figure)
    return out.getvalue()


def _png(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def _embed(data: bytes, alternative: str) -> str:
    return f'<img alt="{html.escape(alternative)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def page(report: dict[str, Any], shown: Sequence[Shown], source: str) -> str:
    """index.html: one file that needs nothing else."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in table(report)
    )
    pictures = "".join(
        f"<figure>{_embed(_png(np.hstack([_fit(f.original), mark_generated(_fit(f.picture)), _heat(_fit(f.confidence))])), 'original, generated, confidence')}"
        f"<figcaption>frame {f.figures['sequence']}: <b>{f.figures['bytes']} bytes</b>, {f.figures['psnr']:.1f} dB. Caption: {html.escape(f.caption or '(none)')}</figcaption></figure>"
        for f in pick(shown, 8)
    )
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>gsc_ros demo: {html.escape(source)}</title><style>
body{{font:15px/1.5 system-ui,sans-serif;max-width:1290px;margin:2em auto;padding:0 1em;color:#222}}
img{{max-width:100%}}figure{{margin:1.2em 0}}figcaption{{color:#555}}td{{padding:.15em 1.5em .15em 0;border-bottom:1px solid #eee}}
.note{{background:#fff4d6;padding:.6em 1em;border-left:4px solid #d9a032}}</style></head><body>
<h1>{html.escape(source)} over a thin link</h1><p class="note">{NOTE}</p><table>{rows}</table>
<h2>Over the run</h2>{_embed(plots(report["frames"]), "bytes, milliseconds, similarity")}
<h2>Original, generated, confidence</h2>{pictures}</body></html>
"""


def table(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows of the summary, as name and value."""
    size, similarity = report["bytes"], report["ms_ssim"]
    rows = [
        ("profile", f"{report['profile']} {report['fingerprint']}"),
        (
            "frames sent / shown / dropped",
            f"{report['frames_sent']} / {report['frames_shown']} / {report['dropped']}  ({report['width']}x{report['height']})",
        ),
        (
            "bytes a frame",
            f"{size['mean']:.0f} mean, {size['max']} max  (head {size['head_mean']:.0f}, text {size['text_mean']:.0f}, channels {size['channels_mean']:.0f})",
        ),
        ("bits a pixel", f"{report['bpp']:.5f}"),
        ("encode", f"{report['encode_ms']['median']:.0f} ms median, {report['encode_ms']['p95']:.0f} ms p95"),
        ("decode", f"{report['decode_ms']['median']:.0f} ms median, {report['decode_ms']['p95']:.0f} ms p95"),
        (
            "camera to screen",
            f"{report['latency_ms']['median']:.0f} ms median, {report['latency_ms']['p95']:.0f} ms p95",
        ),
        ("PSNR", f"{report['psnr']:.2f} dB"),
        ("MS-SSIM", "not defined at this size" if similarity is None else f"{similarity:.3f}"),
        ("gradient energy", f"{report['gradient_energy']:.2f} of the original"),
        ("confidence", f"{report['confidence_mean']:.2f}"),
        ("nodes ready after", f"{report['ready_s']:.1f} s"),
    ]
    memory = [
        f"{name.removesuffix('_mb')} {report[name]:.0f} MB"
        for name in ("compressor_mb", "reconstructor_mb")
        if name in report
    ]
    return rows + ([("peak memory", ", ".join(memory))] if memory else [])


def write(out: Path, report: dict[str, Any], shown: Sequence[Shown], source: str) -> None:
    """Write side_by_side.png and index.html to ``out``."""
    (out / "side_by_side.png").write_bytes(_png(side_by_side(shown)))
    (out / "index.html").write_text(page(report, shown, source), encoding="utf-8")
