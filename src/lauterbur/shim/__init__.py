"""Shimming: what makes the fields uniform - currents for B0, weights and pulses of the transmit channels for B1+."""
