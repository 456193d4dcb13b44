"""Numbers: validated problems, generated code, integration, checks.  Imports theory, never the reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_attributes

if TYPE_CHECKING:
    from .attention import AttentionWeights as AttentionWeights
    from .attention import OffDiagonalTest as OffDiagonalTest
    from .attention import PopulationGradient as PopulationGradient
    from .attention import SampledRisk as SampledRisk
    from .attention import Training as Training
    from .attention import TrainingRun as TrainingRun
    from .attention import attention_risk as attention_risk
    from .attention import off_diagonal_test as off_diagonal_test
    from .attention import population_gradient as population_gradient
    from .attention import sampled_risk as sampled_risk
    from .attention import train as train
    from .certificates.basin import certify_convergence as certify_convergence
    from .certificates.trajectory import TrajectoryCertificate as TrajectoryCertificate
    from .certificates.trajectory import certify_trajectory as certify_trajectory
    from .code import compile_system as compile_system
    from .code import formula as formula
    from .comparison.closure_table import ClosureTable as ClosureTable
    from .comparison.compare import Comparison as Comparison
    from .comparison.gradient_table import GradientTable as GradientTable
    from .comparison.simulate import Simulation as Simulation
    from .comparison.simulate import overlay as overlay
    from .flows.orbits import OrbitFlow as OrbitFlow
    from .flows.orbits import orbit_flow as orbit_flow
    from .flows.orbits import orbits_of as orbits_of
    from .integration.system_run import SystemRun as SystemRun
    from .integration.system_run import integrate_system as integrate_system
    from .optima.assignment import BestAssignment as BestAssignment
    from .optima.assignment import assignment_limit as assignment_limit
    from .optima.assignment import best_assignment as best_assignment
    from .optima.bayes import BayesInterval as BayesInterval
    from .optima.bayes import bayes_risk as bayes_risk
    from .optima.optimum import SearchResult as SearchResult
    from .optima.optimum import search_optimum as search_optimum
    from .optima.reference import realised_limit as realised_limit
    from .predictions.cascade import Cascade as Cascade
    from .predictions.convergence import late_constant as late_constant
    from .predictions.escape import predicted_sign_changes as predicted_sign_changes
    from .predictions.merged_race import balance_threshold as balance_threshold
    from .predictions.staircase import StaircaseTable as StaircaseTable
    from .predictions.staircase import compare_staircase as compare_staircase
    from .predictions.staircase import loss_drops as loss_drops
    from .predictions.staircase import predicted_cascade as predicted_cascade
    from .predictions.valley import ValleyReport as ValleyReport
    from .predictions.valley import valley_report as valley_report
    from .problem.covariates import CovariateProblem as CovariateProblem
    from .problem.initial import InitialState as InitialState
    from .problem.initial import RandomStart as RandomStart
    from .problem.problem import Problem as Problem
    from .problem.problem_file import ProblemFile as ProblemFile
    from .reproductions import Reproduction as Reproduction
    from .reproductions import reproduce as reproduce
    from .runtime.stop import IntegrationInterrupted as IntegrationInterrupted
    from .runtime.stop import Interrupted as Interrupted
    from .runtime.stop import StopReason as StopReason
    from .trajectory.crossings import emergence_times as emergence_times
    from .trajectory.crossings import sign_changes as sign_changes
    from .trajectory.merged_end import MergedOutcome as MergedOutcome
    from .trajectory.merged_end import merged_outcome as merged_outcome
    from .trajectory.trajectory import Trajectory as Trajectory
    from .verification.verify import Verdict as Verdict
    from .verification.verify import Verification as Verification

_NAMES = {
    "AttentionWeights": ".attention",
    "BestAssignment": ".optima.assignment",
    "Cascade": ".predictions.cascade",
    "ClosureTable": ".comparison.closure_table",
    "BayesInterval": ".optima.bayes",
    "bayes_risk": ".optima.bayes",
    "Comparison": ".comparison.compare",
    "CovariateProblem": ".problem.covariates",
    "GradientTable": ".comparison.gradient_table",
    "InitialState": ".problem.initial",
    "IntegrationInterrupted": ".runtime.stop",
    "Interrupted": ".runtime.stop",
    "MergedOutcome": ".trajectory.merged_end",
    "OffDiagonalTest": ".attention",
    "OrbitFlow": ".flows.orbits",
    "PopulationGradient": ".attention",
    "Problem": ".problem.problem",
    "ProblemFile": ".problem.problem_file",
    "RandomStart": ".problem.initial",
    "Reproduction": ".reproductions",
    "SampledRisk": ".attention",
    "SearchResult": ".optima.optimum",
    "Simulation": ".comparison.simulate",
    "StaircaseTable": ".predictions.staircase",
    "StopReason": ".runtime.stop",
    "SystemRun": ".integration.system_run",
    "Training": ".attention",
    "TrainingRun": ".attention",
    "Trajectory": ".trajectory.trajectory",
    "TrajectoryCertificate": ".certificates.trajectory",
    "ValleyReport": ".predictions.valley",
    "Verdict": ".verification.verify",
    "Verification": ".verification.verify",
    "assignment_limit": ".optima.assignment",
    "attention_risk": ".attention",
    "balance_threshold": ".predictions.merged_race",
    "best_assignment": ".optima.assignment",
    "certify_convergence": ".certificates.basin",
    "certify_trajectory": ".certificates.trajectory",
    "compare_staircase": ".predictions.staircase",
    "compile_system": ".code",
    "emergence_times": ".trajectory.crossings",
    "formula": ".code",
    "integrate_system": ".integration.system_run",
    "late_constant": ".predictions.convergence",
    "loss_drops": ".predictions.staircase",
    "merged_outcome": ".trajectory.merged_end",
    "off_diagonal_test": ".attention",
    "orbit_flow": ".flows.orbits",
    "orbits_of": ".flows.orbits",
    "overlay": ".comparison.simulate",
    "population_gradient": ".attention",
    "predicted_cascade": ".predictions.staircase",
    "predicted_sign_changes": ".predictions.escape",
    "realised_limit": ".optima.reference",
    "reproduce": ".reproductions",
    "sampled_risk": ".attention",
    "search_optimum": ".optima.optimum",
    "sign_changes": ".trajectory.crossings",
    "train": ".attention",
    "valley_report": ".predictions.valley",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
