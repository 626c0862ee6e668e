"""Following an object through a video: DiMP on any backbone with two maps of features."""
