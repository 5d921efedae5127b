"""``python -m gpunn``: the same program as ``gpunn``."""

import sys

from gpunn.cli.main import main

sys.exit(main())
