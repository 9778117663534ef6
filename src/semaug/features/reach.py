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

At every call the logits must be the output of the classifier in that forward: the same
tensor, or a view or a copy of it, as memory and autograd's graph show. Where neither can tell,
as behind a compiled cast, values are compared; on a GPU the answer is read in a later call,
so no step waits. Adapters of the classifier itself (LoRA), learned temperatures and averaged
heads are refused in this way even while they change nothing.

``detach()`` takes the hooks off, which ``torch.jit.script`` needs and pickled models are
smaller for.

Compiling a classifier that runs inside ``torch.utils.checkpoint`` without graph breaks
needs ``torch._dynamo.config.skip_fwd_side_effects_in_bwd_under_checkpoint``; torch says so.
"""

import contextlib
import functools
import inspect
import itertools
import types
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from semaug.covariance import ClassCovariance
from semaug.features.classifier import Classifier, find_classifier, logits_of, unwrap
from semaug.features.probe import Capture
from semaug.features.recognize import LateCheck, maker
from semaug.features.tap import hook

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
    return WithFeatures(model, find_classifier("with_features", inner, classifier, example_images))


def attach(
    model: nn.Module,
    isda: nn.Module,
    classifier: nn.Module | str | None = None,
    example_images: Tensor | None = None,
    *,
    count_in_eval: bool = False,
) -> "AttachedLoss":
    """Make a loss of logits and labels from one that also needs features and weight.

    The model keeps its forward, its ``state_dict`` and its type. Attach before the first
    call of a compiled model: it ignores hooks that come later. The criterion follows the
    classifier to its device and is no model: do not give it to ``accelerator.prepare`` or
    ``DistributedDataParallel``, which it does not need.

    Args:
        model: As in :func:`with_features`.
        isda: :class:`semaug.ISDALoss`, or another loss called with ``(logits, labels,
            features, weight)``; one of logits and labels alone needs nothing of this.
        classifier: As in :func:`with_features`.
        example_images: As in :func:`with_features`.
        count_in_eval: Whether forwards in evaluation mode count in the statistics, and move the
            ramp, if gradients are enabled: for training under ``model.eval()``, which freezes
            batch norm. Then validate under ``torch.no_grad()``.

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
    if "features" not in inspect.signature(isda.forward).parameters:
        raise TypeError(
            "attach: expected `isda` to be called with (logits, labels, features, weight), such "
            f"as ISDALoss, got {type(isda).__name__}"
        )
    inner = unwrap("attach", model)
    found = find_classifier("attach", inner, classifier, example_images)
    expected = (found.num_classes, found.num_features)
    estimator = getattr(isda, "estimator", None)
    got = expected
    if isinstance(estimator, ClassCovariance):
        got = (estimator.num_classes, estimator.num_features)
    if got != expected:
        raise ValueError(
            f"attach: expected `isda` with (num_classes, num_features) = {expected} of the "
            f"classifier {found.name!r}, got {got}"
        )
    return AttachedLoss(isda, found, count_in_eval)


class WithFeatures(nn.Module):
    """A model that returns logits and features; made by :func:`with_features`.

    A deep copy, such as an EMA teacher, is independent of the original.

    Attributes:
        model: The wrapped model.
        num_classes: C.
        num_features: A.
    """

    def __init__(self, model: nn.Module, classifier: Classifier) -> None:
        super().__init__()
        self.model = model
        self._classifier = classifier
        self.num_classes, self.num_features = classifier.num_classes, classifier.num_features
        self._tap, self._handles = hook(classifier.module)
        self._late = LateCheck()
        self._show_signature()

    def _show_signature(self) -> None:
        """Give ``forward`` the arguments of the model's, which trainers read."""

        @functools.wraps(WithFeatures.forward)
        def forward(self: WithFeatures, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            return WithFeatures.forward(self, *args, **kwargs)

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        with contextlib.suppress(ValueError, TypeError):  # what a scripted model raises
            parameters = inspect.signature(self.model.forward).parameters.values()
            forward.__signature__ = inspect.Signature([own, *parameters])  # type: ignore[attr-defined]
            self.forward = types.MethodType(forward, self)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "forward"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._show_signature()

    @property
    def classifier(self) -> nn.Module:
        """The Linear or 1x1 convolution inside the model."""
        return self._classifier.module

    @property
    def weight(self) -> Tensor:
        """``(C, A)`` weight of the classifier that the latest forward used.

        Of the latest one in the mode that the classifier is in, so a look in evaluation mode
        does no harm. It may belong to a convolution or be sharded.
        """
        seen = self._tap.weight_in(self._classifier.module.training)
        return self._classifier.weight("with_features", seen)

    def _replicate_for_data_parallel(self) -> None:
        unwrap("with_features", nn.DataParallel(nn.Identity()))  # which refuses it

    def detach(self) -> None:
        """Take the hooks off the model, which is ``net.model``; the wrapper ends with it."""
        for handle in self._handles:
            handle.remove()

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
                does not make the logits by itself, or is not the only one.
        """
        self._tap.restart(owned=True)
        try:
            logits = logits_of("with_features", self.model(*args, **kwargs))
            seen = self._tap.trained or self._tap.evaluated
        finally:
            self._tap.restart()
        if seen is None:
            raise RuntimeError(
                "with_features: expected the model to call the classifier "
                f"{self._classifier.name!r}, it did not; wrap the model before its first "
                "compiled call, and again after the classifier was replaced or after detach()"
            )
        features = self._classifier.features("with_features", seen.inputs, logits)
        if not torch.compiler.is_compiling():
            self._late.check("with_features", self._classifier.name, logits, seen)
        return logits, features


class AttachedLoss(nn.Module):
    """A loss that takes its features from a model's latest forward; made by :func:`attach`.

    The statistics are updated if the classifier was in training mode during that forward,
    and this module is, so ``model.eval()`` is enough to evaluate. Forwards in evaluation mode
    between that one and the loss do no harm. The model is no part of this module:
    ``state_dict`` holds the loss alone, under ``isda.``.

    Attributes:
        isda: The loss.
    """

    def __init__(self, isda: nn.Module, classifier: Classifier, count_in_eval: bool) -> None:
        super().__init__()
        self.isda = isda
        self._classifier, self._count_in_eval = classifier, count_in_eval
        self._warned = False
        self._tap, self._handles = hook(classifier.module)
        self._late = LateCheck()
        self._follow(next(classifier.module.parameters()).device)

    def detach(self) -> None:
        """Take the hooks off the model, after the last call."""
        for handle in self._handles:
            handle.remove()
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
        seen, counts = self._take(logits)
        features = self._classifier.features("attach", seen.inputs, logits)
        self._follow(logits.device)
        arguments = (logits, labels, features, self._classifier.weight("attach", seen.weight))
        if counts or not self.isda.training:
            return self.isda(*arguments)
        self.isda.eval()
        try:
            loss = self.isda(*arguments)
        finally:
            self.isda.train()
        if loss.requires_grad and not (self._warned or torch.compiler.is_compiling()):
            loss.register_hook(self._warn)
        return loss

    def _take(self, logits: Tensor) -> tuple[Capture, bool]:
        """Find the forward that made the logits, and whether it counts in the statistics."""
        trained, evaluated = self._tap.trained, self._tap.evaluated
        seen = trained or evaluated
        if seen is None:
            raise RuntimeError(
                "attach: expected a forward of the model before each call of the criterion, "
                "found none; call the criterion once for each forward, and attach before the "
                "first call of a compiled model, and again after the classifier was replaced"
            )
        if not torch.compiler.is_compiling():
            if trained and evaluated:
                seen = maker(logits, trained, evaluated)
            self._late.check("attach", self._classifier.name, logits, seen)
        if seen is trained:
            self._tap.trained = None
        else:
            self._tap.evaluated = None
        return seen, seen is trained or (self._count_in_eval and torch.is_grad_enabled())

    def _follow(self, device: torch.device) -> None:
        """Move the loss to the device of the logits."""
        tensors = itertools.chain(self.isda.parameters(), self.isda.buffers())
        first = next(tensors, None)
        if device.type != "meta" and first is not None and first.device != device:
            self.isda.to(device)

    def _warn(self, grad: Tensor) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                "attach: the classifier was in evaluation mode in a forward whose loss is "
                "differentiated, so the statistics and the ramp do not move; put only the layers "
                "to freeze into evaluation mode, or attach with count_in_eval=True",
                stacklevel=2,
            )
