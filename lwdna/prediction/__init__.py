"""What a trained network makes of pictures: restored ones, or the classes that they show."""
