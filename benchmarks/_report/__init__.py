"""The sections of ``benchmarks.device_report``, each run in a process of its own."""
