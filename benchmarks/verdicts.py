"""Every verdict on random problems: ``python benchmarks/verdicts.py -o verdicts.jsonl [--problems 30] [CLAIM ...]``.

I from 1 to 4, H from 1 to 6, unequal tasks.  Each problem is verified for every seed, at every number of digits, and
with every package hidden (``--without flint`` runs each case twice: with python-flint and without).  One line of JSON
a case is appended to the file; cases that are there already are not run again.  Prints how many verdicts rest on which
evidence, every verdict that is not *holds*, and every statement whose verdict or evidence depends on seed, precision or
packages.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import argparse
import json
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import headflow as hf

Row = dict[str, Any]


def problem(number: int) -> hf.Problem:
    """Number 0 is the reference case."""
    if number == 0:
        return hf.Problem(dims=[10] * 3, signal_power=[1] * 3, noise_variance=0.1, context_length=100, n_heads=3)
    draw = np.random.default_rng(number)
    n_tasks = int(draw.integers(1, 5))
    return hf.Problem(
        dims=draw.integers(1, 41, n_tasks).tolist(),
        signal_power=[round(float(x), 3) for x in np.exp(draw.normal(0, 0.7, n_tasks))],
        noise_variance=round(float(np.exp(draw.normal(-2, 1))), 4) + 1e-4,
        context_length=int(draw.integers(10, 500)),
        n_heads=int(draw.integers(1, 7)),
    )


def hide(without: str) -> None:
    """Make a package look as if it were not installed, in this process."""
    if without:
        sys.modules[without] = None  # type: ignore[assignment]
    warnings.simplefilter("ignore")  # of states outside a closure's range


def case(number: int, seed: int, digits: int, without: str, claims: tuple[str, ...], quick: bool) -> Row:
    """The verdicts on one problem, those of each statement for itself: one that raises leaves the others alone."""
    begun = time.process_time()
    verdicts: dict[str, Row] = {}
    for claim in claims:
        started = time.process_time()
        try:
            (verdict,) = hf.verify(problem(number), [claim], quick=quick, seed=seed, digits=digits).verdicts
            row = verdict.to_row()
            kept = ("verdict", "evidence", "measured", "bound", "error", "what")
            verdicts[claim] = {name: row[name] for name in kept}
            verdicts[claim]["findings"] = [(entry["evidence"], entry["verdict"]) for entry in row["findings"]]
        except Exception as error:  # whatever it is, it is reported
            verdicts[claim] = {"verdict": "raises", "evidence": "none", "what": f"{type(error).__name__}: {error}"}
        verdicts[claim]["seconds"] = round(time.process_time() - started, 2)
    key = {"number": number, "seed": seed, "digits": digits, "without": without, "quick": quick}
    return {**key, "problem": str(problem(number)), "cpu": time.process_time() - begun, "verdicts": verdicts}


def key_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("number", "seed", "digits", "without", "quick"))


def run(arguments: argparse.Namespace, claims: tuple[str, ...], done: set[tuple[Any, ...]]) -> Iterator[Row]:
    for without in arguments.without:
        keys = product(arguments.numbers, arguments.seeds, arguments.digits)
        todo = [key for key in keys if (*key, without, arguments.quick) not in done]
        # A process of its own for every set of packages: what is hidden must not have been imported.
        context = get_context("spawn")
        with ProcessPoolExecutor(arguments.workers, context, initializer=hide, initargs=(without,)) as pool:
            futures = [pool.submit(case, *key, without, claims, arguments.quick) for key in todo]
            for future in as_completed(futures):
                yield future.result()


def table(rows: list[Row]) -> Iterator[str]:
    """How many verdicts rest on which evidence; those that are not *holds*; those that depend on the condition."""
    counts = Counter((found["evidence"], found["verdict"]) for row in rows for found in row["verdicts"].values())
    yield f"{len(rows)} cases, {sum(counts.values())} verdicts, {sum(row['cpu'] for row in rows):.0f} s of CPU time"
    for (evidence, verdict), count in sorted(counts.items()):
        yield f"{evidence:>16} {verdict:<13} {count}"
    for row in rows:
        for id, found in row["verdicts"].items():
            if found["verdict"] != "holds":
                numbers = f"{found.get('measured')} < {found.get('bound')} ± {found.get('error')}"
                yield f"{id}: {found['verdict']}, {numbers}; {found['what']}; {key_of(row)} {row['problem']}"
    seen: defaultdict[tuple[int, str], defaultdict[tuple[str, str], list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for id, found in row["verdicts"].items():
            condition = f"seed {row['seed']}, {row['digits']} digits" + (
                f", no {row['without']}" * bool(row["without"])
            )
            seen[row["number"], id][found["verdict"], found["evidence"]].append(condition)
    yield "depending on seed, precision or packages:" if len(rows) > 1 else ""
    for (number, id), outcomes in seen.items():
        if len(outcomes) > 1:
            told = "; ".join(f"{' '.join(outcome)} ({', '.join(where)})" for outcome, where in outcomes.items())
            yield f"  {id} on problem {number}: {told}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*", help="statements (default: all)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="lines of JSON, continued if there")
    parser.add_argument("--problems", type=int, default=30, help="how many random problems")
    parser.add_argument("--numbers", type=int, nargs="+", help="these problems instead; 0 is the reference case")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--digits", type=int, nargs="+", default=[50])
    parser.add_argument("--without", nargs="+", help="packages, each hidden in a further run of every case")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.numbers = arguments.numbers or list(range(1, arguments.problems + 1))
    arguments.without = ["", *(arguments.without or [])]
    from headflow.numerics.checks import CHECKS

    claims = tuple(arguments.claims) or tuple(CHECKS)
    lines = arguments.output.read_text().splitlines() if arguments.output.exists() else []
    rows = [json.loads(line) for line in lines]
    print(machine.describe("headflow", "sympy", "numpy", "scipy", "mpmath", "python-flint"), flush=True)
    with arguments.output.open("a") as file:
        for row in run(arguments, claims, {key_of(row) for row in rows}):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            bad = [id for id, found in row["verdicts"].items() if found["verdict"] != "holds"]
            print(f"{key_of(row)}: {row['cpu']:.0f} s, {'all hold' if not bad else ' '.join(bad)}", flush=True)
    rows.sort(key=key_of)
    print(*table(rows), sep="\n")
    return any(found["verdict"] != "holds" for row in rows for found in row["verdicts"].values())


if __name__ == "__main__":
    sys.exit(main())
