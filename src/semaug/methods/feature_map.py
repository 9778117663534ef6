"""The feature map of a network that follows the conventions of timm."""

from torch import Tensor, nn

__all__ = ["WithFeatureMap"]

# N images, C classes, A features, H x W positions.


class WithFeatureMap(nn.Module):
    """A network that also returns its features and, before they are pooled, its feature map.

    Args:
        model: With ``forward_features``, ``forward_head(..., pre_logits=True)`` and
            ``get_classifier``, as the networks of this package and of timm.

    Raises:
        ValueError: If one of them is missing.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name in ("forward_features", "forward_head", "get_classifier"):
            if not callable(getattr(model, name, None)):
                raise ValueError(
                    f"WithFeatureMap: expected a model with {name}(), as those of timm have it, "
                    f"got {type(model).__name__}"
                )
        self.model = model

    @property
    def weight(self) -> Tensor:
        """``(C, A)`` weight of the classifier."""
        weight: Tensor = self.model.get_classifier().weight  # type: ignore[operator]
        return weight

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images to logits ``(N, C)``, features ``(N, A)`` and feature map ``(N, A, H, W)``.

        Raises:
            ValueError: If what comes before the pooling is no feature map, as in transformers, or
                has other channels than the features, as where they lie last.
        """
        feature_map = self.model.forward_features(images)  # type: ignore[operator]
        if feature_map.ndim != 4:
            raise ValueError(
                "WithFeatureMap: expected forward_features to return (N, A, H, W), got "
                f"{tuple(feature_map.shape)}"
            )
        features = self.model.forward_head(  # type: ignore[operator]
            feature_map, pre_logits=True
        )
        if feature_map.shape[1] != features.shape[1]:
            raise ValueError(
                "WithFeatureMap: expected a feature map (N, A, H, W) of as many channels as "
                f"features, got {tuple(feature_map.shape)} and {tuple(features.shape)}"
            )
        logits = self.model.get_classifier()(features)  # type: ignore[operator]
        return logits, features, feature_map
