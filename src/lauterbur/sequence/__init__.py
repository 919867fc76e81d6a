"""Protocol to program: one file per contrast, and the few shapes they are all made of."""
