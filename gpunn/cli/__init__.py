"""The command line: ``gpunn train``, ``gpunn summary``; the program is ``gpunn.cli.main.main``."""
