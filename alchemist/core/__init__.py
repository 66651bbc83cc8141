"""What every room stands on: files, randomness, resumption, devices, refusals."""
