"""A finding: one quantity, its value, its limit, the rule that sets the limit, and where it is worst."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    quantity: str  # e.g. "gradient slew, y"
    value: float
    limit: float
    unit: str
    rule: str  # the rule and its source
    where: str = ""  # e.g. "block 17 at 0.482 s"
    remedy: str = ""  # what to change so that it passes

    @property
    def ok(self) -> bool:
        return bool(self.value <= self.limit)  # NaN is never ok

    def sentence(self) -> str:
        verdict = "is within" if self.ok else "exceeds"
        place = f" at {self.where}" if self.where else ""
        remedy = f"; {self.remedy}" if self.remedy and not self.ok else ""
        return f"{self.quantity} {self.value:.6g} {self.unit} {verdict} {self.limit:.6g} {self.unit} ({self.rule}){place}{remedy}"

    def as_dict(self) -> dict[str, object]:
        return {
            "quantity": self.quantity,
            "value": self.value,
            "limit": self.limit,
            "unit": self.unit,
            "rule": self.rule,
            "where": self.where,
            "ok": self.ok,
        }
