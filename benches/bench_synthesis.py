"""StyleGAN2's synthesis against weight-scaled grouped convolution: time, image error, memory.

    python benches/bench_synthesis.py                          # 48 images at 64x64, and the demo's
    python benches/bench_synthesis.py --networks 256 --images 1 8 --turns 3
    python benches/bench_synthesis.py --networks 256 --images 48 --settings grouped-8 float32-8
    python benches/bench_synthesis.py --tasks forward --settings grouped float32 --threads 1

Rows go to benches/results/synthesis.csv. Settings run in turn, several times over, and every
speed-up is the median of the ratios to the grouped convolution of the same turn. Errors are norms
of differences over the norm of what the plain modules give in float32. The peak memory of each
setting is taken in a process of its own, above what the network and the inputs take.

Settings: "grouped" makes one set of weights per image, as published; "plain" scales activations;
"float32", "bfloat16" and "float16" are what `StyleGAN2.synthesize` runs with frozen weights, a
number behind them (bfloat16-16) how many images go together. Tasks: "gradient" is the images and
the gradient of a sum over them in w, "forward" the images alone.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import ctypes
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

import workload as shared

from latentpath.generators import Precision, StyleGAN2, load_generator, synthesis
from latentpath.generators.layers import fir

RESULTS = shared.RESULTS / "synthesis.csv"
DEMO = Path(synthesis.__file__).parents[1] / "assets" / "generator.safetensors"
WIDTHS = {
    "64": (64, {"channel_base": 2048, "channel_max": 128}),
    "256": (256, {"channel_base": 16384, "channel_max": 512}),
}
SETTINGS = ("grouped", "plain", "float32", "float32-16", "bfloat16", "bfloat16-16")
TASKS = ("gradient", "forward")


def grouped_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up_filter: Tensor | None = None,
) -> Tensor:
    """`synthesis.modulated_conv2d` with the styles on the weights: one group per image."""
    m, (o, i, k, _) = len(x), weight.shape
    weights = weight[None] * styles[:, None, :, None, None]  # [M, O, I, k, k]
    if demodulate:
        weights = weights * (weights.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, m * i, *x.shape[2:])
    if up_filter is None:
        y = F.conv2d(x, weights.reshape(m * o, i, k, k), padding=k // 2, groups=m)
        return y.reshape(m, o, *y.shape[2:])
    weights = weights.transpose(1, 2).reshape(m * i, o, k, k)
    y = F.conv_transpose2d(x, weights, stride=2, groups=m)
    return fir(y.reshape(m, o, *y.shape[2:]), up_filter, (1, 1, 1, 1), gain=4.0)


def network(name: str) -> StyleGAN2:
    """One of the networks; random ones get biases and noise that count."""
    if name == "demo":
        return load_generator(DEMO, device=shared.DEVICE)
    side, widths = WIDTHS[name]
    torch.manual_seed(0)
    g = StyleGAN2(512, 0, 512, side, 3, synthesis_kwargs=widths).eval()
    with torch.no_grad():
        for parameter_name, parameter in g.named_parameters():
            if parameter_name.endswith("noise_strength"):
                parameter.fill_(0.1)
            elif parameter_name.endswith("bias") and "affine" not in parameter_name:
                parameter.normal_(std=0.1)
    return g.requires_grad_(False).to(shared.DEVICE)


@contextlib.contextmanager
def form_of(g: StyleGAN2, setting: str) -> Iterator[None]:
    """The network in one setting's form and precision."""
    before = synthesis.modulated_conv2d
    plain = setting in ("grouped", "plain")
    g.synthesis.fused = not plain
    if setting == "grouped":
        synthesis.modulated_conv2d = grouped_conv2d
    try:
        with Precision("float32" if plain else setting).on(shared.DEVICE):
            yield
    finally:
        synthesis.modulated_conv2d = before
        g.synthesis.fused = True


def work(g: StyleGAN2, task: str, setting: str, images: int) -> Callable[[], list[Tensor]]:
    """What is timed: it returns the images, and for "gradient" the gradient in w."""
    setting, _, together = setting.partition("-")
    source = torch.Generator().manual_seed(1)
    w = torch.randn(images, g.latent_dim, generator=source).to(shared.DEVICE)
    side = g.img_resolution
    cotangent = torch.randn(1, g.img_channels, side, side, generator=source).to(shared.DEVICE)

    def part(w: Tensor) -> list[Tensor]:
        w = w.detach().requires_grad_(task == "gradient")
        with torch.set_grad_enabled(task == "gradient"), form_of(g, setting):
            result = g.synthesize(w)
            total = (result * cotangent).sum()
        gradient = torch.autograd.grad(total, w) if task == "gradient" else ()
        return [result.detach(), *gradient]

    def run() -> list[Tensor]:
        parts = [part(rows) for rows in w.split(int(together or images))]
        return [torch.cat(results) for results in zip(*parts, strict=True)]

    return shared.synchronized(run)


def errors(results: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Norm of the difference over the norm, of images and of gradients."""
    pairs = zip(results, exact, strict=True)
    return [float((a.double() - b.double()).norm() / b.double().norm()) for a, b in pairs]


def measure(
    name: str, task: str, images: int, settings: list[str], turns: int
) -> list[dict[str, object]]:
    """Rows of one network, task and number of images."""
    g = network(name)
    runs = {setting: work(g, task, setting, images) for setting in settings}
    seconds: dict[str, list[float]] = {setting: [] for setting in settings}
    reference = work(g, task, f"plain-{min(images, 8)}", images)()
    found = {setting: errors(run(), reference) for setting, run in runs.items()}
    for _ in range(turns):
        for setting, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[setting].append(time.perf_counter() - start)
    return [
        shared.machine()
        | {
            "load": round(os.getloadavg()[0], 2),
            "network": name,
            "resolution": g.img_resolution,
            "images": images,
            "task": task,
            "setting": setting,
            "rounds": turns,
            **spread(seconds[setting]),
            "speed_up": speed_up(seconds, setting),
            "image_error": f"{found[setting][0]:.2e}",
            "gradient_error": f"{found[setting][1]:.2e}" if task == "gradient" else "",
            "peak_extra_mib": peak_extra_mib(name, task, setting, images),
        }
        for setting in settings
    ]


def spread(seconds: list[float]) -> dict[str, float]:
    quantiles = statistics.quantiles(seconds, n=5, method="inclusive")
    return {
        "median_ms": round(1e3 * statistics.median(seconds), 2),
        "p20_ms": round(1e3 * quantiles[0], 2),
        "p80_ms": round(1e3 * quantiles[3], 2),
    }


def speed_up(seconds: dict[str, list[float]], setting: str) -> float | str:
    """Median over the turns of the grouped convolution's time over the setting's."""
    base = next((name for name in seconds if name.startswith("grouped")), None)
    if base is None:
        return ""
    ratios = (g / s for g, s in zip(seconds[base], seconds[setting], strict=True))
    return round(statistics.median(ratios), 2)


def peak_extra_mib(name: str, task: str, setting: str, images: int) -> float:
    """Peak memory of one call in a fresh process, above what is there before it, in MiB."""
    command = [sys.executable, __file__, "--peak", "--networks", name, "--tasks", task]
    command += ["--settings", setting, "--images", str(images)]
    command += ["--threads", str(torch.get_num_threads())]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ran.stdout.splitlines()[-1])


def print_peak(name: str, task: str, setting: str, images: int) -> None:
    g = network(name)
    work(g, task, setting, 1)()  # loads libraries, prepares weights
    run = work(g, task, setting, images)
    if shared.DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        print(round((torch.cuda.max_memory_allocated() - before) / 2**20, 1))
        return
    ctypes.CDLL(None).malloc_trim(0)  # what the first run freed goes back to the system
    Path("/proc/self/clear_refs").write_text("5")  # start the peak again from here
    before = kib("VmRSS")
    run()
    print(round(max(0, kib("VmHWM") - before) / 1024, 1))


def kib(name: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])


def append(rows: list[dict[str, object]]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Parse the command line, measure, append rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["64", "demo"], help="64, 256, demo")
    parser.add_argument("--images", nargs="+", type=int, default=[48])
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--settings", nargs="+", default=SETTINGS, help=", ".join(SETTINGS))
    parser.add_argument("--turns", type=int, default=7, help="times round the settings")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peak", action="store_true", help="print one setting's peak memory")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        only = options.networks[0], options.tasks[0], options.settings[0], options.images[0]
        return print_peak(*only)
    if options.turns < 2:
        parser.error("a spread needs at least two timings: raise --turns")
    for name in options.networks:
        for images in options.images:
            for task in options.tasks:
                rows = measure(name, task, images, list(options.settings), options.turns)
                append(rows)
                for row in rows:
                    shown = ("setting", "median_ms", "speed_up", "image_error", "gradient_error")
                    figures = ", ".join(f"{key} {row[key]}" for key in (*shown, "peak_extra_mib"))
                    print(f"{name}, {images} images, {task}: {figures}", flush=True)


if __name__ == "__main__":
    main()
