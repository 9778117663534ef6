"""What a run is: a recipe, frozen data made of specs, and how it is changed."""

from semaug.recipe.recipe import BaseRecipe, Recipe
from semaug.registry import Sizes, choice

__all__ = ["BaseRecipe", "Recipe", "Sizes", "choice"]
