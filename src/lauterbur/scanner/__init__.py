"""The machine: magnet, gradients, transmit, receive, spectrometer; profiles as TOML."""
