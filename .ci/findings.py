"""Read a log of what the CUDA driver of the step ``cuda`` saw; fail on each finding that known_findings.tsv lacks.

python .ci/findings.py LOG
"""

import csv
import re
import sys
from collections import Counter
from pathlib import Path

with (Path(__file__).parent / "known_findings.tsv").open(newline="") as file:
    known = {(row["kind"], row["kernel"]) for row in csv.DictReader(file, delimiter="\t")}
log = Path(sys.argv[1])
lines = log.read_text(errors="replace").splitlines()
if not any("counters {" in line for line in lines):
    sys.exit(f"{log}: the driver wrote no counters, so nothing ran on it")
seen, new = Counter(), []
for line in lines:
    found = re.search(r"\bFINDING ([\w-]+): ", line)
    if found is None:
        continue
    kernel = re.search(r"\bkernel (\w+), grid", line)
    key = found[1], kernel[1] if kernel else ""
    seen[key] += 1
    if key not in known:
        new.append(line)
print("\n".join(new[:40]))
launches = sum(int(n) for line in lines for n in re.findall(r'"launches":(\d+)', line))
print(f"{launches} launches, {sum(seen.values())} findings, {len(new)} of them unknown")
if new:
    sys.exit("a kernel or a call broke CUDA's rules (above). What is CuPy's own goes to .ci/known_findings.tsv.")
