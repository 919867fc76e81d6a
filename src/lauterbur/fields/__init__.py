"""This scanner's fields inside this subject."""
