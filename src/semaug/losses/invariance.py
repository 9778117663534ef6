"""Augmentation invariant training (AIT): views of one image get one prediction.

The loss on V views of each image, p_i the prediction for view i:

    loss = classification + weight * invariance
    invariance = 1 / (V - 1) * sum over i != j of KL(p_i || p_j)

which for two views is the symmetric divergence of the paper. The paper adds the classification
losses of the views, its released code takes their mean:

    convention="paper":     classification = sum over i of cross-entropy(p_i, y)
    convention="released":  classification = 1 / V * sum over i of cross-entropy(p_i, y)

so that released(weight) = paper(V * weight) / V: with two views, weight 1 of the code is lambda = 2
of the paper at half the learning rate. The code takes the target p_i of each term as a constant, of
which the paper says nothing: the loss is the same, and its gradient in the logits of view i loses
the second of two parts,

    V / (V - 1) * ( p_i - mean p  +  p_i * (l_i - mean l - p_i . (l_i - mean l)) )
                    both             target_gradient=True only,                     l_i = log p_i

Source: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, Eqs. (1) to (3) and
section 3.1.2.

Literal form: tests/references/invariance.py, ``invariance_by_loops``.
"""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from semaug._torch.checks import (
    check_at_least,
    check_bool,
    check_number,
    check_one_of,
    check_shapes,
)
from semaug.losses._arguments import REDUCTIONS, Reduction, at_least_float32, reduced
from semaug.losses._classification import (
    check_given,
    check_stack,
    check_stack_and_labels,
    classification_of,
    classify,
    takes_features,
    takes_positions,
)
from semaug.losses._divergences import (
    divergence_from_each_other,
    divergence_from_first,
    divergence_from_mixture,
    euclidean_distance,
    squared_distance,
)
from semaug.losses._strength import Counting

__all__ = ["AugmentationInvariantLoss", "InvarianceParts", "augmentation_invariant_loss"]

# V views, N samples, C classes or channels, A features, H x W positions.

Metric = Literal["kl", "euclidean", "both", "squared_euclidean"]
METRICS: tuple[Metric, ...] = ("kl", "euclidean", "both", "squared_euclidean")
ViewReference = Literal["every", "mixture", "first"]
VIEW_REFERENCES: tuple[ViewReference, ...] = ("every", "mixture", "first")
Layer = Literal["logits", "features", "feature_map"]
LAYERS: tuple[Layer, ...] = ("logits", "features", "feature_map")
Convention = Literal["paper", "released"]
CONVENTIONS: tuple[Convention, ...] = ("paper", "released")


def augmentation_invariant_loss(
    views: Tensor,
    *,
    metric: Metric = "kl",
    reference: ViewReference = "every",
    target_gradient: bool = True,
    temperature: float = 1.0,
    threshold: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """How much the outputs for views of the same images differ, Eqs. (1) and (2); without labels.

    Args:
        views: ``(V, N, C)`` logits or features of V >= 2 views, or dense, ``(V, N, C, H, W)``:
            there each position counts as a sample of its own, in its C channels. For one vector
            from a whole feature map give ``views.flatten(2)``.
        metric: ``"kl"``, between softmax distributions over C, for features too;
            ``"euclidean"``, the distance; ``"both"``, their sum;
            ``"squared_euclidean"``, the squared distance.
        reference: What views are compared with. ``"every"`` other view: the sum over pairs i < j
            of ``KL(p_i || p_j) + KL(p_j || p_i)``, Eq. (1), or of the distance, times
            ``1 / (V - 1)``. The ``"mixture"`` of all, ``1 / V`` times the sum of
            ``KL(p_i || mean p)``: the Jensen-Shannon divergence. The ``"first"`` view alone, the
            mean of ``KL(p_0 || p_j)`` over j > 0. The last two are for ``metric="kl"``.
        target_gradient: Whether gradients flow through the target p_i of ``KL(p_i || p_j)`` too,
            as in the paper's formula; False takes it as constant, as the released code does. The
            value is the same. False is for ``metric="kl"``, and not for ``"mixture"``, whose
            gradient is all in its targets.
        temperature: Divides the logits of the target; below 1 it is sharper. For
            ``reference="first"``.
        threshold: Samples whose target has no larger probability than this, before its
            temperature, count 0. From 0 to below 1, for ``reference="first"``.
        reduction: ``"mean"`` over samples and positions, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``(N,)`` or ``(N, H, W)`` for ``reduction="none"``, at least float32 and not
        negative. Where views agree, so that a distance has no gradient, it is 0.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If there is one view, the shape is wrong, a name unknown, a number out of
            range, or an option is for another ``metric`` or ``reference``.

    >>> import torch
    >>> logits = torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]]])
    >>> augmentation_invariant_loss(logits)
    tensor(0.2311)
    >>> augmentation_invariant_loss(logits, metric="euclidean")
    tensor(1.)
    """
    name = "augmentation_invariant_loss"
    check_stack(name, "views", views)
    check_one_of(name, "reduction", reduction, REDUCTIONS)
    _check_options(name, metric, reference, target_gradient, temperature, threshold)
    views = at_least_float32(views)
    if metric == "squared_euclidean":
        losses = squared_distance(views)
    elif metric == "euclidean":
        losses = euclidean_distance(views)
    elif reference == "mixture":
        losses = divergence_from_mixture(views)
    elif reference == "first":
        losses = divergence_from_first(views, target_gradient, temperature, threshold)
    else:
        losses = divergence_from_each_other(views, target_gradient)
        if metric == "both":
            losses = losses + euclidean_distance(views)
    return reduced(losses, reduction)


class InvarianceParts(NamedTuple):
    """The two terms of :class:`AugmentationInvariantLoss`, scalars."""

    classification: Tensor
    invariance: Tensor


class AugmentationInvariantLoss(Counting):
    """Eq. (3): classification of V views of each image, and :func:`augmentation_invariant_loss`.

    The classification loss is called once, with all V * N views as one batch, so that statistics
    such as those of :class:`ISDALoss` see every view. The invariance needs no labels: it is also
    of samples or pixels that ``ignore_index`` leaves out of the classification.

    Args:
        weight: lambda of the paper, at least 0, of the invariance. May be set at any time.
        metric: See :func:`augmentation_invariant_loss`.
        layer: What is compared: ``"logits"``, ``"features"`` or ``"feature_map"``, the outputs
            that the paper compares in section 4.2.1. Of these, logits did best.
        reference: See :func:`augmentation_invariant_loss`.
        target_gradient: See :func:`augmentation_invariant_loss`; False for the released code.
        temperature: See :func:`augmentation_invariant_loss`.
        threshold: See :func:`augmentation_invariant_loss`.
        convention: ``"paper"`` adds the classification losses of the views, ``"released"`` takes
            their mean.
        classification: A module called as ``loss(logits, labels)`` for the mean over a batch, or,
            if its ``forward`` has a parameter ``features``, as ``loss(logits, labels, features,
            weight)``, such as :class:`ISDALoss`. None is cross-entropy.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a number is out of range, a name unknown, an option is for another
            ``metric`` or ``reference``, or ``classification`` takes no mean.

    >>> import torch
    >>> criterion = AugmentationInvariantLoss(weight=1.0)
    >>> logits = torch.randn(2, 8, 10, requires_grad=True)  # of two views of 8 images
    >>> criterion(logits, torch.arange(8)).backward()
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        metric: Metric = "kl",
        layer: Layer = "logits",
        reference: ViewReference = "every",
        target_gradient: bool = True,
        temperature: float = 1.0,
        threshold: float = 0.0,
        convention: Convention = "paper",
        classification: nn.Module | None = None,
    ) -> None:
        super().__init__()
        name = "AugmentationInvariantLoss"
        check_at_least(name, "weight", weight, 0)
        check_one_of(name, "layer", layer, LAYERS)
        check_one_of(name, "convention", convention, CONVENTIONS)
        _check_options(name, metric, reference, target_gradient, temperature, threshold)
        self.weight, self.layer, self.convention = weight, layer, convention
        self.metric, self.reference, self.target_gradient = metric, reference, target_gradient
        self.temperature, self.threshold = temperature, threshold
        self.classification = classification_of(name, classification)
        # Looked up once: it takes long, and cannot be compiled.
        self._takes_features = takes_features(self.classification)
        self.needs_positions = takes_positions(self.classification)

    @property
    def needs_features(self) -> bool:
        """Whether calls take ``features``: for the layer, or for the classification loss."""
        return self.layer == "features" or self._takes_features

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        features: Tensor | None = None,
        weight: Tensor | None = None,
        *,
        feature_map: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            logits: ``(V, N, C)`` of V >= 2 views, or dense, ``(V, N, C, h, w)``.
            labels: ``(N,)`` int64 class ids of the images, ``(N, H, W)`` if dense, or soft targets
                ``(N, C)``: whatever the classification loss takes.
            features: ``(V, N, A)`` or ``(V, N, A, h, w)``, if the layer or the classification
                loss is one of features.
            weight: ``(C, A)`` of the classifier, if the classification loss takes it.
            feature_map: ``(V, N, A, H, W)``, if that is the layer.
            positions: ``(N,)`` int64 of the images in their set, for a classification loss that
                draws for each image; else ignored.

        Returns:
            A scalar, at least float32.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree, there is one view, or an argument is
                missing or would be ignored.
        """
        told = {"feature_map": feature_map, "positions": positions}
        parts = self.parts(logits, labels, features, weight, **told)
        if self.weight == 0:  # 0 times the divergence of infinite logits would be no number
            return parts.classification
        return parts.classification + self.weight * parts.invariance  # Eq. (3)

    def parts(
        self,
        logits: Tensor,
        labels: Tensor,
        features: Tensor | None = None,
        weight: Tensor | None = None,
        *,
        feature_map: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> InvarianceParts:
        """Compute the two terms of the loss, to log them too, and call it instead of the loss.

        That is ``parts.classification + criterion.weight * parts.invariance``. Arguments and
        errors are those of the loss.
        """
        self._check(logits, labels, features, weight, feature_map)
        rest: tuple[Tensor | None, ...] = ()
        if self._takes_features and features is not None:
            rest = features.flatten(0, 1), weight
        num_views = len(logits)
        told = {}
        if self.needs_positions and positions is not None:
            told["positions"] = positions.repeat(num_views)
        classification = classify(
            "AugmentationInvariantLoss",
            self.classification,
            logits.flatten(0, 1),
            labels.expand(num_views, *labels.shape).flatten(0, 1),
            *rest,
            **told,
        )
        if self.convention == "paper":
            classification = classification * num_views
        invariance = self.invariance(logits, features, weight, feature_map=feature_map)
        return InvarianceParts(classification, invariance)

    def invariance(
        self,
        logits: Tensor,
        features: Tensor | None = None,
        weight: Tensor | None = None,
        *,
        feature_map: Tensor | None = None,
    ) -> Tensor:
        """Compute the second term alone, of the layer that is compared; the others are ignored.

        Arguments are those of the loss, without labels.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If the layer is missing, its shape is wrong, or there is one view.
        """
        compared = {"logits": logits, "features": features, "feature_map": feature_map}[self.layer]
        if compared is None:
            raise ValueError(
                f"AugmentationInvariantLoss: expected `{self.layer}` for layer={self.layer!r}, "
                "got None"
            )
        return augmentation_invariant_loss(
            compared,
            metric=self.metric,
            reference=self.reference,
            target_gradient=self.target_gradient,
            temperature=self.temperature,
            threshold=self.threshold,
        )

    def _check(
        self,
        logits: Tensor,
        labels: Tensor,
        features: Tensor | None,
        weight: Tensor | None,
        feature_map: Tensor | None,
    ) -> None:
        name = "AugmentationInvariantLoss"
        check_stack_and_labels(name, logits, labels)
        check_given(
            name,
            f"layer={self.layer!r} and {type(self.classification).__name__}",
            features=(features, self.needs_features),
            weight=(weight, self._takes_features),
            feature_map=(feature_map, self.layer == "feature_map"),
        )
        pixels = " h w" if logits.ndim == 5 else ""
        tensors = {"logits": (logits, "V N C" + pixels)}
        if features is not None:
            check_stack(name, "features", features, "V N A")
            tensors["features"] = (features, "V N A" + (" H W" if features.ndim == 5 else ""))
        if feature_map is not None:
            check_stack(name, "feature_map", feature_map, "V N A")
            tensors["feature_map"] = (feature_map, "V N A H W")
        check_shapes(name, **tensors)

    def extra_repr(self) -> str:
        """Name the options."""
        target = ""
        if self.reference == "first":
            target = f"temperature={self.temperature:g}, threshold={self.threshold:g}, "
        return (
            f"weight={self.weight:g}, metric={self.metric!r}, layer={self.layer!r}, "
            f"reference={self.reference!r}, target_gradient={self.target_gradient}, {target}"
            f"convention={self.convention!r}"
        )


def _check_options(
    function: str,
    metric: str,
    reference: str,
    target_gradient: bool,
    temperature: float,
    threshold: float,
) -> None:
    check_one_of(function, "metric", metric, METRICS)
    check_one_of(function, "reference", reference, VIEW_REFERENCES)
    check_bool(function, "target_gradient", target_gradient)
    for name, value in {"temperature": temperature, "threshold": threshold}.items():
        check_number(function, name, value)  # no tensor, whose value would have to be read
        check_at_least(function, name, value, 0)
    if temperature == 0:
        raise ValueError(f"{function}: expected `temperature` > 0, got {temperature}")
    if threshold >= 1:
        raise ValueError(f"{function}: expected `threshold` < 1, got {threshold}")
    if metric != "kl" and reference != "every":
        raise ValueError(f"{function}: expected metric='kl' for {reference=}, got {metric!r}")
    if metric != "kl" and not target_gradient:
        raise ValueError(
            f"{function}: expected metric='kl' for target_gradient=False, got {metric!r}: "
            "of a distance it would be half the gradient"
        )
    if reference == "mixture" and not target_gradient:
        raise ValueError(
            f"{function}: expected target_gradient=True for reference='mixture', got False: "
            "without the targets it has no gradient"
        )
    if reference != "first" and (temperature != 1 or threshold != 0):
        raise ValueError(
            f"{function}: expected reference='first' for `temperature` and `threshold`, "
            f"got {reference!r}"
        )
