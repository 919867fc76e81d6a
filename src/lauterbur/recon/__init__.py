"""Raw data to images."""
