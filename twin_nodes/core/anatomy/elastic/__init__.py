"""Quasi-static hyperelastic bodies on tetrahedra: laws, exact and live solvers, reduced model."""
