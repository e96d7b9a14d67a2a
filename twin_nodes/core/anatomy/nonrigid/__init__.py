"""From sparse, uncorresponded points of an organ's surface to where everything inside it is, with covariance."""
