"""Run directories to figures. Reads runs only; no torch."""
