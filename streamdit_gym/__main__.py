"""``python -m streamdit_gym`` is the command ``streamdit-gym``.

``torchrun -m streamdit_gym`` starts it in several processes.
"""

import sys

from streamdit_gym.cli import main

if __name__ == "__main__":
    sys.exit(main())
