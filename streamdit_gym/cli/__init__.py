"""The command line: ``streamdit-gym COMMAND``."""

from streamdit_gym.cli.main import main as main
