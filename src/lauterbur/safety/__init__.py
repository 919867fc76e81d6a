"""May it be played? Limits, findings, and the verdict."""
