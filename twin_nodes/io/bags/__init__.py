"""rosbag2 directories with MCAP inside: written so that a kill loses little, read however they were cut."""
