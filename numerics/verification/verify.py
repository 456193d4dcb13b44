"""Verification: every registered statement checked on a problem, with a verdict that carries its error."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ...theory.brief import Brief
from ...theory.errors import InputError, NotWrittenError
from ..checks import Setting
from ..checks.exploration import Explored
from ..checks.finding import DIGITS, carried_out, unmeasured
from ..checks.registry import checks_of, explorations_of, is_own, known_id, known_ids, known_statement
from ..problem.exact import named, whole_number
from ..problem.initial import checked_seed
from ..problem.kinds import takes
from ..problem.problem import Problem
from ..runtime.helpers import helpers
from ..runtime.json_object import json_object
from ..runtime.progress import progress_bar
from ..runtime.stop import Interrupted
from . import certificate_file
from .verdict import Outcome, Verdict, judged, worst
from .verdict_table import evidence_table, html_table, table
from .verdict_words import sentence

LEAST_DIGITS, MOST_DIGITS = 30, 300
LOST = "the process that checked it has ended, killed or for want of memory"
EXIT_CODES: dict[Outcome, int] = {"holds": 0, "not_applicable": 0, "fails": 1, "inconclusive": 3}

__all__ = ["EXIT_CODES", "Outcome", "Verdict", "Verification", "judged", "verify"]


@dataclass(frozen=True, repr=False)
class Verification(Brief):
    """The verdicts on one problem, and what was explored outside the hypotheses (on problems of its own).

    ``not_reached`` are the ids of statements that were asked for and not checked, after an interruption.
    """

    problem: Problem
    closure: str
    verdicts: tuple[Verdict, ...]
    explored: tuple[Explored, ...] = ()
    not_reached: tuple[str, ...] = ()

    @property
    def in_brief(self) -> str:
        counts = Counter(verdict.verdict for verdict in self.verdicts)
        outside = f"; {len(self.explored)} explored" if self.explored else ""
        return f"{', '.join(f'{count} {outcome}' for outcome, count in counts.items())}{outside}; {self.problem!r}"

    @property
    def exit_code(self) -> int:
        """0 every claim that applies holds, 1 one fails or an exploration is not confirmed, 3 one is inconclusive."""
        outside: tuple[Outcome, ...] = tuple("holds" if found.confirmed else "fails" for found in self.explored)
        still_open: tuple[Outcome, ...] = ("inconclusive",) if self.not_reached else ()
        return EXIT_CODES[worst((*(verdict.verdict for verdict in self.verdicts), *outside, *still_open))]

    def to_json(self) -> dict[str, Any]:
        """The verdicts as the JSON object of the command line; a number that is not finite is null."""
        return {
            **json_object(self.problem.to_dict(), self.closure),
            "verdicts": [verdict.to_row() for verdict in self.verdicts],
            "explorations": [found.to_row() for found in self.explored],
            "not_reached": list(self.not_reached),
        }

    @property
    def sentence(self) -> str:
        """How many theorems hold, and where that was seen, fail, stay open, do not apply or were not reached."""
        return f"{sentence(self.verdicts)} {self._unreached()}".strip()

    def text(self) -> str:
        """The verdicts as a table."""
        return self.table("text")

    def latex(self) -> str:
        """The verdicts as a LaTeX table (booktabs)."""
        return self.table("latex")

    def markdown(self) -> str:
        """The verdicts as a Markdown table."""
        return self.table("markdown")

    def table(self, form: str) -> str:
        """The verdicts as ``"text"``, ``"latex"`` or ``"markdown"``; ``InputError`` for another form."""
        more = {"latex": "% {}\n", "markdown": "\n{}\n"}.get(form, "{}\n")
        return table(self.verdicts, form, self.explored) + more.format(self._unreached()) * bool(self.not_reached)

    def _unreached(self) -> str:
        count = len(self.not_reached)
        return f"{count} statement{' was' if count == 1 else 's were'} not reached." if count else ""

    def evidence(self) -> str:
        """What each verdict rests on, as a Markdown table: evidence, on what, and the smallest error it detects."""
        return evidence_table(self.verdicts)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return html_table(self.verdicts) + f"<p>{self._unreached()}</p>" * bool(self.not_reached)


@takes(problem=Problem)
def verify(
    problem: Problem,
    claims: str | Iterable[str] = (),
    quick: bool = False,
    seed: int = 0,
    progress: bool = False,
    *,
    workers: int = 1,
    certificate: str | Path | None = None,
    resume: bool = False,
    digits: int = DIGITS,
    explore: bool = False,
    pool: Executor | None = None,
) -> Verification:
    """Check statements on a problem.

    Parameters
    ----------
    problem
        The problem; checks whose cost grows fast with size use its first tasks and heads.
    claims
        Id of a statement, or several (default: all of them, those registered by `register` included).
    quick
        Fewer samples and starts; no trapping regions, and no fitted laws where there is other evidence.
    seed
        Seed of every random draw.
    progress
        Show a bar on standard error, if that is a terminal (or a notebook) and it takes more than a second.
    workers
        Processes to share the statements between; the verdicts do not depend on it.
    certificate
        A file to write: versions, inputs and every verdict with its enclosures (JSON), after each statement.
    resume
        Keep the verdicts, and what was explored, that a certificate begun for the same question holds already.
    digits
        Decimal digits of high-precision evidence, from 30 to 300; ends of enclosures have twice as many bits.
    explore
        Measure too what becomes of these claims without one of their hypotheses, on concrete problems that headflow
        keeps: counterexamples, and where a claim still holds.
    pool
        Processes that help, ``workers`` - 1, where they run already (see `headflow.numerics.runtime.helpers`).

    Raises
    ------
    InputError
        For an unknown claim, a bad number of workers or digits, and a certificate that cannot be written.
    NotWrittenError
        An ``InputError`` with the whole `Verification`, where at its end the certificate cannot be written any more.
    Interrupted
        On Ctrl-C, a `KeyboardInterrupt` with the `Verification` so far; what was explored is in it too.
    """
    workers, digits = whole_number("workers", workers, least=1), whole_number("digits", digits)
    if not LEAST_DIGITS <= digits <= MOST_DIGITS:
        raise InputError(f"digits must lie between {LEAST_DIGITS} and {MOST_DIGITS}, got {digits}")
    ids = [known_id(claim) for claim in named("claims", claims)] or list(known_ids())
    setting = Setting(problem, checked_seed(seed), quick, digits)
    known = explorations_of(ids)
    path = None if certificate is None else Path(certificate)
    done: dict[str, Verdict] = {}
    outside: dict[int, Explored] = {}  # by the place in what is known
    if path is not None and resume and path.exists():
        begun = certificate_file.begun(path, certificate_file.content(setting, ids))
        done = {verdict.id: verdict for verdict in certificate_file.verdicts_of(begun, path)}
        outside = certificate_file.explored_of(begun, known)
    left = [id for id in ids if id not in done]
    unexplored = [place for place in range(len(known)) if place not in outside] if explore else []

    def so_far() -> Verification:
        explored = tuple(outside[place] for place in sorted(outside))
        missing = tuple(id for id in ids if id not in done)
        return Verification(problem, "leading", tuple(_ordered(done, ids)), explored, missing)

    def keep() -> None:
        if path is not None:
            now = so_far()
            complete = not now.not_reached and all(place in outside for place in unexplored)
            certificate_file.write(path, certificate_file.content(setting, ids, now.verdicts, now.explored, complete))

    def keep_if_possible() -> None:
        """The disk may be full for a while: the verdicts count, and the next one is kept with all before it."""
        with suppress(InputError):
            keep()

    keep()
    total = len(left) + len(unexplored)
    try:
        # Closed: helping processes end with the block, however it is left.
        with (
            progress_bar(progress, "verify", total, unit="claims") as bar,
            closing(_found(left, setting, workers, pool)) as found,
        ):
            for verdict in found:
                done[verdict.id] = verdict
                bar.update()
                keep_if_possible()
            for place in unexplored:
                outside[place] = known[place].measured()
                bar.update()
                keep_if_possible()
    except KeyboardInterrupt as interrupt:
        now = so_far()
        reached = f"{len(now.verdicts)} of {len(ids)} statements checked, {len(now.not_reached)} not reached"
        if unexplored:
            reached += f"; {len(now.explored)} of {len(known)} explorations done"
        remedy = "" if path is None else f"With resume the same call goes on from {path}."
        raise Interrupted(f"The verification was interrupted: {reached}.", remedy, now) from interrupt
    try:
        keep()
    except InputError as error:
        raise NotWrittenError(str(error), so_far()) from None
    return so_far()


def _ordered(done: dict[str, Verdict], ids: Sequence[str]) -> list[Verdict]:
    return [done[id] for id in ids if id in done]


def _found(ids: Sequence[str], setting: Setting, workers: int, pool: Executor | None) -> Generator[Verdict, None, None]:
    """The verdicts, as they come; a user's own statements are known to this process only."""
    shared = [id for id in ids if not is_own(id)] if workers > 1 else []
    if len(shared) > 1:
        count = min(workers - 1, len(shared))
        with nullcontext(pool) if pool else helpers(count, __name__) as helping:
            assert helping is not None
            yield from _with_helpers(shared, setting, helping, count)
    else:
        shared = []
    for id in ids:
        if id not in shared:
            yield verdict_on(id, setting)


def _with_helpers(ids: Sequence[str], setting: Setting, pool: Executor, count: int) -> Iterator[Verdict]:
    """Share the statements between ``count`` other processes and this one, which takes them from the end.

    Every process derives what it needs anew: one that would only wait here would be a waste.
    """
    todo = deque(ids)
    answers: SimpleQueue[tuple[str, Future[Verdict] | None]] = SimpleQueue()

    def begin() -> None:
        try:
            id = todo.popleft()
        except IndexError:
            return
        try:
            future = pool.submit(verdict_on, id, setting)
        except BrokenExecutor:
            answers.put((id, None))
        else:
            future.add_done_callback(partial(ended, id))

    def ended(id: str, future: Future[Verdict]) -> None:
        answers.put((id, future))
        if not isinstance(future.exception(), BrokenExecutor):
            begin()

    lost: list[str] = []
    left = len(ids)
    try:
        for _ in range(2 * count):  # one to work on and one to go on with
            begin()
        while left:
            try:
                own = todo.pop() if answers.empty() else None
            except IndexError:
                own = None
            left -= 1
            if own is not None:
                yield verdict_on(own, setting)
                continue
            id, future = answers.get()
            if future is None or isinstance(future.exception(), BrokenExecutor):
                lost.append(id)
            else:
                yield _answer(id, future, setting)
        yield from _one_by_one(lost, setting)
    except KeyboardInterrupt:  # what was answered meanwhile is done
        while not answers.empty():
            id, future = answers.get()
            if future is not None and future.exception() is None:
                yield future.result()
        raise
    finally:
        todo.clear()


def _answer(id: str, future: Future[Verdict], setting: Setting) -> Verdict:
    """What another process found; a broken one, or an answer that cannot be sent, leaves the verdict open."""
    try:
        return future.result()
    except BrokenExecutor as error:
        return judged(known_statement(id), unmeasured(LOST, error), problem=setting.problem)
    except Exception as error:
        return judged(known_statement(id), unmeasured("it could not be checked", error), problem=setting.problem)


def _one_by_one(ids: Sequence[str], setting: Setting) -> Iterator[Verdict]:
    """Statements of which one has ended the process that checked it, or the system has: each may end one of its own."""
    left = deque(ids)
    while left:
        with helpers(1, __name__) as pool:
            assert pool is not None
            if not _starts(pool):
                yield from (verdict_on(id, setting) for id in left)
                return
            ended = False
            while left and not ended:
                id = left.popleft()
                future = pool.submit(verdict_on, id, setting)
                ended = isinstance(future.exception(), BrokenExecutor)
                yield _answer(id, future, setting)


def _starts(pool: Executor) -> bool:
    """Whether a process of the pool can be started at all."""
    try:
        return pool.submit(known_ids).exception() is None
    except BrokenExecutor:
        return False


def verdict_on(id: str, setting: Setting) -> Verdict:
    """The verdict on a statement from what all its checks find; one that cannot be carried out leaves it open."""
    found = (finding for check in checks_of(id, setting.quick) for finding in carried_out(check, setting))
    return judged(known_statement(id), *found, problem=setting.problem)
