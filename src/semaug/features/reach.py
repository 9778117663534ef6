"""Reach the features and the classifier of any model.

Losses in feature space need what the classifier receives and its weight. Both come
from the forward that makes the logits, so that dropout, augmentation inside the model,
``DistributedDataParallel`` and ``torch.compile`` see one call:

- :func:`with_features` wraps a model into one that returns logits and features.
- :func:`attach` leaves the model alone and gives a loss of logits and labels.

The classifier is the module that the caller names, else the one that the model declares
(timm's ``get_classifier()``, the end of an ``nn.Sequential``), else the last Linear or
1x1 convolution whose output is the output of the model, as one forward shows. That
forward runs on ``example_images``, or on noise of the size that the model's timm or
transformers configuration declares, or, only if the classifier is unknown, on
``(2, 3, 224, 224)`` noise. It runs in evaluation mode and leaves no trace in the model.
It also shows that the classifier alone makes the logits. If the classifier is known and
there was no such forward, the first forward outside of ``torch.compile`` shows it.

Compiling a classifier that runs inside ``torch.utils.checkpoint`` without graph breaks
needs ``torch._dynamo.config.skip_fwd_side_effects_in_bwd_under_checkpoint``; torch says so.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.module_tracker import ModuleTracker

from semaug.covariance import ClassCovariance
from semaug.features.classifier import Classifier, check_makes, find_classifier, logits_of, unwrap
from semaug.features.probe import Args, Kwargs, received

# N samples, C classes, A features.


def with_features(
    model: nn.Module,
    classifier: nn.Module | str | None = None,
    example_images: Tensor | None = None,
) -> "WithFeatures":
    """Wrap a model so that its forward returns logits and features.

    Wrap first, then compile and distribute: ``DistributedDataParallel(with_features(model))``.

    Args:
        model: Any image classifier whose last step is a Linear or a 1x1 convolution. It is
            not copied, and gets a hook.
        classifier: That layer or its dotted name, if it cannot be found.
        example_images: A small batch that the model accepts, used once to find or check the
            classifier; at most two images of it.

    Returns:
        A module called like the model. Its ``state_dict`` is the model's with the prefix
        ``model.``.

    Raises:
        TypeError: If an argument, or what the model returns, is of the wrong type.
        ValueError: If no layer makes the logits; the message lists layers to choose from.

    >>> net = with_features(nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 2)))
    >>> logits, features = net(torch.randn(4, 3, 2, 2))
    >>> logits.shape, features.shape, net.weight.shape
    (torch.Size([4, 2]), torch.Size([4, 5]), torch.Size([2, 5]))
    """
    inner = unwrap("with_features", model)
    return WithFeatures(model, *find_classifier("with_features", inner, classifier, example_images))


def attach(
    model: nn.Module,
    isda: nn.Module,
    classifier: nn.Module | str | None = None,
    example_images: Tensor | None = None,
) -> "AttachedLoss":
    """Make a loss of logits and labels from one that also needs features and weight.

    The model keeps its forward, its ``state_dict`` and its type. Attach before the first
    call of a compiled model: it ignores hooks that come later. The criterion moves by
    ``criterion.to(device)`` and is no model: do not give it to ``accelerator.prepare`` or
    ``DistributedDataParallel``, which it does not need.

    Args:
        model: As in :func:`with_features`.
        isda: :class:`semaug.ISDALoss`, or another loss called with ``(logits, labels,
            features, weight)`` that has a :class:`semaug.ClassCovariance` as ``estimator``.
        classifier: As in :func:`with_features`.
        example_images: As in :func:`with_features`.

    Returns:
        ``criterion(logits, labels)``, to be called once after each forward of the model.

    Raises:
        TypeError: If an argument, or what the model returns, is of the wrong type.
        ValueError: If no layer makes the logits, or ``isda`` is of other sizes.

    >>> from semaug import ISDALoss
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 2))
    >>> criterion = attach(model, ISDALoss(num_classes=2, num_features=5, strength=0.5))
    >>> criterion(model(torch.randn(4, 3, 2, 2)), torch.tensor([0, 1, 1, 0])).shape
    torch.Size([])
    """
    estimator = getattr(isda, "estimator", None)
    if not isinstance(estimator, ClassCovariance):
        raise TypeError(
            "attach: expected `isda` to be a loss with an `estimator`, such as ISDALoss, "
            f"got {type(isda).__name__}"
        )
    if "features" not in inspect.signature(isda.forward).parameters:
        raise TypeError(
            "attach: expected `isda` to be called with (logits, labels, features, weight), such "
            f"as ISDALoss, got {type(isda).__name__}"
        )
    inner = unwrap("attach", model)
    found, checked = find_classifier("attach", inner, classifier, example_images)
    expected = (found.num_classes, found.num_features)
    got = (estimator.num_classes, estimator.num_features)
    if got != expected:
        raise ValueError(
            f"attach: expected `isda` with (num_classes, num_features) = {expected} of the "
            f"classifier {found.name!r}, got {got}"
        )
    return AttachedLoss(isda, found, checked)


class WithFeatures(nn.Module):
    """A model that returns logits and features; made by :func:`with_features`.

    A deep copy, such as an EMA teacher, is independent of the original.

    Attributes:
        model: The wrapped model.
        num_classes: C.
        num_features: A.
    """

    def __init__(self, model: nn.Module, classifier: Classifier, checked: bool) -> None:
        super().__init__()
        self.model = model
        self._classifier, self._checked = classifier, checked
        self.num_classes, self.num_features = classifier.num_classes, classifier.num_features
        self._tap = FeatureTap()
        classifier.module.register_forward_pre_hook(self._tap, with_kwargs=True)

    @property
    def classifier(self) -> nn.Module:
        """The Linear or 1x1 convolution inside the model."""
        return self._classifier.module

    @property
    def weight(self) -> Tensor:
        """``(C, A)`` weight of the classifier, also if it is a convolution or sharded."""
        return self._classifier.weight

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Call the model.

        Args:
            *args: Passed to the model, usually the images.
            **kwargs: Passed to the model.

        Returns:
            Logits ``(N, C)`` and features ``(N, A)``, both with their gradients; of dense
            predictions ``(N, C, h, w)`` and ``(N, A, h, w)``.

        Raises:
            RuntimeError: If the classifier did not run, or ran unseen.
            TypeError: If the model returns no logits.
            ValueError: If the classifier got more than one feature vector for an image, or
                does not make the logits by itself.
        """
        self._tap.restart(owned=True)
        try:
            logits = logits_of("with_features", self.model(*args, **kwargs))
            inputs = self._tap.inputs
        finally:
            self._tap.restart()
        if inputs is None:
            raise RuntimeError(
                "with_features: expected the model to call the classifier "
                f"{self._classifier.name!r}, it did not; wrap the model before its first "
                "compiled call, and again after the classifier was replaced"
            )
        features = self._classifier.features("with_features", inputs, logits)
        if not torch.compiler.is_compiling() and not self._checked:
            check_makes("with_features", self._classifier, logits, features)
            self._checked = True
        return logits, features


class AttachedLoss(nn.Module):
    """A loss that takes its features from a model's latest forward; made by :func:`attach`.

    The statistics are updated if the classifier was in training mode during that forward,
    and this module is, so ``model.eval()`` is enough to evaluate. The model is no part of
    this module: ``state_dict`` holds the loss alone, under ``isda.``.

    Attributes:
        isda: The loss.
    """

    def __init__(self, isda: nn.Module, classifier: Classifier, checked: bool) -> None:
        super().__init__()
        self.isda = isda
        self._classifier, self._checked = classifier, checked
        self._tap = FeatureTap()
        self._handle = classifier.module.register_forward_pre_hook(self._tap, with_kwargs=True)

    def detach(self) -> None:
        """Take the hook off the model, after the last call."""
        self._handle.remove()
        self._tap.restart()

    def forward(self, logits: Any, labels: Tensor) -> Tensor:
        """Compute the loss of the latest forward.

        Args:
            logits: What the model returned: ``(N, C)``, ``(N, C, h, w)``, or an object with
                ``logits``.
            labels: What ``isda`` takes, such as ``(N,)`` int64 class ids.

        Returns:
            What ``isda`` returns.

        Raises:
            RuntimeError: If there was no forward since the last call, or the logits are not
                of the latest one.
            TypeError: If the model returned no logits.
            ValueError: If the logits are of another number of images than the latest forward,
                or the classifier does not make them by itself.
        """
        logits = logits_of("attach", logits)
        features, training = self._take(logits)
        arguments = (logits, labels, features, self._classifier.weight)
        if training or not self.isda.training:
            return self.isda(*arguments)
        self.isda.eval()
        try:
            return self.isda(*arguments)
        finally:
            self.isda.train()

    def _take(self, logits: Tensor) -> tuple[Tensor, bool]:
        inputs, training, overwrote = self._tap.inputs, self._tap.training, self._tap.overwrote
        self._tap.restart()
        if inputs is None:
            raise RuntimeError(
                "attach: expected a forward of the model before each call of the criterion, "
                "found none; call the criterion once for each forward, and attach before the "
                "first call of a compiled model, and again after the classifier was replaced"
            )
        features = self._classifier.features("attach", inputs, logits)
        if len(logits) != len(features):
            raise ValueError(
                f"attach: expected `logits` of the latest forward, of {len(features)} images, "
                f"got {len(logits)}; call the criterion after each forward, or use with_features"
            )
        if not torch.compiler.is_compiling():
            if overwrote and not self._classifier.makes(logits, features):
                raise RuntimeError(
                    "attach: expected `logits` of the latest forward, got those of an earlier "
                    "one; call the criterion after each forward, or use with_features"
                )
            if not self._checked:
                check_makes("attach", self._classifier, logits, features)
                self._checked = True
        return features, training


class FeatureTap:
    """Forward pre-hook that keeps what a module received last.

    Restarted as ``owned``, it belongs to one forward: it starts and ends empty.
    Otherwise it keeps the latest forward, but not the repetition of a forward by
    activation checkpointing during backward, which would leave a stale capture alive.
    A copy of it, deep or pickled, starts empty, so that an EMA teacher neither shares the
    student's captures nor drags them along.

    Attributes:
        inputs: What the module received, or None.
        training: Whether the module was in training mode then.
        overwrote: Whether an earlier capture in training mode was never used.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self, owned: bool = False) -> None:
        """Forget the capture, and begin to belong to one forward or to none.

        It is no context manager: torch 2.11 compiles none here.
        """
        self.inputs: Tensor | None = None
        self.training = self.overwrote = False
        self.owned = owned

    def __call__(self, module: nn.Module, args: Args, kwargs: Kwargs) -> None:
        """Keep what the module receives."""
        if torch.compiler.is_compiling():  # reading the old capture here would cost a recompile
            self.overwrote = False
        elif self.owned or not BACKWARD.is_bw:
            self.overwrote = self.inputs is not None and self.training and module.training
        else:
            return
        self.inputs, self.training = received(args, kwargs), module.training

    def __reduce__(self) -> tuple[type["FeatureTap"], tuple[()]]:
        return FeatureTap, ()


BACKWARD = ModuleTracker()  # torch's public way to ask whether backward runs; never entered
