"""What was scanned, with what, and where it went."""
