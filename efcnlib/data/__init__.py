"""Images: the known data sets and one's own, verified, normalised, on the device."""
