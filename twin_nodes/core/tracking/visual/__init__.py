"""Tracking of printed markers (ArUco, AprilTag, ChArUco) in the images of a calibrated camera."""
