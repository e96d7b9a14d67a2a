"""The elastic residuals on torch, batched over an ensemble of bodies; on a GPU where there is one."""
