"""``headflow simulate``: risk, gradient or training of the real softmax attention; its table, figure, records."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...errors import InputError, NotWrittenError, TrainingError
from ...numerics.runtime.json_object import json_object, json_text
from ...report.summary import number as in_words
from ..folders import check_folder, folder
from ..output import deliver, emit
from ..problem_source import integer, number, problem_file

if TYPE_CHECKING:
    from ...numerics.attention import AttentionWeights, SampledRisk, Training
    from ...numerics.comparison.simulate import Simulation
    from ...numerics.problem.initial import InitialState
    from ...numerics.problem.problem_file import ProblemFile

_TRAINING_TIME: Final = 100.0  # by default: 2000 steps of the default rate; the flow's 1e4 would take hours
# Options of a training, by the names that the command line has for them.
_TRAINING_ONLY = ("rate", "batch", "optimiser", "averaged", "dtype", "backend", "checkpoint", "output")


def run(arguments: Namespace) -> int:
    """Sample or train, print, save; what was trained before a failure is printed and saved too."""
    given, start = _given(arguments)
    if arguments.train:
        return _train(given, start, arguments)
    for name in _TRAINING_ONLY:
        if getattr(arguments, name):
            raise InputError(f"{'-o' if name == 'output' else f'--{name}'} goes with --train")
    if arguments.gradient:
        return _gradient(given, arguments)
    return _sample(given, start, arguments)


def _given(arguments: Namespace) -> tuple[ProblemFile, InitialState | AttentionWeights]:
    """The problem and where to start; a start by name decides what is trained."""
    if arguments.start is None:
        if arguments.scale is not None:
            raise InputError("--scale goes with --start")
        given, _ = problem_file(arguments)
        return given, given.initial
    from ...numerics.attention.starts import FORMS, make_start
    from ...numerics.problem.problem_file import ProblemFile

    if arguments.imbalance is not None:
        raise InputError("--start goes without --imbalance: the starts by name are balanced")
    if arguments.gradient:
        raise InputError("--start goes without --gradient: that of decomposable weights is compared")
    without_seed = Namespace(**{**vars(arguments), "seed": None})
    given, _ = problem_file(without_seed)
    form = arguments.parametrisation or FORMS[arguments.start][0]
    if arguments.parametrisation is None and {form, given.parametrisation} == {"balanced", "split"}:
        form = given.parametrisation  # the same weights, another flow
    weights = make_start(given.problem, **_named_start(given, arguments), parametrisation=form)
    return ProblemFile(given.problem, given.closure, form, given.t_final), weights


def _sample(given: ProblemFile, start: InitialState | AttentionWeights, arguments: Namespace) -> int:
    from ...numerics.comparison.simulate import simulate

    risk = simulate(
        given.problem,
        start,
        n_samples=20_000 if arguments.samples is None else integer("samples", arguments.samples),
        seed=integer("draws", arguments.draws),
        progress=True,
    )
    if arguments.json:
        begun = {"initial": given.initial.to_dict()} if arguments.start is None else {}
        content = {**begun, **_start_json(given, arguments), "monte_carlo": risk.to_json()}
        emit(json_text(json_object(given.problem.to_dict(), given.closure, **content)))
    else:
        emit(_risk_text(risk))
    return 0


def _gradient(given: ProblemFile, arguments: Namespace) -> int:
    from ...numerics.comparison.gradient_table import compare_gradients

    table = compare_gradients(
        given.problem,
        given.initial,
        n_samples=20_000 if arguments.samples is None else integer("samples", arguments.samples),
        seed=integer("draws", arguments.draws),
        progress=True,
    )
    emit(json_text(table.to_json()) if arguments.json else table.text())
    return 0


def _start_json(given: ProblemFile, arguments: Namespace) -> dict[str, Any]:
    """The start by name, for the records; nothing where there is none."""
    return {} if arguments.start is None else {"start": _named_start(given, arguments)}


def _named_start(given: ProblemFile, arguments: Namespace) -> dict[str, Any]:
    from ...numerics.attention.starts import default_scale

    kind = arguments.start
    return {
        "kind": kind,
        "scale": default_scale(given.problem, kind)
        if arguments.scale is None
        else float(number("scale", arguments.scale)),
        "seed": 0 if arguments.seed is None else integer("seed", arguments.seed),
    }


def _risk_text(risk: SampledRisk) -> str:
    values = [*zip(risk.tasks, risk.task_errors, strict=True), (risk.value, risk.standard_error)]
    names = [*(f"task {task + 1}" for task in range(len(risk.tasks))), "sum"]
    lines = [f"{name:<9} {value:.6g} ± {error:.1g}" for name, (value, error) in zip(names, values, strict=True)]
    how = "; regressors and noise averaged exactly" if risk.averaged else ""
    lines.append(f"{risk.n_samples} prompts, seed {risk.seed}, ± one standard error{how}")
    return "\n".join([*lines, _where(risk.backend, risk.device, risk.prompts_per_second)])


def _where(backend: str, device: str, rate: float) -> str:
    return f"{backend} on {device}: {in_words(rate, 3)} prompts/s"


def _train(given: ProblemFile, start: InitialState | AttentionWeights, arguments: Namespace) -> int:
    from ...numerics.comparison.simulate import Simulation, simulate
    from ...numerics.runtime.stop import IntegrationInterrupted

    for name in ("samples", "gradient"):
        if getattr(arguments, name):
            raise InputError(f"--{name} goes without --train")
    target = None if arguments.output is None else Path(arguments.output)
    if target is not None:
        check_folder(target, arguments.force)
    begun = _start_json(given, arguments)
    try:
        simulation = simulate(
            given.problem,
            start,
            _training(given, arguments),
            parametrisation=given.parametrisation,
            closure=given.closure,
            checkpoint=arguments.checkpoint,
            progress=True,
        )
    except (TrainingError, NotWrittenError, IntegrationInterrupted) as stopped:
        if isinstance(stopped.partial, Simulation):
            _deliver(stopped.partial, begun, target, arguments)
        raise
    _deliver(simulation, begun, target, arguments)
    simulation.flow.ensure_reliable()
    return 0


def _deliver(simulation: Simulation, begun: dict[str, Any], target: Path | None, arguments: Namespace) -> None:
    text = json_text({**simulation.to_json(), **begun})

    def save() -> None:
        from ...plot.plotting import on_white
        from ...plot.simulation_figure import simulation_figure

        if target is None:
            return
        with folder(target, arguments.force) as stage:
            (stage / "simulation.json").write_text(text, encoding="utf-8")
            (stage / "simulation.svg").write_text(on_white(simulation_figure(simulation)), encoding="utf-8")

    if arguments.json:
        deliver(text, save)
        return
    run, problem = simulation.run, simulation.run.problem
    rate = "scheduled rate" if not isinstance(run.training.rate, float) else f"rate {run.training.rate:g}"
    heading = (
        f"softmax attention, {problem.n_tasks} task{'s' * (problem.n_tasks > 1)}, "
        f"{problem.n_heads} head{'s' * (problem.n_heads > 1)}, {', '.join(run.weights.names)} trained: "
        f"{run.training.optimiser}, {rate}, batch {run.training.batch}, {run.steps[-1]} steps in "
        f"{in_words(run.seconds, 3)} s\n{_where(run.backend, run.device, run.prompts_per_second)}"
    )
    doubt = [] if simulation.doubt is None else [simulation.doubt]
    more = [f"warning: {caveat}" for caveat in simulation.caveats if caveat != simulation.doubt]
    saved = "" if target is None else f"\nsaved {target}"
    deliver("\n".join([*doubt, heading, "", simulation.text(), *more]), save, saved)


def _training(given: ProblemFile, arguments: Namespace) -> Training:
    from ...numerics.attention import Training

    t_final = given.t_final if arguments.t_final is not None else min(given.t_final, _TRAINING_TIME)
    settings: dict[str, Any] = {"t_final": t_final, "seed": integer("draws", arguments.draws)}
    settings |= {
        name: getattr(arguments, name) for name in ("optimiser", "dtype", "backend") if getattr(arguments, name)
    }
    if arguments.rate is not None:
        settings["rate"] = _rate(arguments.rate)
    if arguments.batch is not None:
        settings["batch"] = integer("batch", arguments.batch)
    return Training(**settings, averaged=arguments.averaged)


def _rate(word: str) -> float | list[tuple[int, float]]:
    """One rate, or the knots of a schedule: ``0:0.05,2000:0.01``."""
    if ":" not in word:
        return float(number("rate", word))
    knots = [knot.partition(":") for knot in word.split(",")]
    return [(integer("rate", step), float(number("rate", rate))) for step, _, rate in knots]
