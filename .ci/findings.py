"""Read a log of what the CUDA driver of the step ``cuda`` saw; fail on each finding that known_findings.tsv lacks.

python .ci/findings.py LOG
"""

import csv
import fnmatch
import re
import sys
from pathlib import Path

with (Path(__file__).parent / "known_findings.tsv").open(newline="") as file:
    # A kernel's name may have *: CUB's are as long as their types.
    known = [(row["kind"], row["kernel"]) for row in csv.DictReader(file, delimiter="\t")]
log = Path(sys.argv[1])
lines = log.read_text(errors="replace").splitlines()  # the driver always has something to tell
seen, new = 0, []
for line in lines:
    found = re.search(r"\bFINDING ([\w-]+): ", line)
    if found is None:
        continue
    kernel = re.search(r"\bkernel (\w+), grid", line)
    seen += 1
    name = kernel[1] if kernel else ""
    if not any(found[1] == kind and fnmatch.fnmatchcase(name, pattern) for kind, pattern in known):
        new.append(line)
print("\n".join(new[:40]))
print(f"{seen} findings, {len(new)} of them unknown")
if new:
    sys.exit("a kernel or a call broke CUDA's rules (above). What is CuPy's own goes to .ci/known_findings.tsv.")
