"""Print the lowest version of everything that pyproject.toml declares with ``>=``, as requirements for pip."""

import re
from pathlib import Path

import tomllib

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for requirement in (*project["dependencies"], *extras["demo"], *extras["dev"]):
    found = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement)  # those with markers are tools of their own
    if found:
        print(f"{found[1]}=={found[2]}")
