"""Training configurations: one function per shipped world, and general defaults."""

from streamdit_gym.recipes.named_recipes import recipe as recipe
from streamdit_gym.recipes.recipe import Recipe as Recipe
