"""Paper A's search against the closed form: same problem, objective and seconds of both.

Run from the root of the repository: python -m benchmarks.decode.run
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks._result import environment, write_runs, write_summary
from torch import Tensor

from promptport.anchors import AnchorSet
from promptport.relative import encode_relative, matching
from promptport.space import EmbeddingSpace
from promptport.transfers import TransferProblem, find_method

HERE = Path(__file__).resolve().parent
MEAN_LENGTH, LATENT_LENGTH, NOISE_LENGTH = 1.55, 0.60, 0.90  # a mean row is about 1.9 long
LATENT_WIDTH = 256
# Anchors and target width; in this order, so that peak memory belongs to the last one.
SHAPES = (
    *((512, 1024), (2048, 1024), (8192, 1024), (32768, 1024)),
    *((8192, 2048), (8192, 4096), (32768, 4096), (32768, 8192)),
)


def made_spaces(k: int, widths: tuple[int, int], seed: int) -> tuple[EmbeddingSpace, ...]:
    """Two embedding tables with a common mean vector each, a shared latent part and own noise.

    Small trained models had a mean vector of length 1.55 in rows of length 1.90; so have these.
    """
    generator = torch.Generator().manual_seed(seed)
    decay = torch.arange(1, LATENT_WIDTH + 1).float().rsqrt()
    latent = torch.randn(k, LATENT_WIDTH, generator=generator) * decay  # (k, 256)
    words = {f"w{i:05d}": i for i in range(k)}
    spaces = []
    for name, width in zip(("source", "target"), widths, strict=True):
        mean = torch.randn(1, width, generator=generator)
        mixed = latent @ torch.randn(LATENT_WIDTH, width, generator=generator)  # (k, width)
        noise = torch.randn(k, width, generator=generator)
        rows = _of_length(mean, MEAN_LENGTH) + _of_length(mixed, LATENT_LENGTH)
        rows = rows + _of_length(noise, NOISE_LENGTH)
        spaces.append(EmbeddingSpace(name, rows, tuple(words), words, {}))
    return tuple(spaces)


def _of_length(rows: Tensor, length: float) -> Tensor:
    scaled: Tensor = rows * (length / rows.norm(dim=1).mean())
    return scaled


def made_prompt(space: EmbeddingSpace, n: int, seed: int) -> Tensor:
    """(n, d): free vectors as long as a mean row, far from the vocabulary as tuned prompts are.

    Vocabulary rows would be too easy: the common mean alone describes them nearly fully.
    """
    generator = torch.Generator().manual_seed(seed)
    return _of_length(torch.randn(n, space.width, generator=generator), space.statistics.mean_norm)


def timed(work: Callable[[], Any], runs: int) -> dict[str, Any]:
    """Median wall and processor time, and all wall times."""
    wall, processor = [], []
    for _ in range(runs):
        start, start_processor = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return {
        "seconds": statistics.median(wall),
        "processor_seconds": statistics.median(processor),
        "seconds_all": wall,
    }


def floor(problem: TransferProblem) -> None:
    """The bare products of the closed form: describe, Gram matrix, right-hand side."""
    relative = problem.vectors @ problem.anchors_src.T
    _ = problem.anchors_tgt.T @ problem.anchors_tgt
    _ = relative @ problem.anchors_tgt


def compare(spaces: tuple[EmbeddingSpace, ...], n: int, args: argparse.Namespace) -> dict[str, Any]:
    """Both methods on one problem of n virtual tokens."""
    anchors = AnchorSet.shared(*spaces)
    sides = anchors.matrix(0), anchors.matrix(1)
    vectors = made_prompt(spaces[0], n, args.seed + n)
    wanted = encode_relative(vectors.double(), sides[0].double())

    def fresh() -> TransferProblem:
        generator = torch.Generator().manual_seed(args.seed)
        return TransferProblem(
            vectors, *sides, spaces[0].statistics, spaces[1].statistics, generator
        )

    def score(found: Tensor) -> dict[str, float]:
        cosine = float(matching(wanted, sides[1].double(), found.double()).mean())
        return {"matching": cosine, "objective": 1 - cosine}

    closed, search = find_method("least_squares"), find_method("gradient")
    found: list[Tensor] = []
    closed(fresh())  # warm up
    slow = timed(lambda: found.append(search(fresh(), {"steps": args.steps})), 1)
    fast = timed(lambda: closed(fresh()), args.runs)
    return {
        "n": n,
        "agreement": anchors.report.agreement,
        "gradient": score(found[0]) | {"steps": args.steps} | slow,
        "least_squares": score(closed(fresh())) | fast,
        "floor": timed(lambda: floor(fresh()), args.runs),
    }


def thousand(spaces: tuple[EmbeddingSpace, ...], args: argparse.Namespace) -> dict[str, Any]:
    """A thousand prompts of one pair by the operator, made anew and kept."""
    anchors = AnchorSet.shared(*spaces)
    sides = anchors.matrix(0), anchors.matrix(1)
    vectors = torch.cat([made_prompt(spaces[0], 5, args.seed + i) for i in range(1000)])
    statistics_of = spaces[0].statistics, spaces[1].statistics
    method = find_method("operator")

    def fresh(pair: tuple[str, ...] | None) -> TransferProblem:
        return TransferProblem(vectors, *sides, *statistics_of, torch.Generator(), pair=pair)

    method(fresh(("kept",)))
    return {
        "prompts": 1000,
        "made": timed(lambda: method(fresh(None)), args.runs),
        "kept": timed(lambda: method(fresh(("kept",))), args.runs),
    }


def shapes(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time and memory of one prompt over sizes of anchors and widths."""
    found = []
    for k, width in SHAPES:
        spaces = made_spaces(k, (768, width), args.seed)
        anchors = AnchorSet.shared(*spaces)
        sides = anchors.matrix(0), anchors.matrix(1)
        vectors = made_prompt(spaces[0], 5, args.seed)
        statistics_of = spaces[0].statistics, spaces[1].statistics
        problem = TransferProblem(vectors, *sides, *statistics_of, torch.Generator())
        found.append(
            {
                "k": k,
                "width": width,
                "least_squares": timed(lambda p=problem: find_method("least_squares")(p), 1),
                "floor": timed(lambda p=problem: floor(p), 1),
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    return found


def summarise(
    one: dict[str, Any], hundred: dict[str, Any], many: dict[str, Any]
) -> dict[str, float]:
    """The figures of summary.json. Ratios of one thread's processor time ignore other work."""
    time_of = "processor_seconds"
    return {
        "objective_gap": _gap(one),
        "objective_gap_hundred": _gap(hundred),
        "speedup_one": _ratio(one, "gradient", "least_squares", time_of),
        "speedup_hundred": _ratio(hundred, "gradient", "least_squares", time_of),
        "speedup_one_wall": _ratio(one, "gradient", "least_squares", "seconds"),
        "speedup_hundred_wall": _ratio(hundred, "gradient", "least_squares", "seconds"),
        "speedup_thousand": one["gradient"][time_of] / (many["kept"][time_of] / many["prompts"]),
        "speedup_thousand_made": one["gradient"][time_of]
        / (many["made"][time_of] / many["prompts"]),
        "floor_ratio": _ratio(one, "least_squares", "floor", time_of),
    }


def _gap(result: dict[str, Any]) -> float:
    gap: float = result["least_squares"]["matching"] - result["gradient"]["matching"]
    return gap


def _ratio(result: dict[str, Any], above: str, below: str, key: str) -> float:
    ratio: float = result[above][key] / result[below][key]
    return ratio


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anchors", type=int, default=8192)
    parser.add_argument("--widths", type=int, nargs=2, default=(768, 1024))
    parser.add_argument("--tokens", type=int, nargs=2, default=(5, 100))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)  # more: read the wall ratios
    parser.add_argument("--no-shapes", action="store_true", help="leave the large sizes out")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recorded = environment(args.out)
    spaces = made_spaces(args.anchors, tuple(args.widths), args.seed)
    one, hundred = (compare(spaces, n, args) for n in args.tokens)
    many = thousand(spaces, args)
    summary = summarise(one, hundred, many)
    sizes = [] if args.no_shapes else shapes(args)
    config = {name: value for name, value in vars(args).items() if name != "out"}
    write_summary(args.out, summary, recorded)
    runs = {"config": config, "results": [one, hundred], "thousand": many, "shapes": sizes}
    write_runs(args.out, runs)
    for result in (one, hundred):
        for name in ("gradient", "least_squares"):
            values = result[name]
            print(
                f"n = {result['n']:3d}  {name:13s}  objective {values['objective']:.5f}  "
                f"{values['seconds']:8.2f} s"
            )
    for row in sizes:
        print(
            f"k = {row['k']:6d}  d = {row['width']:5d}  {row['least_squares']['seconds']:7.2f} s  "
            f"floor {row['floor']['seconds']:7.2f} s  peak {row['peak_megabytes']:.0f} MB"
        )
    print("  ".join(f"{name} {value:.4g}" for name, value in summary.items()))


if __name__ == "__main__":
    main()
