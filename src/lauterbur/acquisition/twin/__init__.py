"""The digital twin: a program played on spins, by a reference engine and a fast one."""
