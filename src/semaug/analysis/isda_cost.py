"""What ISDA adds to the cost of an image, as the papers count it and as it is computed here.

With C classes, A features and batches of N images, the papers' additional cost of full
covariances is, for each image,

    (C + 1) A^2  +  3 C A^2 / N  +  2 C A

which we read as a quadratic form for each class and an outer product for the statistics; the
covariances of all classes, merged once a batch; and the differences of the weights. It is found
from the numbers of Table 3, and gives all 18 absolute costs to the last digit but one: 108.57
million for ResNeXt-29 on CIFAR-100, where 109.00 is printed. For diagonal covariances Table 1
prints percentages only: about 5 C A fits the ResNets and ResNeXts, not the DenseNets, for which
it gives 0.18 and 0.23 % (printed: 0.20 and 0.24).

Here the quadratic form is computed for each class of a batch, not for each image.

Source: Wang et al., T-PAMI 2021, Tables 1 and 3, https://arxiv.org/abs/2007.10538
"""

from typing import NamedTuple

from semaug._torch.checks import check_one_of, check_positive_int

# N images of a batch, C classes, A features, R rows of a table of classes.

_KINDS = ("full", "diagonal")


class IsdaCost(NamedTuple):
    """Multiply-adds for one image."""

    form: float  # the quadratic form for pairs of classes
    statistics: float  # the update of the covariances
    backward: float  # gradients of the form for the weight of the classifier

    @property
    def forward(self) -> float:
        """All but the backward pass."""
        return self.form + self.statistics


def paper_isda_cost(
    num_classes: int, num_features: int, batch_size: int, covariance: str = "full"
) -> float:
    """Count what ISDA adds to the forward pass of one image as the papers do.

    Args:
        num_classes: C.
        num_features: A, the length of the features before the classifier.
        batch_size: N; the papers' is 128, and 64 for DenseNet and Shake-Shake. It has no
            effect on the cost of diagonal covariances.
        covariance: ``"full"`` (CIFAR) or ``"diagonal"`` (ImageNet).

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or ``covariance`` unknown.

    >>> f"{paper_isda_cost(100, 640, 128) / 1e6:.2f} million"  # Wide-ResNet-28-10, CIFAR-100
    '42.46 million'
    """
    _check("paper_isda_cost", num_classes, num_features, batch_size, covariance)
    classes, features = num_classes, num_features
    if covariance == "diagonal":
        return 5.0 * classes * features
    square = features**2
    return (classes + 1) * square + 3 * classes * square / batch_size + 2 * classes * features


def isda_multiply_adds(
    num_classes: int,
    num_features: int,
    batch_size: int,
    covariance: str = "full",
    *,
    accelerator: bool = False,
) -> IsdaCost:
    """Count the leading multiply-adds of :class:`semaug.ISDALoss` in a training step.

    The form is computed for R = min(C, N) classes, on a CPU for those present only, of which
    there may be fewer. For a batch that is

    - full: R C A^2 for the form and 2 R C A backward; (N + 2 R) A^2 for the statistics on a
      CPU. Accelerators sort no images by class, which would make the host wait, but multiply
      all with all classes and mask: (R N + 2 R) A^2.
    - diagonal: 2 R C A for the form, 3 R C A backward, (N + 2 R) A for the statistics.

    Left out is what is smaller by a factor of C or A.

    Args:
        num_classes: C.
        num_features: A, the length of the features before the classifier.
        batch_size: N.
        covariance: ``"full"`` or ``"diagonal"``.
        accelerator: Whether to count what runs there, and in compiled steps.

    Returns:
        The counts for one image: those of a batch over N.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1, or ``covariance`` unknown.
    """
    _check("isda_multiply_adds", num_classes, num_features, batch_size, covariance)
    rows = min(num_classes, batch_size)
    pairs = rows * num_classes * num_features
    products = batch_size * rows if accelerator else batch_size
    counts = pairs * num_features, (products + 2 * rows) * num_features**2, 2 * pairs
    if covariance == "diagonal":
        counts = 2 * pairs, (batch_size + 2 * rows) * num_features, 3 * pairs
    return IsdaCost(*(count / batch_size for count in counts))


def _check(
    function: str, num_classes: int, num_features: int, batch_size: int, covariance: str
) -> None:
    check_positive_int(
        function, num_classes=num_classes, num_features=num_features, batch_size=batch_size
    )
    check_one_of(function, "covariance", covariance, _KINDS)
