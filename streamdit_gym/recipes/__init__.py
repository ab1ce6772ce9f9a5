"""Training configurations: one function per shipped world, and general defaults."""

from streamdit_gym.recipes.distillation_settings import DecoderDistillation as DecoderDistillation
from streamdit_gym.recipes.distillation_settings import Distillation as Distillation
from streamdit_gym.recipes.named_recipes import recipe as recipe
from streamdit_gym.recipes.recipe import Recipe as Recipe
from streamdit_gym.recipes.stage_settings import AppearanceTraining as AppearanceTraining
from streamdit_gym.recipes.stage_settings import AutoencoderTraining as AutoencoderTraining
from streamdit_gym.recipes.stage_settings import Continuation as Continuation
from streamdit_gym.recipes.stage_settings import DynamicsTraining as DynamicsTraining
from streamdit_gym.recipes.stage_settings import ReadoutTraining as ReadoutTraining
from streamdit_gym.recipes.stage_settings import TransitionTraining as TransitionTraining
