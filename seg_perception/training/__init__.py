"""From labelled images to a model bundle."""
