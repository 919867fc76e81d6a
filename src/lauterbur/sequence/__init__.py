"""Protocol to program: one file per contrast."""
