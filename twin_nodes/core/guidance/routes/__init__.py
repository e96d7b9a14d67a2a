"""Routes for a straight or bent tool from an entry region to a target: planned, ranked, followed, planned again."""
