"""Check and time `bank_lse`'s CUDA kernel for Hopper beside Triton's.

    python3 scripts/gpu_check_hopper.py --out gpu-out            # on an H100, H200 or H800
    python3 scripts/gpu_check_hopper.py --out gpu-out --dry      # on the processor, small

No GPU has run that kernel yet. `gpu_check.py` starts this with a time limit, in a process of its
own, so that a kernel that hangs or writes where it should not costs nothing else. Rows go to the
same tables.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from gpu_check import Session, check, replayed, time_op
from torch import Tensor

from latentpath import ops
from latentpath.ops import dispatch
from latentpath.ops.bank_lse import _bank_lse_reference

WIDTH = 512
LIMITS = {torch.bfloat16: 4e-3, torch.float16: 1e-3}


class Case(NamedTuple):
    """Queries, rows of the bank and what is odd about its bias."""

    rows: int
    bank_rows: int
    dtype: torch.dtype = torch.bfloat16
    bias: str = "usual"


# Small ones first: whatever is wrong shows there.
CASES = (
    Case(1, 1, bias="none"),
    Case(64, 128),
    Case(64, 128, torch.float16),
    Case(5, 31, bias="none"),
    Case(70, 129),
    Case(64, 1024),
    Case(200, 5000, bias="rows left out"),
    Case(200, 5000, torch.float16, "rows left out"),
    Case(3, 5000, bias="all left out"),
    Case(3, 5000, bias="rising"),
    Case(129, 40_000, bias="rising"),
    Case(3072, 10_000),
    Case(20_000, 3001, torch.float16),
)


def data(session: Session, case: Case) -> tuple[Tensor, Tensor, Tensor | None, float]:
    """Arguments of `bank_lse`."""
    query = session.number(case.rows, WIDTH, dtype=case.dtype)
    bank = session.number(case.bank_rows, WIDTH, dtype=case.dtype)
    bias = session.number(case.bank_rows)
    if case.bias == "rising":  # every tile of 64 rows asks for a larger reference
        bias += 12.0 * torch.arange(case.bank_rows, device=session.device).div(64).floor()
    elif case.bias == "rows left out":
        bias[case.bank_rows // 2 :: 7] = -math.inf
        bias[: case.bank_rows // 3] = -math.inf
    elif case.bias == "all left out":
        bias[:] = -math.inf
    return query, bank, None if case.bias == "none" else bias, 5 / WIDTH**0.5


def exact(query: Tensor, bank: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, ...]:
    """In float64, some queries at a time."""
    wide = bank.double(), None if bias is None else bias.double(), scale
    blocks = [_bank_lse_reference(some.double(), *wide) for some in query.split(512)]
    return tuple(torch.cat(parts) for parts in zip(*blocks, strict=True))


def map_of_errors(lse: Tensor, mean: Tensor, exact_lse: Tensor, exact_mean: Tensor) -> str:
    """Where results are wrong: of every 16 queries (a warp's) lse, and mean in every 64 columns."""
    lines = ["largest error of lse | of mean, by 64 columns; of the first 128 queries by 16"]
    wrong = (lse - exact_lse).abs()[:128], (mean - exact_mean).abs()[:128]
    for some_lse, some_mean in zip(*(x.nan_to_num(math.inf).split(16) for x in wrong), strict=True):
        columns = [f"{piece.max():.1e}" for piece in some_mean.split(64, 1)]
        lines.append(f"{some_lse.max():.1e} | {' '.join(columns)}")
    return "\n".join(lines)


def check_all(session: Session, impl: str | None) -> None:
    """Right, the same twice and on another stream, recorded, and beyond 2^31 places."""
    for case in CASES[: 4 if session.small else None]:
        arguments = data(session, case)
        name = f"bank_lse for Hopper {case.rows}x{case.bank_rows} {case.dtype} bias: {case.bias}"
        check(
            session, name, lambda a=arguments: ops.bank_lse(*a, impl=impl),  # type: ignore[misc]
            lambda a=arguments: exact(*a),  # type: ignore[misc]
            LIMITS[case.dtype],
        )  # fmt: skip
        if name in session.bad:
            results = ops.bank_lse(*arguments, impl=impl)
            print(map_of_errors(*results, *exact(*arguments)), flush=True)
    query, bank, bias, scale = data(session, Case(64, 300 if session.small else 9000))

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return ops.bank_lse(*tensors, scale, impl=impl)

    inputs = [query, bank, bias]
    launched, recorded = (replayed(session, run, inputs, record=r) for r in (False, True))
    session.say("bank_lse for Hopper recorded", all(map(torch.equal, launched, recorded)))
    if session.small:
        return
    part = session.number(4096, WIDTH, dtype=torch.bfloat16)
    query, bank = session.number(64, WIDTH, dtype=torch.bfloat16), part.repeat(1100, 1)
    check(
        session, "bank_lse for Hopper of 4.5 million rows",
        lambda: ops.bank_lse(query, bank, None, 0.2, impl=impl)[1],
        lambda: exact(query, part, None, 0.2)[1], LIMITS[torch.bfloat16],
    )  # fmt: skip


def time_all(session: Session, impl: str | None) -> None:
    """Beside the kernel that runs without being asked for."""
    sizes = [(49_152, 100_000), (3072, 10_000), (384, 100_000)]
    for rows, bank_rows in [(16, 100)] if session.small else sizes:
        arguments = data(session, Case(rows, bank_rows))
        shape, flops = f"{rows}x{bank_rows}x{WIDTH}", 4.0 * rows * bank_rows * WIDTH
        for name in (impl, "triton") if impl else (None,):
            time_op(
                session, "bank_lse", shape, torch.bfloat16,
                {"native": "cuda for Hopper"}.get(name, str(name)),
                lambda a=arguments, i=name: ops.bank_lse(*a, impl=i), flops=flops,
            )  # fmt: skip


def main() -> int:
    """1 where anything was found wrong; nothing is timed then."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--dry", action="store_true", help="small, on the processor")
    given = parser.parse_args()
    os.environ[dispatch.HOPPER] = "1"
    device, impl = (torch.device("cpu"), None) if given.dry else (torch.device("cuda"), "native")
    session = Session(given.out, device, small=given.dry, seconds=600)
    check_all(session, impl)
    if not session.bad:
        time_all(session, impl)
    print(f"{len(session.bad)} found wrong: {', '.join(session.bad) or 'none'}", flush=True)
    return bool(session.bad)


if __name__ == "__main__":
    sys.exit(main())
