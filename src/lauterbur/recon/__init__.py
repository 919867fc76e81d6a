"""Raw data to images: one method one file, joined by `reconstruct` in reconstruction.py.

What a readout is and where it belongs (layout, readout, sampling), what the receivers see (whiten, compress, coils), and the
methods that turn it into an image (cartesian with sense, epi and partial_fourier; nufft).
"""
