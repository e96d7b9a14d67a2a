"""Images in files: videos and folders of images, as a stream of grey images with stamps, and as a tracker source."""
