"""ILA++: the direction in a feature map is fitted to everything that the stage before saw."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective
from linbp.attack.parts.objective.feature_maps import Paths, as_vector, check_paths, guided_feature_maps, unit_or_zero
from linbp.attack.parts.objective.fits import REGULARISATION, Fit, fitted_direction
from linbp.errors import RecipeError
from linbp.graph import Structure
from linbp.registry import part
from linbp.validation import number, one_of, whole

__all__ = ["ILAPlusPlus"]

AT_ONCE = 16
"""Points of one image whose feature maps are computed together."""


@part("objective", "ila-plus-plus")
class ILAPlusPlus(Objective):
    """ILA++: a feature map's change along the direction in which the stage before raised its objective.

        sum((h - h0) w) / |w|,

    with h the feature map at the image and h0 at the clean image. The direction w is fitted, for each image, to the
    rows H_t = h_t - h0 at the points that the stage before went through and to its objective's values r_t there:

        ridge:  w = H' r - H' (H H' + lambda I)^-1 H H' r
        mean:   w = mean over t of H_t r_t, which is where ridge's direction goes as lambda grows
        svr:    w = the weights of a linear support vector regression from H_t to r_t (scikit-learn's LinearSVR)

    Where the objective is negative at the first point (it is in a targeted attack: the target's cross-entropy is
    decreased), r_t is its gain over that point; otherwise w would lead back. Only matrices as large as the number of
    points squared are solved, in float64, image by image. The points' objectives cost a forward pass a step, their
    feature maps another, both without gradients.

    Li, Guo, Chen: Yet Another Intermediate-Level Attack, ECCV 2020, arXiv 2008.08847; `mean` with rows of unit norm
    is the default of their code (repository qizhangli/ila-plus-plus, which calls it lambda = infinity). `svr` is of
    their extension (Guo et al.: An Intermediate-level Attack Framework on The Basis of Linear Regression, arXiv
    2203.10723), whose code has rows as they are and C = 1e-10; so small a C makes w nearly the sum of the rows.

    Args:
        at: path of the module whose result is the feature map, or a list of them: then h is all of their values as one
            vector. By default the one of the LinBP paper's code, on VGG-19-BN and ResNet-50.
        fit: `mean`, `ridge` or `svr`; `svr` needs scikit-learn (`pip install '.[svr]'` in linbp's folder).
        regularisation: above 0: ridge's lambda (by default 1), or 1 / C of the support vector regression (by default
            1e10); `mean` has none.
        normalise: whether each row is divided by its norm before the fit.
        steps: of this stage; by default as many as the attack takes.
    """

    at: Paths | None = None
    fit: Fit = "mean"
    regularisation: float | None = None
    normalise: bool = True
    steps: int | None = None

    needs_guide: ClassVar[bool] = True
    reads_logits: ClassVar[bool] = False
    needs_iterates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_paths(self)
        one_of(self, "fit", ("mean", "ridge", "svr"))
        if self.regularisation is not None:
            number(self, "regularisation", least=1e-300)
            if self.fit == "mean":
                raise RecipeError(
                    f"regularisation={self.regularisation:g} would have no effect: the mean has none.",
                    "Leave it out, or use fit=ridge or fit=svr.",
                )
        one_of(self, "normalise", (True, False))
        if self.steps is not None:
            whole(self, "steps", least=1)

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the published one."""
        return guided_feature_maps(self.at, structure)

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from the feature maps at every point of the guide.

        Raises:
            RecipeError: scikit-learn is needed and not installed.
        """
        assert context.trace is not None  # a recipe with such an objective has a guide
        values = torch.stack(context.trace.objectives, dim=1).to("cpu", torch.float64)
        values = values - values[:, :1].clamp(max=0)
        strength = REGULARISATION[self.fit] if self.regularisation is None else float(self.regularisation)
        rows = [
            fitted_direction(self._changes(row, context, features), values[row], self.fit, strength, self.normalise)
            for row in range(len(values))
        ]
        direction = unit_or_zero(torch.stack(rows))
        clean = as_vector(features(context.budget.clean))
        return lambda observation: ((as_vector(observation.features) - clean) * direction).sum(1)

    def _changes(self, row: int, context: Context, features: Features) -> torch.Tensor:
        """How far each point of one image is from the clean image in the feature map, (points, D)."""
        assert context.trace is not None
        points = [context.budget.clean, *context.trace.iterates[: len(context.trace.objectives)]]
        images = torch.stack([point[row] for point in points])
        found = torch.cat([as_vector(features(some)) for some in torch.split(images, AT_ONCE)])
        return found[1:].sub_(found[0])
