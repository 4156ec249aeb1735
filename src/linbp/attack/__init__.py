"""The one attack loop and its parts."""

from linbp.attack.api import craft
from linbp.attack.budget import Budget, parse_radius
from linbp.attack.choose_start import Choice, choose_start
from linbp.attack.config import AttackConfig
from linbp.attack.context import Context, Goal, Trace
from linbp.attack.ensemble import Ensemble
from linbp.attack.feature_oracle import FeatureOracle
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.loop import attack_batch
from linbp.attack.parts.estimator import (
    CommonWeakness,
    DeformationWarp,
    Estimator,
    ExpectedFlatness,
    GradientRelevance,
    NormPenalty,
    PenalisedGradient,
    Plain,
    ReversePerturbation,
    SeveralTurns,
    VarianceReducedEnsemble,
    VarianceTuning,
)
from linbp.attack.parts.objective import BFA, FIA, NAA, CrossEntropy, Objective, Observation, RewardedCrossEntropy
from linbp.attack.parts.start import RandomStart, Start
from linbp.attack.parts.transform import (
    Admix,
    BlockShuffle,
    DiverseInputs,
    DiversityEnsemble,
    IntermediateDecay,
    MapTransform,
    OperatorSampling,
    PacedPatchOut,
    PatchOut,
    ScaleInvariant,
    ShiftGrid,
    SpectrumSimulation,
    StructureInvariant,
    Transform,
    TranslationInvariant,
    UniformNoise,
)
from linbp.attack.parts.update import (
    DampedMomentum,
    FullStep,
    Momentum,
    Nesterov,
    RunningMean,
    Sign,
    Update,
    UpdateState,
)
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared, PreparedStage, prepare
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.recipe.stage import Stage

__all__ = [
    "BFA",
    "FIA",
    "NAA",
    "Admix",
    "AttackConfig",
    "BlockShuffle",
    "Budget",
    "Choice",
    "CommonWeakness",
    "Context",
    "CrossEntropy",
    "DampedMomentum",
    "DeformationWarp",
    "DiverseInputs",
    "DiversityEnsemble",
    "Ensemble",
    "Estimator",
    "ExpectedFlatness",
    "FeatureOracle",
    "FullStep",
    "Goal",
    "GradientOracle",
    "GradientRelevance",
    "IntermediateDecay",
    "MapTransform",
    "Momentum",
    "Nesterov",
    "NormPenalty",
    "Objective",
    "Observation",
    "OperatorSampling",
    "PacedPatchOut",
    "PatchOut",
    "PenalisedGradient",
    "Plain",
    "Pool",
    "Prepared",
    "PreparedStage",
    "RandomStart",
    "Recipe",
    "ReversePerturbation",
    "RewardedCrossEntropy",
    "RunningMean",
    "ScaleInvariant",
    "SeveralTurns",
    "ShiftGrid",
    "Sign",
    "SpectrumSimulation",
    "Stage",
    "Start",
    "StructureInvariant",
    "Trace",
    "Transform",
    "TranslationInvariant",
    "UniformNoise",
    "Update",
    "UpdateState",
    "VarianceReducedEnsemble",
    "VarianceTuning",
    "attack_batch",
    "choose_start",
    "craft",
    "parse_radius",
    "prepare",
]
