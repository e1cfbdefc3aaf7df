"""Training: job.py (no torch) exports, launches and collects; worker/ is the process that trains."""
