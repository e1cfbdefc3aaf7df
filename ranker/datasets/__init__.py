"""Datasets: one reader a format, each turning files into the same five frames."""
