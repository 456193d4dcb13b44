"""Numbers: validated problems, generated code, integration, checks.  Imports theory, never the reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_attributes

if TYPE_CHECKING:
    from .assignment import BestAssignment as BestAssignment
    from .assignment import assignment_limit as assignment_limit
    from .assignment import best_assignment as best_assignment
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
    from .bayes import BayesInterval as BayesInterval
    from .bayes import bayes_risk as bayes_risk
    from .cascade import Cascade as Cascade
    from .cascade import emergence_times as emergence_times
    from .certificates.basin import certify_convergence as certify_convergence
    from .certificates.trajectory import TrajectoryCertificate as TrajectoryCertificate
    from .certificates.trajectory import certify_trajectory as certify_trajectory
    from .closure_table import ClosureTable as ClosureTable
    from .codegen import compile_system as compile_system
    from .codegen import formula as formula
    from .compare import Comparison as Comparison
    from .convergence import late_constant as late_constant
    from .covariates import CovariateProblem as CovariateProblem
    from .escape import predicted_sign_changes as predicted_sign_changes
    from .escape import sign_changes as sign_changes
    from .gradient_table import GradientTable as GradientTable
    from .initial import InitialState as InitialState
    from .initial import RandomStart as RandomStart
    from .merged_race import balance_threshold as balance_threshold
    from .optimum import SearchResult as SearchResult
    from .optimum import search_optimum as search_optimum
    from .orbits import OrbitFlow as OrbitFlow
    from .orbits import orbit_flow as orbit_flow
    from .orbits import orbits_of as orbits_of
    from .problem import Problem as Problem
    from .problem_file import ProblemFile as ProblemFile
    from .reference import realised_limit as realised_limit
    from .reproductions import Reproduction as Reproduction
    from .reproductions import reproduce as reproduce
    from .simulate import Simulation as Simulation
    from .simulate import overlay as overlay
    from .staircase import StaircaseTable as StaircaseTable
    from .staircase import compare_staircase as compare_staircase
    from .staircase import loss_drops as loss_drops
    from .staircase import predicted_cascade as predicted_cascade
    from .stop import IntegrationInterrupted as IntegrationInterrupted
    from .stop import Interrupted as Interrupted
    from .stop import StopReason as StopReason
    from .system_run import SystemRun as SystemRun
    from .system_run import integrate_system as integrate_system
    from .trajectory import Trajectory as Trajectory
    from .valley import MergedOutcome as MergedOutcome
    from .valley import ValleyReport as ValleyReport
    from .valley import merged_outcome as merged_outcome
    from .valley import valley_report as valley_report
    from .verify import Verdict as Verdict
    from .verify import Verification as Verification

_NAMES = {
    "AttentionWeights": ".attention",
    "BestAssignment": ".assignment",
    "Cascade": ".cascade",
    "ClosureTable": ".closure_table",
    "BayesInterval": ".bayes",
    "bayes_risk": ".bayes",
    "Comparison": ".compare",
    "CovariateProblem": ".covariates",
    "GradientTable": ".gradient_table",
    "InitialState": ".initial",
    "IntegrationInterrupted": ".stop",
    "Interrupted": ".stop",
    "MergedOutcome": ".valley",
    "OffDiagonalTest": ".attention",
    "OrbitFlow": ".orbits",
    "PopulationGradient": ".attention",
    "Problem": ".problem",
    "ProblemFile": ".problem_file",
    "RandomStart": ".initial",
    "Reproduction": ".reproductions",
    "SampledRisk": ".attention",
    "SearchResult": ".optimum",
    "Simulation": ".simulate",
    "StaircaseTable": ".staircase",
    "StopReason": ".stop",
    "SystemRun": ".system_run",
    "Training": ".attention",
    "TrainingRun": ".attention",
    "Trajectory": ".trajectory",
    "TrajectoryCertificate": ".certificates.trajectory",
    "ValleyReport": ".valley",
    "Verdict": ".verify",
    "Verification": ".verify",
    "assignment_limit": ".assignment",
    "attention_risk": ".attention",
    "balance_threshold": ".merged_race",
    "best_assignment": ".assignment",
    "certify_convergence": ".certificates.basin",
    "certify_trajectory": ".certificates.trajectory",
    "compare_staircase": ".staircase",
    "compile_system": ".codegen",
    "emergence_times": ".cascade",
    "formula": ".codegen",
    "integrate_system": ".system_run",
    "late_constant": ".convergence",
    "loss_drops": ".staircase",
    "merged_outcome": ".valley",
    "off_diagonal_test": ".attention",
    "orbit_flow": ".orbits",
    "orbits_of": ".orbits",
    "overlay": ".simulate",
    "population_gradient": ".attention",
    "predicted_cascade": ".staircase",
    "predicted_sign_changes": ".escape",
    "realised_limit": ".reference",
    "reproduce": ".reproductions",
    "sampled_risk": ".attention",
    "search_optimum": ".optimum",
    "sign_changes": ".escape",
    "train": ".attention",
    "valley_report": ".valley",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
