"""What an examination found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OK = "ok"
ABSENT = "absent"  # not here, which is no fault where nobody asked for it
BROKEN = "broken"

EVERYWHERE, EMULATOR, CUDA, SEVERAL = "everywhere", "emulator", "cuda", "several GPUs"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    name : str
        Of the check.
    status : str
        ``ok``, ``absent`` or ``broken``.
    text : str
        What was found.
    fix : str
        The command that mends it, or what else to do; empty where the text says it or nothing is to be done.
    group : str
        What it is needed for: ``everywhere``, ``emulator``, ``cuda``, ``several GPUs``.
    needed : bool
        Whether its group does not work without it.
    """

    name: str
    status: str
    text: str
    fix: str = ""
    group: str = EVERYWHERE
    needed: bool = False


@dataclass(frozen=True)
class Examination:
    """All findings.

    Attributes
    ----------
    device : str
        What was asked for, or ``auto``.
    findings : tuple of Finding
    works : dict
        Device: whether a small step on it gave the right numbers.
    """

    device: str
    findings: tuple[Finding, ...]
    works: dict[str, bool] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What is broken, and what is absent although the device that was asked for needs it."""
        asked = {EMULATOR} if self.device == "emulator" else {CUDA} if self.device.startswith("cuda") else set()
        asked.add(EVERYWHERE)
        return tuple(
            finding
            for finding in self.findings
            if finding.status == BROKEN or (finding.status == ABSENT and finding.needed and finding.group in asked)
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        failures = self.failures
        return {
            "device": self.device,
            "healthy": not failures,
            "works": self.works,
            "checks": [
                {
                    "name": finding.name,
                    "group": finding.group,
                    "status": finding.status,
                    "failure": finding in failures,
                    "text": finding.text,
                    "fix": finding.fix,
                }
                for finding in self.findings
            ],
        }
