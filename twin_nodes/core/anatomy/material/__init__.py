"""Learning the material: laws fitted to compression tests, and stiffness from what is seen."""
