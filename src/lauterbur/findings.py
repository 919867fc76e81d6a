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
    mode: str = ""  # operating mode of IEC 60601-2-33 that the value means; "" where the standard has none
    is_advice: bool = False  # told, no reason to refuse

    @property
    def ok(self) -> bool:
        return bool(self.value <= self.limit) or (self.is_advice and self.value == self.value)  # NaN is never ok

    @property
    def margin(self) -> float:
        """What is left up to the limit, as a share of the limit; negative beyond it, NaN where the limit is zero."""
        return 1 - self.value / self.limit if self.limit > 0 else float("nan")

    def sentence(self) -> str:
        verdict = "is within" if self.value <= self.limit else "exceeds"
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
            "mode": self.mode,
            "is_advice": self.is_advice,
            "ok": self.ok,
        }
