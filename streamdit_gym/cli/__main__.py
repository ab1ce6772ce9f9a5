"""``python -m streamdit_gym.cli`` is the command ``streamdit-gym``."""

import sys

from streamdit_gym.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
