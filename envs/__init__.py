"""The Gymnasium face of the worlds, and the worlds themselves."""

from streamdit_gym.actions import Menu as Menu
from streamdit_gym.actions import SpokenBox as SpokenBox
from streamdit_gym.envs.gym_world import gym_world as gym_world
