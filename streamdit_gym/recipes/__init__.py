"""Training configurations: one function per shipped world, and general defaults."""

from streamdit_gym.recipes.recipe import Recipe as Recipe
from streamdit_gym.recipes.registry import recipe as recipe
